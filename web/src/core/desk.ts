// What the desk knows: conversations by key, and the lines of those that were
// opened. The feed keeps it true; where the feed tells too little, it is asked for.
import { batch, computed, effect, signal, type Signal } from '@preact/signals';
import { api, conversationPath, Problem, query, signedOut, Unreachable } from './api';
import { second, serverNow } from './clock';
import { follow, type Entry } from './stream';
import { me } from './session';
import { outlived, urgency, type Window } from './window';
import type { Conversation, Line, Message, Page } from './types';

export const keyOf = (account: string, openid: string) => `${account} ${openid}`;

export type View = 'mine' | 'unassigned' | 'waiting' | 'closing' | 'all';
export type Sort = 'ends' | 'last';

/** As many conversations as the page keeps: the latest. Older ones are found by search. */
const MOST = 10_000;

export const conversations = new Map<string, Signal<Conversation>>();
/** Grows when conversations come, go or change in a way that the list shows. */
export const version = signal(0);
export const loaded = signal(false);
export const failed = signal<Error | null>(null);

export const view = signal<View>('mine');
export const sort = signal<Sort>((localStorage.getItem('kefu.sort') as Sort) ?? 'ends');
export const wanted = signal('');
/** While the pointer is over the list, nothing in it moves. */
export const held = signal(false);

/** What is shown of a conversation that came without a window. */
const untold: Window = { state: 'unknown', remaining: null, closes_at: null, because: '', buckets: [] };

function put(got: Conversation) {
  const c = got.window ? got : { ...got, window: untold };
  const key = keyOf(c.account, c.openid);
  const known = conversations.get(key);
  if (known) known.value = c;
  else conversations.set(key, signal(c));
}

/** The conversation, as a component sees it: also when it comes later. */
export function conversation(key: string): Conversation | undefined {
  const s = conversations.get(key);
  if (!s) version.value;
  return s?.value;
}

const SOON = 2 * 3600_000;

/** What the list is sorted and counted by, in ms: the texts of ten thousand times are
 * not read again for each change. */
interface Times { last: number; waiting: number; ends: number }
const times = new WeakMap<Conversation, Times>();

function timesOf(c: Conversation): Times {
  let t = times.get(c);
  if (!t) {
    t = {
      last: Date.parse(c.last_at), waiting: c.waiting_since ? Date.parse(c.waiting_since) : 0,
      ends: c.window.state === 'open' && c.window.closes_at ? Date.parse(c.window.closes_at) : Infinity,
    };
    times.set(c, t);
  }
  return t;
}

const matches = (c: Conversation, q: string) =>
  !q || [c.remark ?? '', c.openid, ...c.tags].some((s) => s.toLowerCase().includes(q));

/** Minute windows that wait for an answer: on top, for everybody. */
const urgent = (c: Conversation, ends: number, now: number) =>
  ends - now <= 120_000 && !!c.waiting_since && !c.closed && urgency(c.window, now) === 'hot';

/** hot are the first of the minute windows; the further ones come first among the rest. */
export interface Listed { hot: string[]; more: number; rest: string[]; counts: Record<View, number> }
const HOT = 4;

interface Place { key: string; first: number; then: number }
const byPlace = (a: Place, b: Place) => (a.first === b.first ? a.then - b.then : a.first < b.first ? -1 : 1);

function compute(v: View, s: Sort, q: string): Listed {
  const now = serverNow();
  const mine = me.value?.id;
  const counts: Record<View, number> = { mine: 0, unassigned: 0, waiting: 0, closing: 0, all: 0 };
  const hot: Place[] = [];
  const rest: Place[] = [];
  for (const [key, sig] of conversations) {
    const c = sig.peek();
    const t = timesOf(c);
    const ends = t.ends > now ? t.ends : Infinity;
    const within: Record<View, boolean> = {
      mine: c.assigned_to === mine && !c.closed, unassigned: !c.assigned_to && !c.closed, waiting: !!t.waiting && !c.closed, closing: ends - now < SOON && !c.closed, all: true,
    };
    if (within.mine) counts.mine++;
    if (within.unassigned) counts.unassigned++;
    if (within.waiting) counts.waiting++;
    if (within.closing) counts.closing++;
    counts.all++;
    if (urgent(c, ends, now) && matches(c, q)) hot.push({ key, first: ends, then: -t.last });
    else if ((q || within[v]) && matches(c, q)) rest.push({ key, first: s === 'ends' ? ends : v === 'waiting' ? t.waiting : -t.last, then: -t.last });
  }
  const first = hot.sort(byPlace).map((p) => p.key);
  return { hot: first.slice(0, HOT), more: Math.max(0, first.length - HOT), rest: [...first.slice(HOT), ...rest.sort(byPlace).map((p) => p.key)], counts };
}

