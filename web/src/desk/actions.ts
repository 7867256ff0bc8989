// What an agent does to a conversation or a message.
import { api, conversationPath, idempotencyKey, Problem, wordsOf } from '../core/api';
import { serverNow } from '../core/clock';
import { keyOf, patch, putMessage, refresh } from '../core/desk';
import { mayWrite, me } from '../core/session';
import { t } from '../core/words';
import type { Conversation, Message } from '../core/types';
import { tell, toast } from '../parts/overlay';
import { dropInstead, hasInstead, keepInstead, sendInstead } from './outbox';
import { remember } from './since';

type Named = Pick<Conversation, 'account' | 'openid'>;

async function act(c: Named, call: string, body: unknown, method = 'POST'): Promise<boolean> {
  try {
    await api(conversationPath(c.account, c.openid, call), { method, body });
    return true;
  } catch (e) {
    tell(e);
    return false;
  } finally {
    refresh(c.account, c.openid);
  }
}

export async function assign(c: Conversation, agent: string | null) {
  try {
    await api(conversationPath(c.account, c.openid, 'assign'), { body: { agent, expect: c.assigned_to ?? null } });
    patch(c.account, c.openid, { assigned_to: agent ?? undefined, closed: false });
    return true;
  } catch (e) {
    if (e instanceof Problem && e.code === 'conflict') toast('bad', t('claim.lost'));
    else tell(e);
    refresh(c.account, c.openid);
    return false;
  }
}

export const claim = (c: Conversation) => assign(c, me.value!.id);
export const close = (c: Named) => act(c, 'close', {});
export const handover = (c: Named, to: string) => act(c, 'handover', { handler: to });
export const setTags = (c: Named, tags: string[]) => (patch(c.account, c.openid, { tags }), act(c, 'tags', { tags }, 'PUT'));
export const setRemark = (c: Named, remark: string) => (patch(c.account, c.openid, { remark }), act(c, 'profile', { remark }, 'PUT'));
export const addNote = (c: Named, text: string) => act(c, 'note', { text });

/** The pause before what could not be marked as read is tried again, ms. */
const READ_AGAIN = 10_000;

export async function markRead(c: Conversation, cursor: string) {
  if (!mayWrite.value || !c.unread || !cursor || cursor.startsWith('local')) return;
  patch(c.account, c.openid, { unread: 0 });
  try {
    await api(conversationPath(c.account, c.openid, 'read'), { body: { cursor } });
  } catch {
    setTimeout(refresh, READ_AGAIN, c.account, c.openid); // what is unread shows again, and is marked again
  }
}

type Doing = 'viewing' | 'replying';
const tab = idempotencyKey().slice(-12);
/** How long an answer that is begun counts as being written after the last key, ms. */
const WRITING = 120_000;
let doing: { key: string; what: Doing; since: number } | undefined;

/** Tells the others what this tab does with a conversation. */
export function presence(c: Named, state: Doing | 'gone') {
  const key = keyOf(c.account, c.openid);
  if (state !== 'gone') doing = { key, what: state, since: Date.now() };
  else if (doing?.key === key) doing = undefined;
  return say(c, state);
}

const say = (c: Named, state: Doing | 'gone') => api(conversationPath(c.account, c.openid, 'presence'), { body: { state, tab } }).catch(() => undefined);

/** Tells it once more: who says nothing for long has gone. */
export function stay(c: Named) {
  const writing = doing?.key === keyOf(c.account, c.openid) && doing.what === 'replying' && Date.now() - doing.since < WRITING;
  return writing ? say(c, 'replying') : presence(c, 'viewing');
}

// WeChat takes no second sign of typing while the first is shown (15 s), and none
// when nothing was said for 30 s.
const TYPING_LASTS = 16_000;
const TALKING = 28_000;
const typed = new Map<string, { at: number; shown: Promise<boolean> }>();

/** Shows the follower that somebody types, where WeChat would; whether it does. */
export async function typing(c: Conversation): Promise<boolean> {
  const key = keyOf(c.account, c.openid);
  const now = serverNow();
  if (now - Date.parse(c.last_at) > TALKING) return false;
  let last = typed.get(key);
  if (!last || now - last.at > TYPING_LASTS) {
    const shown = api(conversationPath(c.account, c.openid, 'typing'), { body: { on: true } }).then(() => true, () => false);
    typed.set(key, (last = { at: now, shown }));
  }
  return last.shown;
}

async function call(m: Message, what: string, body?: unknown): Promise<Message> {
  try {
    const now = await api<Message>(`/v1/messages/${encodeURIComponent(m.id)}/${what}`, { method: 'POST', body, headers: { 'Kefu-Source': 'console' } });
    if (what === 'retry') remember(now.id);
    putMessage(now, undefined, what === 'retry'); // a repeat is a new message
    return now;
  } finally {
    refresh(m.account, m.openid);
  }
}

async function change(m: Message, what: string, body?: unknown): Promise<Message | undefined> {
  try {
    return await call(m, what, body);
  } catch (e) {
    tell(e);
    return undefined;
  }
}

export const cancel = (m: Message) => change(m, 'cancel');
export const resolve = (m: Message, as: 'sent' | 'failed') => change(m, 'resolve', { as });

/** Sends a message once more; one that was called off to be sent at once, that one. */
export const retry = (m: Message) => (m.state === 'canceled' && hasInstead(m) ? replace(m) : change(m, 'retry'));

/** Sends a parked message at once, over the allowance that is kept for live answers. What
 * is parked may be let out at any moment: it is called off first, and its content entrusted
 * anew. That is kept before, so that nothing is lost if the second step fails. */
export async function sendNow(m: Message) {
  try {
    keepInstead(await api<Message>(`/v1/messages/${encodeURIComponent(m.id)}`)); // the feed tells less of it
    await call(m, 'cancel');
  } catch (e) {
    if (e instanceof Problem && e.status < 500 && e.status !== 429) dropInstead(m); // it has left, or ended
    return tell(e);
  }
  await replace(m);
}

/** The second step, as often as it takes. */
async function replace(m: Message): Promise<Message | undefined> {
  try {
    return await sendInstead(m);
  } catch (e) {
    toast('bad', t('send.now.half', { why: wordsOf(e) }), { label: t('ops.retry'), run: () => void (hasInstead(m) && replace(m)) }); // it may have gone meanwhile, by its bubble
    return undefined;
  }
}
