// The gateway's HTTP API, by the session's cookie.
import { signal } from '@preact/signals';
import { learn } from './clock';
import { lang, t } from './words';

/** An error of the API: RFC 9457, in the page's language. */
export class Problem extends Error {
  constructor(readonly status: number, readonly code: string, readonly body: Record<string, any>) {
    super(body['detail'] || body['title'] || code);
  }
}

/** The gateway could not be reached: nothing is known of what was asked. */
export class Unreachable extends Error {}

/** What went wrong, for people. */
export const wordsOf = (e: unknown) => (e instanceof Error ? e.message : String(e));

/** Set when the session has ended: the page shows the sign-in. */
export const signedOut = signal(false);

/** match: the revision that a PUT replaces; another one is refused with 412. */
export interface Asking { method?: string; body?: unknown; raw?: Blob; headers?: Record<string, string>; match?: string; signal?: AbortSignal }

/** How long an answer is waited for, ms: a line that died in silence ends, too. */
const PATIENCE = { read: 15_000, write: 60_000 };

export async function api<T>(path: string, asking: Asking = {}): Promise<T> {
  const headers: Record<string, string> = { 'Accept-Language': lang.value, ...asking.headers };
  if (asking.match) headers['If-Match'] = `"${asking.match}"`;
  let body: BodyInit | undefined;
  if (asking.raw) body = asking.raw;
  else if (asking.body !== undefined) {
    headers['Content-Type'] = 'application/json';
    body = JSON.stringify(asking.body);
  }
  let res: Response;
  const method = asking.method ?? (body ? 'POST' : 'GET');
  const late = AbortSignal.timeout(method === 'GET' ? PATIENCE.read : PATIENCE.write);
  try {
    res = await fetch(path, { method, headers, body, signal: asking.signal ? AbortSignal.any([asking.signal, late]) : late, credentials: 'same-origin', redirect: 'error' });
  } catch (e) {
    if (asking.signal?.aborted) throw e;
    throw new Unreachable(t('unreachable'), { cause: e });
  }
  const time = Number(res.headers.get('Kefu-Time'));
  if (time) learn(time);
  const isJSON = /\bjson\b/.test(res.headers.get('Content-Type') ?? '');
  const answer = isJSON ? await res.json().catch((e) => {
    if (res.ok) throw new Unreachable(t('unreachable'), { cause: e }); // the line broke in the middle of it
    return {};
  }) : {};
  if (!res.ok) {
    if (answer.code === 'unauthorized' && path !== '/v1/session') signedOut.value = true; // another 401 is of a password that was asked for once more
    throw new Problem(res.status, answer.code ?? `http-${res.status}`, answer);
  }
  return answer as T;
}

/** A query string of those members that have a value. */
export function query(members: Record<string, string | number | undefined | null>): string {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(members)) if (v !== undefined && v !== null && v !== '') q.set(k, String(v));
  const s = q.toString();
  return s ? `?${s}` : '';
}

/** The path of a conversation's call. */
export const conversationPath = (account: string, openid: string, call = '') =>
  `/v1/conversations/${encodeURIComponent(account)}/${encodeURIComponent(openid)}${call && `/${call}`}`;

/** A key that makes the repeat of a call harmless. */
export function idempotencyKey(): string {
  const b = crypto.getRandomValues(new Uint8Array(16));
  return 'console-' + Array.from(b, (x) => x.toString(16).padStart(2, '0')).join('');
}
