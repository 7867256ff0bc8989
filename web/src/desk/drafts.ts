// Drafts outlive a reload; they are this browser's and this agent's alone.
import { signal, type Signal } from '@preact/signals';
import { keep, recall } from '../core/kept';
import { me } from '../core/session';
import { beginning, type Beginning } from './since';

/** What is written: an answer, or a note that the follower must never see. */
export type Mode = 'reply' | 'note';

const drafts = new Map<string, Signal<string>>();
const nameOf = (account: string, openid: string, mode: Mode) => `kefu.draft ${me.value?.id} ${mode} ${account} ${openid}`;

export function draftOf(account: string, openid: string, mode: Mode): Signal<string> {
  const name = nameOf(account, openid, mode);
  let d = drafts.get(name);
  if (!d) drafts.set(name, (d = signal(localStorage.getItem(name) ?? '')));
  return d;
}

/** begun: how the conversation was when the text was begun, if that was not now. */
export function setDraft(account: string, openid: string, mode: Mode, text: string, begun?: Beginning) {
  const d = draftOf(account, openid, mode);
  const name = nameOf(account, openid, mode);
  if (mode === 'reply' && (begun || !d.peek() !== !text)) keep(begunName(name), text ? (begun ?? beginning(account, openid)) : undefined);
  d.value = text;
  try {
    if (text) localStorage.setItem(name, text);
    else localStorage.removeItem(name);
  } catch {
    // no room: the draft lives as long as the page
  }
}

const begunName = (name: string) => `${name} begun`;

/** How the conversation was when the answer that is its draft was begun, in whichever tab. */
export const draftBegun = (account: string, openid: string) => recall<Beginning>(begunName(nameOf(account, openid, 'reply')));

// What another tab of the same agent writes, sends or drops is the same draft.
addEventListener('storage', (e) => {
  const d = e.key && drafts.get(e.key);
  if (d) d.value = e.newValue ?? '';
});