/** The one of these conversations whose window ends first, of those not done with. */
export function soonest(keys: Iterable<string>): Conversation | undefined {
  const now = serverNow();
  let first: Conversation | undefined, at = Infinity;
  for (const key of keys) {
    const c = conversations.get(key)?.peek();
    const ends = c && !c.closed ? timesOf(c).ends : 0;
    if (ends > now && ends < at) [first, at] = [c, ends];
  }
  return first;
}

/** The list as it should be now. */
const fresh = computed(() => {
  version.value;
  return compute(view.value, sort.value, wanted.value.trim().toLowerCase());
});

let shownFor = '';
/** The list as it is shown: while held, rows keep their places. */
export const listed = signal<Listed>({ hot: [], more: 0, rest: [], counts: { mine: 0, unassigned: 0, waiting: 0, closing: 0, all: 0 } });
/** How many rows would move if the list were let go. */
export const pending = computed(() => {
  const now = fresh.value.rest, shown = listed.value.rest;
  let n = 0;
  for (let i = 0; i < Math.min(now.length, 200); i++) if (now[i] !== shown[i]) n++;
  return n;
});

export function settle(force = false) {
  const f = fresh.value;
  const what = `${view.value} ${sort.value} ${wanted.value}`;
  if (force || !held.value || what !== shownFor || !listed.peek().rest.length) {
    shownFor = what;
    listed.value = f;
  } else listed.value = { hot: f.hot, more: f.more, rest: listed.peek().rest.filter((key) => !f.hot.includes(key)), counts: f.counts };
}

let due = 0;
/** Has the list computed anew soon: many changes at once cost one look. */
function touch() {
  if (due) return;
  due = window.setTimeout(() => {
    due = 0;
    version.value++;
    settle();
  }, 60);
}

const pause = (ms: number) => new Promise((r) => setTimeout(r, ms));
/** The pause before what could not be had is asked for again, ms. */
const AGAIN = 2_000;

let loads = 0; // so far: a later one ends those before
/** Loads every conversation, the latest first; the page is of use after the first part. */
export async function load() {
  const mine = ++loads;
  failed.value = null;
  let cursor = '', n = 0;
  while (mine === loads) {
    const since = told;
    let page: Page<Conversation>;
    try {
      page = await api<Page<Conversation>>('/v1/conversations' + query({ cursor, limit: n ? 500 : 100 }));
    } catch (e) {
      if ((n || loaded.value) && !signedOut.value) {
        await pause(AGAIN); // the rest, or what has changed, comes when it can be had
        continue;
      }
      if (mine === loads) failed.value = e as Error;
      return;
    }
    if (mine !== loads) return;
    batch(() =>
      page.items.forEach((c) => {
        const key = keyOf(c.account, c.openid);
        if ((news.get(key) ?? 0) > since && conversations.has(key)) refresh(c.account, c.openid);
        else put(c);
      }),
    );
    version.value++;
    loaded.value = true;
    settle(!n);
    cursor = page.next;
    n += page.items.length;
    if (!cursor || n >= MOST) return;
    await pause(50); // let the page breathe
  }
}

// --- one conversation

/** The lines of a conversation, oldest first. */
export interface Thread {
  lines: Signal<Line[]>;
  stale: Signal<Line[]>; // what is shown besides while the lines are loaded anew
  round: number; // how often they were loaded anew: what was asked for in an earlier round is dropped
  next: Signal<string | null>; // cursor of older lines; null: there are none
  busy: Signal<boolean>;
  failed: Signal<Error | null>;
  early: Map<string, Entry>; // the latest that the feed told of messages that are not among the lines yet
}

const threads = new Map<string, Thread>();

export function thread(account: string, openid: string): Thread {
  const key = keyOf(account, openid);
  let t = threads.get(key);
  if (!t) {
    t = { lines: signal([]), stale: signal([]), round: 0, next: signal(''), busy: signal(false), failed: signal(null), early: new Map() };
    threads.set(key, t);
    if (threads.size > 30) threads.delete(threads.keys().next().value!); // the one that was opened first
    void older(account, openid);
    void refresh(account, openid);
  }
  return t;
}

