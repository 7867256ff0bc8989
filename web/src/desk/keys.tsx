// The keyboard. Single letters work outside of text fields only, and can be
// switched off (WCAG 2.1.4).
import { signal } from '@preact/signals';
import { useEffect } from 'preact/hooks';
import { conversations, keyOf, listed, soonest } from '../core/desk';
import { conversationLink, go, parts } from '../core/route';
import { mayWrite, setting } from '../core/session';
import { t, type Key } from '../core/words';
import { Dialog } from '../parts/overlay';
import * as act from './actions';

const shown = signal(false);
let g = 0; // when G was pressed

const rows: [Key, string][] = [
  ['keys.next', 'J K ↓ ↑'], ['keys.open', 'Enter →'], ['keys.reply', 'R'], ['keys.soonest', 'U'], ['keys.note', 'N'], ['keys.claim', 'C'], ['keys.transfer', 'T'],
  ['keys.close', 'E'], ['keys.search', '/'], ['keys.decision', 'Alt ↑ ↓'], ['keys.esc', 'Esc'], ['keys.this', '?'], ['keys.go', 'G I · G B · G M · G X'],
];

export function Keys() {
  useEffect(() => {
    const open = () => (shown.value = true);
    document.addEventListener('kefu:keys', open);
    return () => document.removeEventListener('kefu:keys', open);
  }, []);
  if (!shown.value) return null;
  return (
    <Dialog title={t('keys.title')} onClose={() => (shown.value = false)}>
      <div class="keysh">{rows.map(([what, keys]) => <div key={what} class={keys.includes('·') ? 'far' : ''}><span>{t(what)}</span><span class="keysg">{keys.split(' ').map((k) => (k === '·' ? ' · ' : <kbd key={k}>{k}</kbd>))}</span></div>)}</div>
    </Dialog>
  );
}

function inText(e: KeyboardEvent): boolean {
  const el = e.target as HTMLElement;
  return el.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(el.tagName);
}

function move(by: number) {
  const keys = [...listed.value.hot, ...listed.value.rest];
  const [, account, openid] = parts();
  const focused = (document.activeElement as HTMLElement | null)?.dataset?.['key'];
  const open = account && openid ? keyOf(account, openid) : '';
  const at = keys.indexOf(open || focused || ''); // a row that is far down is not drawn yet, and can't have the focus
  const next = keys[Math.max(0, Math.min(keys.length - 1, at < 0 ? 0 : at + by))];
  if (!next) return;
  const c = conversations.get(next)!.peek();
  go(conversationLink(c.account, c.openid), true);
  requestAnimationFrame(() => document.querySelector<HTMLElement>(`a.cr[data-key="${CSS.escape(next)}"]`)?.focus());
}

function decision(by: number) {
  const all = [...document.querySelectorAll<HTMLElement>('.m[data-state=unknown], .m[data-state=failed], .m[data-state=parked]')];
  const at = all.findIndex((el) => el.contains(document.activeElement));
  const el = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : at + by];
  el?.scrollIntoView({ block: 'center' });
  el?.querySelector<HTMLElement>('button')?.focus();
}

export function onKey(e: KeyboardEvent) {
  if (e.isComposing || e.defaultPrevented) return;
  if (e.altKey && (e.key === 'ArrowDown' || e.key === 'ArrowUp')) {
    e.preventDefault();
    return decision(e.key === 'ArrowDown' ? 1 : -1);
  }
  if (inText(e) || e.ctrlKey || e.metaKey || e.altKey || document.querySelector('dialog[open]')) return;
  if (!setting('singleKeys', true)) return;
  const [page, account, openid] = parts();
  const c = account && openid ? conversations.get(keyOf(account, openid))?.peek() : undefined;
  const reply = () => document.getElementById('reply')?.focus();
  if (Date.now() - g < 1200) {
    g = 0;
    const to = { i: '', b: '/board', m: '/messages', x: '/explorer', a: '/accounts' }[e.key.toLowerCase()];
    if (to !== undefined) {
      e.preventDefault();
      return go(`/console${to}`);
    }
  }
  const inMenu = !!(e.target as HTMLElement).closest?.('[role=menu]');
  if (inMenu) return;
  const desk = page === undefined || page === 'c';
  const does: Record<string, (() => void) | undefined | false> = {
    '?': () => (shown.value = true),
    g: () => (g = Date.now()),
    '/': desk && (() => document.getElementById('search')?.focus()),
    j: desk && (() => move(1)), k: desk && (() => move(-1)),
    ArrowDown: desk && (e.target as HTMLElement).matches?.('a.cr') && (() => move(1)), ArrowUp: desk && (e.target as HTMLElement).matches?.('a.cr') && (() => move(-1)),
    ArrowRight: desk && (e.target as HTMLElement).matches?.('a.cr') && reply,
    Enter: desk && (e.target as HTMLElement).matches?.('a.cr') && ((e.target as HTMLElement).getAttribute('aria-current') === 'page') && reply,
    r: desk && reply,
    u: desk && (() => {
      const s = soonest([...listed.value.hot, ...listed.value.rest]);
      if (s) go(conversationLink(s.account, s.openid));
    }),
    n: c && mayWrite.value && (() => document.getElementById('note-mode')?.click()),
    c: c && mayWrite.value && (() => void act.claim(c)),
    t: c && mayWrite.value && (() => document.getElementById('menu-transfer')?.click()),
    e: c && mayWrite.value && (() => void act.close(c)),
    Escape: c && (() => {
      go('/console');
      document.querySelector<HTMLElement>('a.cr')?.focus();
    }),
  };
  const act_ = does[e.key];
  if (act_) {
    e.preventDefault();
    act_();
  }
}
