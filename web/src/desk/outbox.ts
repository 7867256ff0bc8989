// What is entrusted to the gateway, and what was handed to it without knowing yet whether
// it arrived there: the same answer, given again, joins it, also after the conversation was
// left or the page loaded anew.
import { api, idempotencyKey, Problem, Unreachable } from '../core/api';
import { putMessage, refresh } from '../core/desk';
import { keep, recall } from '../core/kept';
import { me } from '../core/session';
import { t } from '../core/words';
import type { Message } from '../core/types';
import { remember } from './since';

export interface Sending { account: string; message: any; not_before?: string; expires_at?: string; when_closed?: string; on_unknown?: string; long_text?: string; metadata?: any }

/** After so long the same words are a new answer, ms. */
const SAME_FOR = 10 * 60_000;

interface Open { of: string; at: number; key: string; body: Sending }
const nameOf = (s: Sending) => `kefu.sending ${me.value?.id} ${s.account} ${s.message.touser}`;
const contentOf = (s: Sending) => JSON.stringify([s.message, s.not_before ?? '']);

/** Entrusts what is open to the gateway; the key makes a repeat after a lost answer harmless. */
async function entrust(name: string, o: Open): Promise<Message> {
  keep(name, o);
  const done = () => recall<Open>(name)?.key === o.key && keep(name, undefined);
  try {
    const m = await api<Message>('/v1/messages', { body: { priority: 'human', ...o.body }, headers: { 'Idempotency-Key': o.key, 'Kefu-Source': 'console' } });
    remember(m.id);
    putMessage({ ...m, by: m.by ?? { kind: 'agent', id: me.value!.id, name: me.value!.display } }, undefined, true);
    refresh(m.account, m.openid);
    done();
    return m;
  } catch (e) {
    if (e instanceof Problem && e.status < 500 && e.status !== 429) done(); // nothing was kept of it
    throw e;
  }
}

/** What a message joins that is given now, if it is the same as one of which nobody knows yet what became of it. */
function joined(s: Sending): Open | undefined {
  const before = recall<Open>(nameOf(s));
  return before?.of === contentOf(s) && Date.now() - before.at < SAME_FOR ? before : undefined;
}
export const joins = (s: Sending) => !!joined(s);

/** Sends an answer once, however often it is given until the gateway has said what
 * became of it. */
export async function sendOnce(s: Sending): Promise<Message> {
  try {
    return await entrust(nameOf(s), joined(s) ?? { of: contentOf(s), at: Date.now(), key: idempotencyKey(), body: s });
  } catch (e) {
    throw e instanceof Unreachable ? new Unreachable(t('send.unreachable'), { cause: e }) : e;
  }
}

// --- in place of a parked message

const insteadOf = (m: Message) => `kefu.instead ${me.value?.id} ${m.id}`;

/** Keeps what is to be sent in place of a parked message: on the same terms, so that it is
 * parked again at worst, whatever the account does with what can't be sent. */
export function keepInstead(m: Message) {
  if (hasInstead(m)) return;
  const body = {
    account: m.account, message: m.message, when_closed: 'park', expires_at: m.expires_at, ...(m.on_unknown && { on_unknown: m.on_unknown }),
    ...(m.metadata && { metadata: m.metadata }), ...((m.parts ?? 0) > 1 && { long_text: 'split' }),
  };
  const instead: Open = { of: m.id, at: Date.now(), key: `console-now-${m.id}`, body }; // twice is once
  keep(insteadOf(m), instead);
}
export const hasInstead = (m: Message) => !!recall(insteadOf(m));
export const dropInstead = (m: Message) => keep(insteadOf(m), undefined);

/** Sends what was kept. If the gateway can't say whether it has it, that stays. */
export const sendInstead = (m: Message): Promise<Message> => entrust(insteadOf(m), recall<Open>(insteadOf(m))!);
