import { signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { Problem, wordsOf } from '../core/api';
import { t } from '../core/words';
import { Icon } from './icon';

/** A dialog that keeps the focus and gives it back. */
export function Dialog({ title, children, onClose, wide = false }: { title: string; children: ComponentChildren; onClose: () => void; wide?: boolean }) {
  const ref = useRef<HTMLDialogElement>(null);
  const beside = useRef(false); // where the pointer went down: a selection may end there
  useLayoutEffect(() => {
    const opener = document.activeElement as HTMLElement | null;
    const dialog = ref.current!;
    dialog.showModal();
    dialog.querySelector<HTMLElement>('.dlg-body :is(input, select, textarea)')?.focus(); // what is to be filled in comes before the way out
    return () => {
      dialog.close(); // nothing behind an open one takes the focus
      opener?.focus?.();
    };
  }, []);
  return (
    <dialog ref={ref} class={`dlg ${wide ? 'wide' : ''}`} aria-label={title} onCancel={(e) => (e.preventDefault(), onClose())}
      onPointerDown={(e) => (beside.current = e.target === ref.current)} onClick={(e) => beside.current && e.target === ref.current && onClose()}>
      <header><h2>{title}</h2><button type="button" class="ib" aria-label={t('close.dialog')} onClick={onClose}><Icon name="close" /></button></header>
      <div class="dlg-body">{children}</div>
    </dialog>
  );
}

export interface Toast { id: number; kind: 'ok' | 'bad' | 'hot'; text: string; action?: { label: string; run: () => void } }
export const toasts = signal<Toast[]>([]);
let last = 0;

export function toast(kind: Toast['kind'], text: string, action?: Toast['action']) {
  const id = ++last;
  toasts.value = [...toasts.value.slice(-2), { id, kind, text, action }];
  if (kind !== 'bad') setTimeout(() => drop(id), 5000);
}
const drop = (id: number) => (toasts.value = toasts.value.filter((x) => x.id !== id));

/** Says what went wrong, in the API's own words: which members are wrong, if it is those. */
export function tell(e: unknown) {
  const wrong: { location: string; message: string }[] = (e instanceof Problem && e.body['errors']) || [];
  toast('bad', wrong.length ? wrong.map((w) => `${w.location} ${w.message}`).join(t('list.comma')) : wordsOf(e));
}

export function Toasts() {
  return (
    <div class="toasts" role="status" aria-live="polite">
      {toasts.value.map((x) => (
        <div key={x.id} class={`toast ${x.kind}`}>
          <Icon name={x.kind === 'ok' ? 'check' : x.kind === 'hot' ? 'clock' : 'cross'} />
          <span>{x.text}</span>
          {x.action && <button type="button" class="btn sm quiet" onClick={() => (x.action!.run(), drop(x.id))}>{x.action.label}</button>}
          <button type="button" class="ib sm" aria-label={t('close.dialog')} onClick={() => drop(x.id)}><Icon name="close" size="s" /></button>
        </div>
      ))}
    </div>
  );
}

/** What is announced to screen readers without being shown. */
export const announced = signal({ n: 0, text: '' }); // n: the same words once more are another announcement
export const announce = (text: string) => (announced.value = { n: announced.peek().n + 1, text });
export const Announcer = () => <p class="sr" role="alert"><span key={announced.value.n}>{announced.value.text}</span></p>;
