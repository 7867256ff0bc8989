import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { wordsOf } from '../core/api';
import { t } from '../core/words';
import { Icon } from '../parts/icon';

const length = (s: number) => `${Math.floor(s / 60)}:${String(Math.floor(s % 60)).padStart(2, '0')}`;
const rates = [1, 1.5, 2];

/** A voice message. Browsers don't know AMR: its decoder is loaded when it is needed. */
export function Voice({ src, said }: { src?: string; said?: string }) {
  const audio = useRef<HTMLAudioElement | null>(null);
  const playing = useSignal(false);
  const at = useSignal(0);
  const whole = useSignal(0);
  const rate = useSignal(1);
  const trouble = useSignal('');
  const making = useRef<Promise<HTMLAudioElement> | undefined>(undefined);
  const left = useRef(false);
  useEffect(() => () => {
    left.current = true;
    audio.current?.pause();
    if (audio.current) URL.revokeObjectURL(audio.current.src);
  }, []);
  if (!src) return <div class="bub gone"><Icon name="mic" /> {said || t('kind.voice')}</div>;

  async function make(): Promise<HTMLAudioElement> {
    const res = await fetch(src!, { credentials: 'same-origin' });
    if (!res.ok) throw new Error(`HTTP ${res.status}`);
    let blob = await res.blob();
    const head = new TextDecoder('latin1').decode(await blob.slice(0, 6).arrayBuffer());
    if (head.startsWith('#!AMR')) {
      const { toWAV } = await import('./amr');
      blob = await toWAV(new Uint8Array(await blob.arrayBuffer()));
    }
    const a = new Audio(URL.createObjectURL(blob));
    a.ontimeupdate = () => (at.value = a.currentTime);
    a.onloadedmetadata = () => (whole.value = isFinite(a.duration) ? a.duration : 0);
    a.onended = () => ((playing.value = false), (at.value = 0));
    return (audio.current = a);
  }
  async function toggle() {
    try {
      const a = await (making.current ??= make().catch((e) => {
        making.current = undefined; // another click tries again
        throw e;
      }));
      if (left.current) return URL.revokeObjectURL(a.src);
      a.playbackRate = rate.value;
      playing.value = !playing.value;
      if (playing.value) await a.play();
      else a.pause();
      trouble.value = '';
    } catch (e) {
      if (e instanceof DOMException && e.name === 'AbortError') return; // paused before it could begin
      playing.value = false;
      trouble.value = t('voice.failed', { why: wordsOf(e) });
    }
  }
  const bars = [];
  for (let i = 0; i < 24; i++) {
    const h = 4 + ((i * 7919 + src.length * 31) % 13);
    bars.push(<path key={i} class={whole.value && i / 24 < at.value / whole.value ? 'p' : ''} d={`M${2 + i * 5} ${11 - h / 2}v${h}`} />);
  }
  return (
    <div class="bub">
      <div class="vo">
        <button type="button" class="pl" aria-label={t(playing.value ? 'voice.pause' : 'voice.play')} aria-pressed={playing.value} onClick={() => void toggle()}><Icon name={playing.value ? 'stop' : 'play'} size="s" /></button>
        <svg class="wave" viewBox="0 0 120 22" preserveAspectRatio="none" aria-hidden="true">{bars}</svg>
        <span class="num sub">{whole.value ? `${length(at.value)} / ${length(whole.value)}` : ''}</span>
        <button type="button" class="rate" aria-label={`${t('voice.rate')} ${rate.value}×`} onClick={() => {
          rate.value = rates[(rates.indexOf(rate.value) + 1) % rates.length]!;
          if (audio.current) audio.current.playbackRate = rate.value;
        }}>{rate.value}×</button>
      </div>
      {said && <p class="sub">{said}</p>}
      {trouble.value && <p class="lbl ch" role="alert">{trouble.value}</p>}
    </div>
  );
}