/** Loads what was said before the lines that are there. */
export async function older(account: string, openid: string) {
  const t = threads.get(keyOf(account, openid));
  if (!t || t.busy.value || t.next.value === null) return;
  const round = t.round;
  t.busy.value = true;
  t.failed.value = null;
  try {
    const page = await api<Page<Line>>(conversationPath(account, openid, 'timeline') + query({ cursor: t.next.value, limit: 50 }));
    if (t.round !== round) return;
    batch(() => {
      t.stale.value = [];
      const have = new Set(t.lines.value.map(idOf));
      t.lines.value = ordered([...page.items.filter((l) => !have.has(idOf(l))).reverse(), ...t.lines.value]);
      t.next.value = page.next || null;
      for (const e of t.early.values()) if (e.type === 'follower.media' || t.lines.value.some((l) => l.message?.id === e.data.id)) take(e);
      t.early.clear();
    });
  } catch (e) {
    if (t.round === round) t.failed.value = e as Error;
  } finally {
    if (t.round === round) t.busy.value = false;
  }
}

/** As many pages of a thread are loaded for a line that was found, at most. */
const FAR = 60;

/** Loads older lines until the one with the cursor is there, or shown not to be, or left.
 * 'far': it is further back than is loaded at a time. */
export async function upTo(account: string, openid: string, cursor: string, left: () => boolean): Promise<'loaded' | 'far' | 'failed'> {
  const t = thread(account, openid);
  for (let pages = 0; t.next.value !== null && !left();) {
    const oldest = t.lines.value[0];
    if (oldest && Number(oldest.cursor) <= Number(cursor)) return 'loaded';
    if (t.failed.value) return 'failed';
    if (pages >= FAR) return 'far';
    if (t.busy.value) await pause(30);
    else {
      pages++;
      await older(account, openid);
    }
  }
  return 'loaded';
}

/** Knows a line again: a message of ours has its place before it has a cursor. */
export const idOf = (l: Line) => l.message?.id ?? l.cursor;

/** Lines as they happened; a message of ours that has no cursor yet is the latest. */
function ordered(lines: Line[]): Line[] {
  const place = (l: Line) => Number(l.cursor) || Infinity;
  const late = lines.some((l, i) => i > 0 && place(lines[i - 1]!) > place(l));
  return late ? [...lines].sort((a, b) => (place(a) < place(b) ? -1 : place(a) > place(b) ? 1 : 0)) : lines;
}

/** What is known of a thread's lines. */
export function linesOf(t: Thread): Line[] {
  const now = t.lines.value, before = t.stale.value;
  if (!before.length) return now;
  const have = new Set(now.map(idOf));
  return [...before.filter((l) => !have.has(idOf(l))), ...now];
}

const asked = new Set<string>();
let asking = 0;
/** When something was last told of a conversation, by a count: what was read before that is old. */
const news = new Map<string, number>();
let told = 0;

/** Asks for a conversation anew, soon, and once for many changes. */
export function refresh(account: string, openid: string) {
  asked.add(keyOf(account, openid));
  news.set(keyOf(account, openid), ++told);
  if (!asking) asking = window.setTimeout(ask, 40);
}

async function ask() {
  const keys = [...asked].slice(0, 8); // the others come next, before those that are asked for meanwhile
  keys.forEach((key) => asked.delete(key));
  let wait = 20;
  await Promise.all(
    keys.map(async (key) => {
      const [account, openid] = key.split(' ') as [string, string];
      try {
        put(await api<Conversation>(conversationPath(account, openid)));
      } catch (e) {
        if (!(e instanceof Unreachable || (e instanceof Problem && (e.status >= 500 || e.status === 429)))) return; // it stays as it was
        asked.add(key);
        wait = AGAIN;
      }
    }),
  );
  touch();
  asking = asked.size && !signedOut.value ? window.setTimeout(ask, wait) : 0;
}

/** Changes what the page knows of a conversation before the feed tells it. */
export function patch(account: string, openid: string, change: Partial<Conversation>) {
  const s = conversations.get(keyOf(account, openid));
  if (s) {
    s.value = { ...s.value, ...change };
    touch();
  }
}

/** Puts a message of ours into its thread, or its new state. begun: it is what the
 * message was when it was accepted; the feed may have told more of it already. */
export function putMessage(m: Message, cursor?: string, begun = false) {
  const t = threads.get(keyOf(m.account, m.openid));
  if (!t) return;
  const at = t.lines.value.findIndex((l) => l.message?.id === m.id);
  if (at >= 0) {
    const lines = [...t.lines.value];
    const known = lines[at]!.message!;
    lines[at] = { ...lines[at]!, message: begun ? { ...m, ...known } : { ...known, ...m }, cursor: cursor ?? lines[at]!.cursor };
    t.lines.value = cursor ? ordered(lines) : lines;
  } else t.lines.value = [...t.lines.value, { cursor: cursor ?? `local ${m.id}`, at: m.accepted_at, type: 'message', message: m }];
}

// --- others at the desk

export interface Presence { agent: string; state: 'viewing' | 'replying'; until: number }
export const present = signal<Record<string, Presence[]>>({});

