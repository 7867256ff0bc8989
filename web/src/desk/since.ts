// What was done about a follower since an answer was begun: two who don't know of each
// other answer twice.
import { serverNow } from '../core/clock';
import { conversations, keyOf, linesOf, thread } from '../core/desk';
import { keep, recall } from '../core/kept';
import { agentById, me } from '../core/session';
import { t } from '../core/words';
import type { Line } from '../core/types';

/** How a conversation was when an answer was begun. cursor: of the newest line, if the lines were there. */
export interface Beginning { owner?: string; cursor?: number; at: number }

/** The conversation as it is now, for an answer that begins. */
export function beginning(account: string, openid: string): Beginning {
  const newest = linesOf(thread(account, openid)).findLast((l) => Number(l.cursor) > 0);
  return { owner: ownerOf(account, openid), ...(newest && { cursor: Number(newest.cursor) }), at: serverNow() };
}

const ownerOf = (account: string, openid: string) => conversations.get(keyOf(account, openid))?.peek().assigned_to;

const OURS = 'kefu.ours';
const MOST = 200;
/** The messages that this tab has sent, also before it was loaded anew. */
const ours = recall<string[]>(OURS, sessionStorage) ?? [];

/** Remembers a message as one that this tab has sent: whoever writes on knows of it. */
export function remember(id: string) {
  ours.push(id);
  if (ours.length > MOST) ours.shift();
  keep(OURS, ours, sessionStorage);
}

/** An answer that the follower has got or will get, and not from this tab. */
const answers = (l: Line) => l.type === 'conversation.answered' || (!!l.message && !ours.includes(l.message.id) && !['failed', 'expired', 'canceled'].includes(l.message.state));

const WAIT = 3_000;

/** What to ask before an answer is sent that was begun then; undefined: nothing. */
export async function askSince(b: Beginning | undefined, account: string, openid: string): Promise<string | undefined> {
  if (!b) return undefined;
  const th = thread(account, openid);
  for (let waited = 0; th.busy.peek() && waited < WAIT; waited += 50) await new Promise((r) => setTimeout(r, 50)); // a page that was just loaded has no lines yet
  const answer = linesOf(th).findLast((l) => answers(l) && (b.cursor ? Number(l.cursor) > b.cursor : Date.parse(l.at) > b.at));
  const by = answer?.message?.by;
  if (by?.kind === 'agent' && by.id === me.value?.id) return t('since.self');
  if (answer) return t('since.answered', { name: (by?.kind === 'agent' && agentById(by.id)?.display) || by?.name || t(answer.message ? 'by.api' : 'by.bot') });
  const owner = ownerOf(account, openid);
  if (owner && owner !== b.owner && owner !== me.value?.id) return t('since.taken', { name: agentById(owner)?.display ?? '?' });
  return undefined;
}
