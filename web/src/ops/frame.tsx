// What the operators' pages are made of.
import { useSignal, type Signal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useLayoutEffect, useRef } from 'preact/hooks';
import { api, query, wordsOf } from '../core/api';
import { moment } from '../core/clock';
import { go, params, parts, route } from '../core/route';
import { session } from '../core/session';
import { lang, t, type Key } from '../core/words';
import type { Page, State } from '../core/types';
import { Icon } from '../parts/icon';
import type { IconName } from '../parts/icons';
import { Dialog, tell, toast } from '../parts/overlay';

export function OpsFrame({ title, tools, children }: { title: string; tools?: ComponentChildren; children: ComponentChildren }) {
  return <main class="page"><header class="bar"><h1>{title}</h1><span class="grow" />{tools}</header>{children}</main>;
}

export interface List<T> { items: Signal<T[]>; next: Signal<string>; state: Signal<'' | 'loading' | 'failed'>; why: Signal<string>; load: () => Promise<void>; more: () => Promise<void>; again: () => Promise<void> }

/** The pages of a list of the API. Another name is another list: the rows before go at
 * once. Only the answer to what was asked for last counts. at is where the list is to be
 * had as it is loaded, where its name does not say. */
export function useList<T>(name: string, limit = 50, at = () => name): List<T> {
  const items = useSignal<T[]>([]);
  const next = useSignal('');
  const state = useSignal<'' | 'loading' | 'failed'>('loading');
  const why = useSignal('');
  const from = useRef(''); // where the rows are from: the further ones, too
  const asked = useRef(''); // the cursor that was asked for last
  const round = useRef(0);
  async function read(cursor: string) {
    const mine = ++round.current;
    asked.current = cursor;
    state.value = 'loading';
    try {
      const [path, members] = from.current.split('?');
      const q = new URLSearchParams(members);
      if (limit) q.set('limit', String(limit));
      if (cursor) q.set('cursor', cursor);
      const s = q.toString();
      const page = await api<Page<T>>(path! + (s && `?${s}`));
      if (mine !== round.current) return;
      items.value = cursor ? [...items.value, ...page.items] : page.items;
      next.value = page.next ?? '';
      state.value = '';
    } catch (e) {
      if (mine !== round.current) return;
      why.value = wordsOf(e);
      state.value = 'failed';
    }
  }
  const load = () => ((from.current = at()), read(''));
  useLayoutEffect(() => {
    items.value = [];
    next.value = '';
    void load();
  }, [name]);
  return { items, next, state, why, load, more: async () => void (state.value !== 'loading' && (await read(next.value))), again: () => read(asked.current) };
}

/** What stands under a list, or in place of one that is empty. */
export function Foot({ list, none, note }: { list: List<unknown>; none: string; note?: string }) {
  const n = list.items.value.length;
  if (list.state.value === 'failed') return <div class="empty" role="alert"><b>{t('load.failed')}</b><p>{list.why.value}</p><button type="button" class="btn pri" onClick={() => void list.again()}>{t('retry')}</button></div>;
  if (!n && list.state.value === 'loading') return <p class="pager" role="status">{t('loading')}</p>;
  if (!n && !list.next.value) return <div class="empty"><b>{none}</b>{note && <p>{note}</p>}</div>;
  return (
    <div class="pager"><span role="status">{t('ops.rows', { n })}</span><span class="grow" />
      {list.next.value && <button type="button" class="btn sm" aria-disabled={list.state.value === 'loading'} onClick={() => void list.more()}>{t('ops.more')}</button>}</div>
  );
}

const marks: Record<State, [string, IconName]> = {
  queued: ['q', 'queued'], parked: ['prk', 'park'], sending: ['q', 'send'], sent: ['ok', 'check'], failed: ['ref', 'cross'], unknown: ['unk', 'unknown'], expired: ['exp', 'clock'], canceled: ['exp', 'stop'],
};
export const states = Object.keys(marks) as State[];
export const stateName = (s: State) => t(`ops.state.${s}` as Key);
export const StateMark = ({ state }: { state: State }) => <span class={`stt ${marks[state]?.[0] ?? 'q'}`}><Icon name={marks[state]?.[1] ?? 'info'} size="s" />{stateName(state)}</span>;

/** A moment; to the second where it is pointed at. */
export function When({ at, exact = false }: { at: string; exact?: boolean }) {
  const ms = Date.parse(at);
  const d = new Date(ms);
  return <time class="num" dateTime={at} title={d.toLocaleString(lang.value === 'zh' ? 'zh-CN' : 'en-GB')}>{exact ? `${moment(ms)}:${String(d.getSeconds()).padStart(2, '0')}.${String(d.getMilliseconds()).padStart(3, '0')}` : moment(ms)}</time>;
}

/** Sets members of the query; the empty ones go. */
export function setQuery(change: Record<string, string>, replace = true) {
  const q = params();
  for (const [k, v] of Object.entries(change)) v ? q.set(k, v) : q.delete(k);
  go(`/console/${parts().map(encodeURIComponent).join('/')}${query(Object.fromEntries(q))}`, replace);
}
export const inQuery = (name: string) => (route.value, params().get(name) ?? '');

