import { signal } from '@preact/signals';
import { api, query } from '../core/api';
import { moment } from '../core/clock';
import { conversations, keyOf, wanted } from '../core/desk';
import { conversationLink } from '../core/route';
import { t } from '../core/words';
import type { Page } from '../core/types';
import { shortName } from '../parts/avatar';
import { strip } from './kinds';

interface Found { account: string; openid: string; at: string; cursor: string; snippet: string; kind: string }

const found = signal<Found[] | null>(null);
let timer = 0;
let asking: AbortController | undefined;

/** Searches what was said, a moment after the last key. */
export function search(q: string) {
  clearTimeout(timer);
  asking?.abort();
  if (q.trim().length < 2) {
    found.value = null;
    return;
  }
  timer = window.setTimeout(async () => {
    asking = new AbortController();
    try {
      found.value = (await api<Page<Found>>('/v1/search' + query({ q: q.trim(), limit: 20 }), { signal: asking.signal })).items;
    } catch {
      // another key was pressed, or it can't be searched now: what is listed stays
    }
  }, 250);
}

/** The part of a text that was found, without tags, half ones at its ends among them. */
function Snippet({ text }: { text: string }) {
  const plain = strip(text.replace(/^[^<>]*["']\s*>/, '').replace(/<[a-z/][^>]*$/i, ''));
  const asked = wanted.value.trim();
  const at = asked ? plain.toLowerCase().indexOf(asked.toLowerCase()) : -1;
  return at < 0 ? <>{plain}</> : <>{plain.slice(0, at)}<mark>{plain.slice(at, at + asked.length)}</mark>{plain.slice(at + asked.length)}</>;
}

export function SearchResults() {
  if (!found.value) return null;
  return (
    <section class="found" aria-label={t('search.messages')}>
      <h3>{t('search.messages')} <span class="n">{found.value.length}</span></h3>
      {found.value.map((f) => {
        const c = conversations.get(keyOf(f.account, f.openid))?.value;
        return (
          <a key={f.cursor} class="fr" href={conversationLink(f.account, f.openid)}>
            <b class="el">{c?.remark || shortName(f.openid)}</b><span class="lbl num">{moment(Date.parse(f.at))}</span>
            <span class="el sub"><Snippet text={f.snippet} /></span>
          </a>
        );
      })}
      {found.value.length === 0 && <p class="lbl">{t('search.none')}</p>}
    </section>
  );
}
