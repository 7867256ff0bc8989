// Drafts outlive a reload; they are this browser's and this agent's alone.
import { signal, type Signal } from '@preact/signals';
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

export function setDraft(account: string, openid: string, mode: Mode, text: string) {
  const d = draftOf(account, openid, mode);
  const name = nameOf(account, openid, mode);
  if (mode === 'reply' && !d.peek() !== !text) setBegun(name, text ? beginning(account, openid) : undefined);
  d.value = text;
  store(name, text);
}

function store(name: string, text: string) {
  try {
    if (text) localStorage.setItem(name, text);
    else localStorage.removeItem(name);
  } catch {
    // no room: it lives as long as the page
  }
}

const begun = new Map<string, Beginning>();

function setBegun(name: string, b: Beginning | undefined) {
  if (b) begun.set(name, b);
  else begun.delete(name);
  store(`${name} begun`, b ? JSON.stringify(b) : '');
}

/** How the conversation was when the answer that is its draft was begun, in whichever tab. */
export function draftBegun(account: string, openid: string): Beginning | undefined {
  const name = nameOf(account, openid, 'reply');
  return JSON.parse(localStorage.getItem(`${name} begun`) ?? 'null') ?? begun.get(name);
}

// What another tab of the same agent writes, sends or drops is the same draft.
addEventListener('storage', (e) => {
  const d = e.key && drafts.get(e.key);
  if (d) d.value = e.newValue ?? '';
});
