// The feed: every entry once and in order, over cuts of the line.
import { signal } from '@preact/signals';
import { learn } from './clock';
import { signedOut } from './api';
import { lang } from './words';

export interface Entry { cursor: string; at: string; account: string; openid?: string; type: string; data: any }

/** How the line is: cut, with the time of the next try. */
export const line = signal<{ up: boolean; retryAt: number }>({ up: true, retryAt: 0 });

/** No sign of life for this long, in ms, is a cut: the server beats twice a second, and
 * people are to know of it within two seconds. */
const SILENCE = 1200;

/** The lock of the hidden tab that follows. */
const FOLLOWING = 'kefu.feed';

/**
 * Follows the feed from cursor on; each entry goes to take, exactly once. reset is
 * called when the feed no longer has the place: load everything anew. Returns the
 * function that ends it.
 *
 * A browser has six connections to a host, for all its tabs: of those that nobody looks
 * at one follows, the others go on from where they are when they are looked at.
 */
export function follow(cursor: string, take: (e: Entry) => void, reset: () => void): () => void {
  let at = cursor;
  let tries = 0;
  let ended = false;
  let abort = new AbortController();
  let wait = 0;
  let wake = () => {};
  let mayFollow = true, goOn = () => {}, yieldLock = () => {};

  function permit(yes: boolean) {
    mayFollow = yes;
    if (yes) goOn();
    else abort.abort();
  }

  /** Asks for the lock; wait: until it is free. */
  async function seek(wait: boolean): Promise<boolean> {
    const asked = new AbortController();
    let release = () => {};
    yieldLock = () => (asked.abort(), release());
    return new Promise((had) => {
      const hold = (lock: Lock | null) => {
        const mine = !!lock && !asked.signal.aborted; // it may have been given too late
        had(mine);
        return mine ? new Promise<void>((done) => (release = done)) : undefined;
      };
      navigator.locks.request(FOLLOWING, wait ? { signal: asked.signal } : { ifAvailable: true }, hold).catch(() => had(false));
    });
  }

  async function attend() {
    yieldLock();
    yieldLock = () => {};
    if (!document.hidden || !navigator.locks) return permit(true);
    if (await seek(false)) return;
    if (!document.hidden || ended) return;
    permit(false);
    if (await seek(true)) permit(true);
  }

  async function read() {
    abort = new AbortController();
    let silence = 0;
    const alive = () => {
      clearTimeout(silence);
      silence = window.setTimeout(() => abort.abort(), SILENCE);
    };
    alive();
    try {
      const res = await fetch(`/v1/events?beat=0.5${at ? `&cursor=${encodeURIComponent(at)}` : ''}`, {
        headers: { Accept: 'text/event-stream', 'Accept-Language': lang.value }, credentials: 'same-origin', signal: abort.signal,
      });
      if (res.status === 401) {
        signedOut.value = true;
        return end();
      }
      if (!res.ok || !res.body) throw new Error(`HTTP ${res.status}`);
      tries = 0;
      line.value = { up: true, retryAt: 0 };
      const reader = res.body.pipeThrough(new TextDecoderStream()).getReader();
      let rest = '';
      for (;;) {
        const { value, done } = await reader.read();
        if (done) throw new Error('the stream ended');
        alive();
        rest += value;
        let end: number;
        while ((end = rest.indexOf('\n\n')) >= 0) {
          event(rest.slice(0, end));
          rest = rest.slice(end + 2);
        }
      }
    } finally {
      clearTimeout(silence);
    }
  }

  function event(block: string) {
    let id: string | undefined, name = '', data = '';
    for (const l of block.split('\n')) {
      const colon = l.indexOf(':');
      if (colon <= 0) continue;
      const value = l.slice(colon + 1).replace(/^ /, '');
      switch (l.slice(0, colon)) {
        case 'id': id = value; break;
        case 'event': name = value; break;
        case 'data': data += (data && '\n') + value; break;
      }
    }
    if (data) {
      const parsed = JSON.parse(data);
      if (name === 'time') learn(parsed.now);
      else if (name === 'reset') {
        at = parsed.cursor;
        reset();
      } else take(id === undefined ? { cursor: '', at: '', account: parsed.account, openid: parsed.openid, type: name, data: parsed } : parsed);
    }
    if (id !== undefined) at = id;
  }

  async function run() {
    while (!ended) {
      if (!mayFollow) {
        await new Promise<void>((go) => (goOn = go));
        continue;
      }
      try {
        await read();
      } catch {
        if (ended) return;
        if (!mayFollow) continue;
        const pause = Math.min(10_000, 500 * 2 ** Math.min(tries++, 5)) * (0.75 + Math.random() / 2);
        line.value = { up: false, retryAt: Date.now() + pause };
        await new Promise<void>((go) => {
          wake = go;
          wait = window.setTimeout(go, pause);
        });
        clearTimeout(wait);
      }
    }
  }
  const now = () => wake();
  const leave = () => abort.abort(); // a page that is kept for the Back button would hold one of six connections
  addEventListener('online', now);
  addEventListener('pagehide', leave);
  document.addEventListener('visibilitychange', attend);
  void attend();
  void run();
  function end() {
    ended = true;
    removeEventListener('online', now);
    removeEventListener('pagehide', leave);
    document.removeEventListener('visibilitychange', attend);
    yieldLock();
    abort.abort();
    wake();
    goOn();
  }
  return end;
}