function note(e: Entry) {
  const key = keyOf(e.account, e.openid ?? '');
  const others = (present.value[key] ?? []).filter((p) => p.agent !== e.data.agent && p.until > Date.now());
  if (e.data.state !== 'gone' && e.data.agent !== me.value?.id) others.push({ agent: e.data.agent, state: e.data.state, until: Date.now() + 45_000 });
  present.value = { ...present.value, [key]: others };
}

/** Forgets who has said nothing for long: a tab that is closed can't say that it has gone. */
function leave() {
  const now = Date.now(), all = Object.entries(present.value);
  if (!all.some(([, ps]) => !ps.length || ps.some((p) => p.until <= now))) return;
  present.value = Object.fromEntries(all.map(([key, ps]) => [key, ps.filter((p) => p.until > now)] as const).filter(([, ps]) => ps.length));
}

// --- the feed

/** Other parts of the page that want every entry. */
export const listeners = new Set<(e: Entry) => void>();

function take(e: Entry) {
  listeners.forEach((l) => l(e));
  if (e.type === 'presence') return note(e);
  if (!e.openid) return;
  const key = keyOf(e.account, e.openid);
  const t = threads.get(key);
  if (e.type.startsWith('message.')) {
    const state = (e.type === 'message.accepted' ? 'queued' : e.type.slice(8)) as Message['state'];
    if (t) {
      const d = e.data;
      const known = t.lines.value.find((l) => l.message?.id === d.id);
      if (known || e.type === 'message.accepted') {
        putMessage({ ...(known?.message ?? { accepted_at: e.at }), ...d, account: e.account, openid: e.openid, state, retry_at: d.retry_at, outcome: d.outcome, message: d.message ?? known?.message?.message } as Message,
          e.type === 'message.accepted' ? e.cursor : undefined);
      } else if (t.busy.value) t.early.set(d.id, e);
    }
  } else if (t && (e.type === 'follower.message' || e.type === 'follower.event' || e.type === 'conversation.note' || e.type === 'conversation.changed' || e.type === 'conversation.answered')) {
    if (!t.lines.value.some((l) => l.cursor === e.cursor)) t.lines.value = [...t.lines.value, { cursor: e.cursor, at: e.at, type: e.type, data: e.data }];
  }
  if (t && e.type === 'follower.media' && e.data.asset) {
    if (t.busy.value) t.early.set(`media ${e.data.media_id}`, e); // its line may be on its way
    t.lines.value = t.lines.value.map((l) => {
      const p = l.type === 'follower.message' ? l.data?.push : undefined;
      if (p?.MediaID === e.data.media_id) return { ...l, asset: e.data.asset };
      return p?.ThumbMediaID === e.data.media_id ? { ...l, thumb_asset: e.data.asset } : l;
    });
  }
  if (e.type === 'message.accepted' || e.type === 'follower.message' || e.type === 'follower.event') {
    const s = conversations.get(key);
    if (s) s.value = { ...s.value, last_at: e.at, last: { at: e.at, type: e.type === 'message.accepted' ? 'message' : e.type, data: e.type === 'message.accepted' ? e.data.message : e.data }, unread: s.value.unread + (e.type === 'follower.message' ? 1 : 0) };
    touch();
  }
  refresh(e.account, e.openid);
}

let stop: (() => void) | undefined;
let starts = 0; // so far: one at a time follows

/** Loads and follows; again after the session had ended. */
export async function start() {
  stop?.();
  const mine = ++starts;
  let next: string | undefined;
  while (next === undefined) {
    try {
      ({ next } = await api<{ next: string }>('/v1/events/head'));
    } catch {
      await pause(AGAIN); // what happens before the feed is followed must not be missed
    }
    if (mine !== starts || signedOut.value) return;
  }
  stop = follow(next, take, () => {
    anew();
    void load();
  });
  anew();
  await load();
}

/** The lines that are there may be old, or some between them missing: asks for them anew. */
function anew() {
  for (const [key, t] of threads) {
    t.round++;
    batch(() => {
      t.stale.value = linesOf(t);
      t.lines.value = [];
      t.next.value = '';
      t.busy.value = false;
    });
    t.early.clear();
    const [account, openid] = key.split(' ') as [string, string];
    void older(account, openid);
  }
}

// A window that ends moves its row; one that ends while another is open leaves that.
effect(() => {
  const now = second.value;
  for (const [key, s] of conversations) {
    const c = s.peek();
    if (timesOf(c).ends > now) continue;
    const w = outlived(c.window, now);
    if (!w) continue;
    s.value = { ...c, window: w };
    const [account, openid] = key.split(' ') as [string, string];
    refresh(account, openid);
  }
});
setInterval(() => {
  touch();
  leave();
}, 5_000);
