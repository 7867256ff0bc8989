import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { Icon } from './icon';
import type { IconName } from './icons';

export interface Item { label: string; hint?: string; run: () => void; icon?: IconName }

/** A button that opens a menu: arrows move in it, Esc closes it. */
export function Menu({ id, label, icon, items, title, words = false }: { id: string; label: string; icon: IconName; items: Item[]; title?: string; words?: boolean }) {
  const open = useSignal(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  useLayoutEffect(() => {
    if (!open.value) return;
    root.current?.querySelector<HTMLElement>('[role=menuitem]')?.focus();
    const outside = (e: Event) => !root.current?.contains(e.target as Node) && (open.value = false);
    addEventListener('pointerdown', outside);
    return () => removeEventListener('pointerdown', outside);
  }, [open.value]);
  const close = () => ((open.value = false), button.current?.focus());
  function keys(e: KeyboardEvent) {
    if (!open.value) return;
    const all = [...root.current!.querySelectorAll<HTMLElement>('[role=menuitem]')];
    const at = all.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[e.key];
    if (to !== undefined) all[(to + all.length) % all.length]?.focus();
    else if (e.key === 'Escape') close();
    else if (e.key === 'Tab') open.value = false;
    else return;
    if (e.key !== 'Tab') e.preventDefault();
    e.stopPropagation();
  }
  return (
    <div class="menu" ref={root} onKeyDown={keys}>
      <button ref={button} id={`menu-${id}`} type="button" class={words ? 'btn quiet' : 'ib'} aria-haspopup="menu" aria-expanded={open.value} aria-label={label} title={title ?? label} onClick={() => (open.value = !open.value)}>
        <Icon name={icon} size={words ? 's' : ''} />{words && <span class="nomob">{label}</span>}
      </button>
      {open.value && (
        <div class="pop mlist" role="menu" aria-label={label}>
          {items.map((i) => (
            <button key={i.label} type="button" role="menuitem" tabIndex={-1} class="it" onClick={() => (close(), i.run())}>
              {i.icon && <Icon name={i.icon} size="s" />}<span>{i.label}</span>{i.hint && <span class="lbl">{i.hint}</span>}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}
