import { useState } from 'preact/hooks';
import { t } from '../core/words';
import { Dialog } from '../parts/overlay';

/** A picture, large: Esc closes, a click or + and - change its size. */
export function Lightbox({ src, onClose }: { src: string; onClose: () => void }) {
  const [zoom, setZoom] = useState(false);
  return (
    <Dialog title={t('kind.image')} onClose={onClose} wide>
      <div class={`light ${zoom ? 'zoom' : ''}`} tabIndex={0} role="region" aria-label={t('kind.image')} onKeyDown={(e) => (e.key === '+' ? setZoom(true) : e.key === '-' && setZoom(false))}>
        <img src={src} alt={t('kind.image')} onClick={() => setZoom(!zoom)} />
      </div>
      <p class="row"><a class="btn" href={src} download>{t('save')}</a><button type="button" class="btn quiet" onClick={() => setZoom(!zoom)}>{t(zoom ? 'zoom.out' : 'zoom.in')}</button></p>
    </Dialog>
  );
}
