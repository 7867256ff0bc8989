// Drafts outlive a reload; they are this browser's and this agent's alone.
import { signal, type Signal } from '@preact/signals';
import { me } from '../core/session';

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

export function setDraft(account: string, openid: string, mode: Mode, text: string) {
  draftOf(account, openid, mode).value = text;
  const name = nameOf(account, openid, mode);
  try {
    if (text) localStorage.setItem(name, text);
    else localStorage.removeItem(name);
  } catch {
    // no room: the draft lives as long as the page
  }
}

// What another tab of the same agent writes, sends or drops is the same draft.
addEventListener('storage', (e) => {
  const d = e.key && drafts.get(e.key);
  if (d) d.value = e.newValue ?? '';
});
