import { signal } from '@preact/signals';
import { api, query, wordsOf } from '../core/api';
import { moment } from '../core/clock';
import { conversations, keyOf } from '../core/desk';
import { conversationLink } from '../core/route';
import { t } from '../core/words';
import type { Page } from '../core/types';
import { shortName } from '../parts/avatar';
import { strip } from './kinds';

interface Found { account: string; openid: string; at: string; cursor: string; snippet: string; kind: string }

/** What was found so far, and where to go on: '' at the end. */
interface Results { asked: string; items: Found[]; next: string; state: '' | 'busy' | 'failed'; why: string }

const results = signal<Results | null>(null);
let timer = 0;
let asking: AbortController | undefined;

/** Searches what was said, a moment after the last key. What was found before is gone at once. */
export function search(q: string) {
  const asked = q.trim();
  if (asked === results.value?.asked) return;
  clearTimeout(timer);
  asking?.abort();
  results.value = asked.length < 2 ? null : { asked, items: [], next: '', state: 'busy', why: '' };
  if (results.value) timer = window.setTimeout(() => void on(), 250);
}

/** Goes on where the search has stopped, which may be at its beginning. */
async function on() {
  const r = results.value!;
  const mine = (asking = new AbortController()).signal;
  results.value = { ...r, state: 'busy', why: '' };
  try {
    const page = await api<Page<Found>>('/v1/search' + query({ q: r.asked, limit: 20, cursor: r.next }), { signal: mine });
    if (!mine.aborted) results.value = { ...r, items: [...r.items, ...page.items], next: page.next ?? '', state: '', why: '' };
  } catch (e) {
    if (!mine.aborted) results.value = { ...r, state: 'failed', why: wordsOf(e) };
  }
}

/** The part of a text that was found, without tags, half ones at its ends among them. */
function Snippet({ text, asked }: { text: string; asked: string }) {
  const plain = strip(text.replace(/^[^<>]*["']\s*>/, '').replace(/<[a-z/][^>]*$/i, ''));
  const at = plain.toLowerCase().indexOf(asked.toLowerCase());
  return at < 0 ? <>{plain}</> : <>{plain.slice(0, at)}<mark>{plain.slice(at, at + asked.length)}</mark>{plain.slice(at + asked.length)}</>;
}

export function SearchResults() {
  const r = results.value;
  if (!r) return null;
  const n = r.items.length;
  return (
    <section class="found" aria-label={t('search.messages')} aria-busy={r.state === 'busy'}>
      <h3>{t('search.messages')} <span class="n">{n > 0 && `${n}${r.next && '+'}`}</span></h3>
      {r.items.map((f) => {
        const c = conversations.get(keyOf(f.account, f.openid))?.value;
        return (
          <a key={f.cursor} class="fr" href={conversationLink(f.account, f.openid) + query({ at: f.cursor })}>
            <b class="el">{c?.remark || shortName(f.openid)}</b><span class="lbl num">{moment(Date.parse(f.at))}</span>
            <span class="el sub"><Snippet text={f.snippet} asked={r.asked} /></span>
          </a>
        );
      })}
      <p class="lbl" role="status">{r.state === 'failed' ? `${t('load.failed')}${t('ops.colon')}${r.why}` : r.state === 'busy' ? t('search.busy') : n ? '' : t(r.next ? 'search.none.yet' : 'search.none')}</p>
      {r.state === 'failed' ? <button type="button" class="btn sm" onClick={() => void on()}>{t('retry')}</button>
        : r.next && <button type="button" class="btn sm quiet" aria-disabled={r.state === 'busy'} onClick={() => r.state === '' && void on()}>{t('search.on')}</button>}
    </section>
  );
}
