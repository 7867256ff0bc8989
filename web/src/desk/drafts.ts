// Drafts outlive a reload; they are this browser's alone.
import { signal, type Signal } from '@preact/signals';

const drafts = new Map<string, Signal<string>>();
const nameOf = (account: string, openid: string) => `kefu.draft ${account} ${openid}`;

export function draftOf(account: string, openid: string): Signal<string> {
  const name = nameOf(account, openid);
  let d = drafts.get(name);
  if (!d) drafts.set(name, (d = signal(localStorage.getItem(name) ?? '')));
  return d;
}

export function setDraft(account: string, openid: string, text: string) {
  draftOf(account, openid).value = text;
  const name = nameOf(account, openid);
  try {
    if (text) localStorage.setItem(name, text);
    else localStorage.removeItem(name);
  } catch {
    // no room: the draft lives as long as the page
  }
}
