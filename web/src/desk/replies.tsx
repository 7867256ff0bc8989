import { signal, useSignal } from '@preact/signals';
import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect } from 'preact/hooks';
import { api } from '../core/api';
import { t } from '../core/words';
import type { Page, QuickReply } from '../core/types';
import { Icon } from '../parts/icon';
import { tell, toast } from '../parts/overlay';

/** As they were when the list was opened last; null: not known yet. */
const replies = signal<QuickReply[] | null>(null);
const missed = signal(false);
let loads = 0; // so far: only the latest counts

async function loadReplies() {
  const mine = ++loads;
  try {
    const page = await api<Page<QuickReply>>('/v1/quick-replies');
    if (mine !== loads) return;
    replies.value = page.items;
    missed.value = false;
  } catch {
    if (mine !== loads) return;
    missed.value = true;
  }
}

/** Keeps a text as a reply of one's own. */
export async function saveReply(text: string) {
  try {
    await api('/v1/quick-replies', { body: { scope: 'mine', title: text.trim().split('\n')[0]!.slice(0, 30), text: text.trim() } });
    toast('ok', t('replies.saved'));
  } catch (e) {
    tell(e);
  }
}

/** The list that "/" opens at the beginning of a line: arrows move, Enter takes; where
 * there is nothing to take, Enter closes the list, and the text is as it was. */
export function QuickReplies({ query, anchor, name, onPick, onClose }: { query: string; anchor: RefObject<HTMLTextAreaElement | null>; name?: string; onPick: (text: string) => void; onClose: () => void }) {
  const at = useSignal(0);
  useEffect(() => void loadReplies(), []);
  const q = query.toLowerCase();
  const found = (replies.value ?? []).filter((r) => !q || r.title.toLowerCase().includes(q) || r.text.toLowerCase().includes(q)).slice(0, 8);
  const fill = (text: string) => text.replaceAll(/\{(称呼|name)\}/g, (whole) => name || whole);
  useEffect(() => {
    at.value = 0;
  }, [query]);
  // Before it is drawn: the Enter that comes at once takes what is seen.
  useLayoutEffect(() => {
    const el = anchor.current;
    if (!el) return;
    const keys = (e: KeyboardEvent) => {
      if (e.isComposing || e.keyCode === 229) return;
      if (e.key === 'ArrowDown' || e.key === 'ArrowUp') at.value = (at.value + (e.key === 'ArrowDown' ? 1 : -1) + found.length) % Math.max(1, found.length);
      else if (e.key === 'Escape') onClose();
      else if ((e.key === 'Enter' || e.key === 'Tab') && found[at.value]) onPick(fill(found[at.value]!.text));
      else if (e.key === 'Enter' && !e.shiftKey) onClose();
      else return;
      e.preventDefault();
      e.stopImmediatePropagation(); // the Enter that takes a reply sends nothing
    };
    el.addEventListener('keydown', keys, true);
    return () => el.removeEventListener('keydown', keys, true);
  });
  return (
    <div class="pop qr">
      {found.length > 0 && <div role="listbox" aria-label={t('replies.label')}>
        {found.map((r, i) => (
          <button key={r.id} type="button" role="option" aria-selected={i === at.value} class={`it ${i === at.value ? 'on' : ''}`} onClick={() => onPick(fill(r.text))}>
            <Icon name="slash" size="s" /><span class="grow"><b>{r.title}</b><br /><span class="mut el">{r.text}</span></span><span class="tagc">{t(r.scope === 'team' ? 'replies.team' : 'replies.mine')}</span>
          </button>
        ))}
      </div>}
      {found.length === 0 && <p class="it mut"><Icon name="slash" size="s" />{t(replies.value ? 'replies.none' : missed.value ? 'load.failed' : 'loading')}</p>}
      <p class="it"><Icon name="gear" size="s" /><a href="/console/replies">{t('replies.manage')}</a></p>
    </div>
  );
}