export const accountName = (appid: string) => session.value?.accounts.find((a) => a.appid === appid)?.name || appid;

export function Pick({ label, value, options, onPick }: { label: string; value: string; options: [string, string][]; onPick: (v: string) => void }) {
  return <label class="pick opick"><span class="sr">{label}</span><select value={value} onChange={(e) => onPick(e.currentTarget.value)}>{options.map(([v, name]) => <option key={v} value={v}>{name}</option>)}</select></label>;
}

export const AccountPick = ({ value, onPick, all = true }: { value: string; onPick: (v: string) => void; all?: boolean }) => {
  const accounts = session.value!.accounts;
  if (accounts.length < 2 && all) return null;
  return <Pick label={t('ops.account')} value={value} onPick={onPick} options={[...(all ? [['', t('ops.account.all')] as [string, string]] : []), ...accounts.map((a) => [a.appid, a.name || a.appid] as [string, string])]} />;
};

/** Asks before something that can't be taken back. */
export function Ask({ title, text, verb, danger = false, onYes, onNo }: { title: string; text: string; verb: string; danger?: boolean; onYes: () => void; onNo: () => void }) {
  return (
    <Dialog title={title} onClose={onNo}>
      <p>{text}</p>
      <div class="acts"><button type="button" class="btn" onClick={onNo}>{t('cancel')}</button><button type="button" class={`btn ${danger ? 'danger' : 'pri'}`} onClick={() => (onYes(), onNo())}>{verb}</button></div>
    </Dialog>
  );
}

export function Copy({ text, label }: { text: string; label?: string }) {
  return <button type="button" class="btn sm quiet" onClick={() => void navigator.clipboard?.writeText(text).then(() => toast('ok', t('copied')), tell)}><Icon name="copy" size="xs" />{label ?? t('ops.copy')}</button>;
}

/** A form in a dialog. It is handed in once, however often it is submitted meanwhile. */
export function Form({ verb, onSubmit, onCancel, children }: { verb: string; onSubmit: (f: FormData) => Promise<unknown>; onCancel: () => void; children: ComponentChildren }) {
  const busy = useSignal(false);
  async function submit(e: { preventDefault: () => void; currentTarget: HTMLFormElement }) {
    e.preventDefault();
    if (busy.value) return;
    busy.value = true;
    try {
      await onSubmit(new FormData(e.currentTarget));
    } catch (err) {
      tell(err);
    } finally {
      busy.value = false;
    }
  }
  return (
    <form class="stack" onSubmit={(e) => void submit(e)}>
      {children}
      <div class="acts"><button type="button" class="btn" onClick={onCancel}>{t('cancel')}</button><button class="btn pri" type="submit" aria-disabled={busy.value}>{verb}</button></div>
    </form>
  );
}

/** A text that is shown once: a key, a secret, a link. */
export function Once({ title, text, note, onClose }: { title: string; text: string; note: string; onClose: () => void }) {
  return <Dialog title={title} onClose={onClose}><p class="advice unk"><Icon name="warn" size="s" /><span>{note}</span></p><pre class="wrap once" tabIndex={0}>{text}</pre><div class="acts"><Copy text={text} /><button type="button" class="btn pri" onClick={onClose}>{t('ops.kept')}</button></div></Dialog>;
}

/** A side panel beside a table; over it on a phone. It takes the focus; Esc closes it
 * and gives the focus back. */
export function Drawer({ title, sub, children, onClose }: { title: string; sub?: ComponentChildren; children: ComponentChildren; onClose: () => void }) {
  const ref = useRef<HTMLElement>(null);
  useLayoutEffect(() => {
    const opener = document.activeElement as HTMLElement | null;
    if (opener && opener !== document.body) ref.current?.focus();
    const key = (e: KeyboardEvent) => e.key === 'Escape' && !document.querySelector('dialog[open]') && onClose();
    addEventListener('keydown', key);
    return () => {
      removeEventListener('keydown', key);
      if (ref.current?.contains(document.activeElement)) opener?.focus?.();
    };
  }, []);
  return (
    <section ref={ref} class="drw" aria-label={title} tabIndex={0}>
      <header><div class="grow"><h2>{title}</h2>{sub}</div><button type="button" class="ib" aria-label={t('close.dialog')} onClick={onClose}><Icon name="close" /></button></header>
      {children}
    </section>
  );
}

export const Json = ({ value, label }: { value: unknown; label: string }) => <pre tabIndex={0} role="group" aria-label={label}>{JSON.stringify(value, null, 1)}</pre>;

/** Runs a call; what goes wrong is told. */
export async function attempt<T>(call: () => Promise<T>, done?: string): Promise<T | undefined> {
  try {
    const v = await call();
    if (done) toast('ok', done);
    return v;
  } catch (e) {
    tell(e);
    return undefined;
  }
}
