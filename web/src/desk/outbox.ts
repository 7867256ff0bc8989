// What was handed to the gateway without knowing yet whether it arrived there: the same
// answer, given again, joins it, also after the conversation was left or the page loaded anew.
import { idempotencyKey, Problem, Unreachable } from '../core/api';
import { me } from '../core/session';
import { t } from '../core/words';
import * as act from './actions';
import type { Message } from '../core/types';

/** After so long the same words are a new answer, ms. */
const SAME_FOR = 10 * 60_000;

interface Open { of: string; at: number; key: string; body: act.Sending }
const open = new Map<string, Open>();
const nameOf = (s: act.Sending) => `kefu.sending ${me.value?.id} ${s.account} ${s.message.touser}`;

function recall(name: string): Open | undefined {
  try {
    return open.get(name) ?? JSON.parse(localStorage.getItem(name) ?? 'null') ?? undefined;
  } catch {
    return undefined;
  }
}

function keep(name: string, o?: Open) {
  if (o) open.set(name, o);
  else open.delete(name);
  try {
    if (o) localStorage.setItem(name, JSON.stringify(o));
    else localStorage.removeItem(name);
  } catch {
    // no room: it is known as long as the page lives
  }
}

/** Sends an answer once, however often it is given until the gateway has said what
 * became of it. */
export async function sendOnce(s: act.Sending): Promise<Message> {
  const name = nameOf(s);
  const of = JSON.stringify([s.message, s.not_before ?? '']);
  const before = recall(name);
  const o = before?.of === of && Date.now() - before.at < SAME_FOR ? before : { of, at: Date.now(), key: idempotencyKey(), body: s };
  keep(name, o);
  try {
    const m = await act.send(o.body, o.key);
    if (recall(name)?.key === o.key) keep(name);
    return m;
  } catch (e) {
    if (e instanceof Problem && e.status < 500 && e.status !== 429 && recall(name)?.key === o.key) keep(name); // nothing was kept of it
    throw e instanceof Unreachable ? new Unreachable(t('send.unreachable'), { cause: e }) : e;
  }
}
