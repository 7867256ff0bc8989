// What was begun besides the words: it is still there when the conversation is opened again.
import { signal, type Signal } from '@preact/signals';
import { keyOf } from '../core/desk';
import { me } from '../core/session';
import type { Conversation } from '../core/types';
import { takesFiles } from '../parts/drop';
import { draftOf, type Mode } from './drafts';
import { emptyForm, type Filled, type FormKind } from './forms';
import { beginning, type Beginning } from './since';
import { startUpload, type Upload } from './upload';

export interface Begun {
  account: string; openid: string;
  mode: Signal<Mode>;
  form: Signal<FormKind | null>;
  filled: Signal<Filled>;
  later: Signal<string>;
  validDays: Signal<number>; // of what is parked
  upload: Signal<Upload | null>;
  waiting: Signal<File[]>; // files that come after it
  over: Signal<boolean>; // files are held above the pane
  since: { form?: Beginning; upload?: Beginning };
}
const begun = new Map<string, Begun>();

export function begunOf({ account, openid }: Conversation): Begun {
  const key = `${me.value?.id} ${keyOf(account, openid)}`;
  let b = begun.get(key);
  if (!b) {
    const note = !draftOf(account, openid, 'reply').peek() && !!draftOf(account, openid, 'note').peek();
    b = {
      account, openid, mode: signal(note ? 'note' : 'reply'), form: signal(null), filled: signal(emptyForm), later: signal(''), validDays: signal(3),
      upload: signal(null), waiting: signal([]), over: signal(false), since: {},
    };
    begun.set(key, b);
  }
  return b;
}

export function openForm(b: Begun, kind: FormKind) {
  b.form.value = kind;
  b.since.form = beginning(b.account, b.openid);
}

export function endForm(b: Begun) {
  Object.values(b.filled.peek().uploads).forEach((up) => up.end()); // none of them fills the next form
  b.form.value = null;
  b.filled.value = emptyForm;
}

/** Takes files to send, one after the other. */
export function takeFiles(b: Begun, files: FileList | null | undefined) {
  b.waiting.value = [...b.waiting.value, ...(files ?? [])];
  if (!b.upload.value || b.upload.value.error) nextFile(b);
}

/** Lets go of the file that is there, and begins with the next that can be taken. */
export function nextFile(b: Begun) {
  b.upload.value?.end();
  b.upload.value = null;
  while (!b.upload.value && b.waiting.value.length) {
    const [file, ...rest] = b.waiting.value;
    b.waiting.value = rest;
    b.since.upload = beginning(b.account, b.openid);
    startUpload(file!, b.account, (up) => (b.upload.value = up));
  }
}

/** The handlers of the pane that takes files for a conversation. */
export function drops(c: Conversation) {
  const b = begunOf(c);
  return takesFiles(b.over, (files) => takeFiles(b, files));
}
