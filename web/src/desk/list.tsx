import { useComputed } from '@preact/signals';
import { elementScroll, observeElementOffset, observeElementRect, Virtualizer } from '@tanstack/virtual-core';
import { useEffect, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { dayName, left, second } from '../core/clock';
import { conversations, failed, held, listed, load, loaded, pending, present, settle, soonest, sort, view, wanted, type View } from '../core/desk';
import { draftOf } from './drafts';
import { conversationLink, go } from '../core/route';
import { agentById, me, mayWrite, session } from '../core/session';
import { t, type Key } from '../core/words';
import { Avatar, shortName } from '../parts/avatar';
import { Icon } from '../parts/icon';
import { Dots, Ring, timeLeft, urgencyClass } from '../parts/time';
import { claim } from './actions';
import { sayLast } from './kinds';
import { search, SearchResults } from './search';

const views: View[] = ['mine', 'unassigned', 'waiting', 'closing', 'all'];

export function List({ current }: { current: string }) {
  const l = listed.value;
  const box = useRef<HTMLInputElement>(null);
  return (
    <aside class="pane lst" aria-label={t('list.label')}>
      <header class="ph">
        <h1>{t('list.title')}</h1>
        <span class="grow" />
        <button type="button" class="ib" aria-label={`${t('sort.label')}: ${t(sort.value === 'ends' ? 'sort.ends' : 'sort.last')}`} title={t(sort.value === 'ends' ? 'sort.ends' : 'sort.last')}
          onClick={() => {
            sort.value = sort.value === 'ends' ? 'last' : 'ends';
            localStorage.setItem('kefu.sort', sort.value);
            settle(true);
          }}><Icon name="sort" /></button>
      </header>
      <div class="list-top">
        <label class="in">
          <span class="sr">{t('search.label')}</span>
          <Icon name="search" size="s" />
          <input ref={box} id="search" type="search" placeholder={t('search.hint')} value={wanted.value} autocomplete="off" maxLength={100}
            onInput={(e) => ((wanted.value = e.currentTarget.value), settle(true), search(wanted.value))}
            onKeyDown={(e) => e.key === 'Escape' && ((wanted.value = ''), search(''), settle(true))} />
          <kbd class="nomob">/</kbd>
        </label>
      </div>
      <div class="tabs" role="tablist" aria-label={t('views.label')}>
        {views.map((v) => (
          <button key={v} type="button" role="tab" aria-selected={view.value === v} onClick={() => ((view.value = v), settle(true))}>
            {t(`view.${v}` as Key)} {v !== 'all' && <span class="n num">{l.counts[v]}</span>}
          </button>
        ))}
      </div>
      {l.hot.length > 0 && (
        <div class="hots">
          <h3><b>{t('hot.title')}</b> {t('hot.why')}</h3>
          {l.hot.map((key) => <Row key={key} id={key} on={key === current} hot />)}
          {l.more > 0 && <p class="lbl more">{t('hot.more', { n: l.more })}</p>}
        </div>
      )}
      {pending.value > 0 && held.value && (
        <button type="button" class="pill" onClick={() => settle(true)}>{t('list.pending', { n: pending.value })}</button>
      )}
      {failed.value && !loaded.value ? <Failed error={failed.value} />
        : !loaded.value ? <Skeleton />
        : l.rest.length === 0 ? <Empty />
        : <Rows keys={l.rest} current={current} />}
      {wanted.value.trim() && <SearchResults />}
    </aside>
  );
}

/** The rows that can be seen, and a few more. */
function Rows({ keys, current }: { keys: string[]; current: string }) {
  const ref = useRef<HTMLDivElement>(null);
  const [, redraw] = useState(0);
  const v = useRef<Virtualizer<HTMLDivElement, HTMLElement> | null>(null);
  const options = {
    count: keys.length, getScrollElement: () => ref.current, estimateSize: () => 72, overscan: 6, getItemKey: (i: number) => keys[i]!,
    scrollToFn: elementScroll, observeElementRect, observeElementOffset, onChange: () => redraw((n) => n + 1),
  };
  if (!v.current) v.current = new Virtualizer(options);
  else v.current.setOptions(options);
  useLayoutEffect(() => v.current!._didMount(), []);
  useLayoutEffect(() => v.current!._willUpdate());
  useEffect(() => {
    const i = keys.indexOf(current);
    if (i >= 0) v.current!.scrollToIndex(i, { align: 'auto' });
  }, [current]);
  useEffect(() => {
    let timer = 0;
    const hold = () => ((held.value = true), clearTimeout(timer), (timer = window.setTimeout(letGo, 5000)));
    const letGo = () => ((held.value = false), settle(true));
    const el = ref.current!;
    el.addEventListener('pointermove', hold);
    el.addEventListener('pointerleave', letGo);
    return () => {
      clearTimeout(timer);
      held.value = false;
      el.removeEventListener('pointermove', hold);
      el.removeEventListener('pointerleave', letGo);
    };
  }, []);
  const items = v.current.getVirtualItems();
  const space = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    space.current!.style.height = `${v.current!.getTotalSize()}px`; // CSSOM: the policy forbids style attributes
  });
  return (
    <div class="rows" ref={ref} role="region" aria-label={t('list.label')} tabIndex={-1}>
      <h3>{t(sort.value === 'ends' ? 'sort.ends' : 'sort.last')}</h3>
      <div class="space" ref={space} role="list">
        {items.map((item) => <Placed key={item.key as string} top={item.start} size={keys.length} at={item.index + 1}><Row id={keys[item.index]!} on={keys[item.index] === current} /></Placed>)}
      </div>
    </div>
  );
}

function Placed({ top, size, at, children }: { top: number; size: number; at: number; children: preact.ComponentChildren }) {
  const ref = useRef<HTMLDivElement>(null);
  useLayoutEffect(() => {
    ref.current!.style.transform = `translateY(${top}px)`;
  }, [top]);
  return <div class="placed" ref={ref} role="listitem" aria-setsize={size} aria-posinset={at}>{children}</div>;
}

function Row({ id, on, hot = false }: { id: string; on: boolean; hot?: boolean }) {
  const sig = conversations.get(id);
  const c = sig?.value;
  // Only the words that the tick changes make this row draw again.
  const time = useComputed(() => (sig ? timeLeft(sig.value.window, second.value) : ''));
  const cls = useComputed(() => (sig ? urgencyClass(sig.value.window, second.value) : 'x'));
  if (!c) return null;
  const name = c.remark || shortName(c.openid);
  const draft = draftOf(c.account, c.openid, 'reply').value || draftOf(c.account, c.openid, 'note').value;
  const agent = c.assigned_to && c.assigned_to !== me.value?.id ? agentById(c.assigned_to) : undefined;
  const others = present.value[id] ?? [];
  const shut = cls.value === 'x';
  const accounts = session.value?.accounts ?? [];
  const told = [c.window.remaining === null ? '' : t('row.left', { n: c.window.remaining }), c.unread ? t('row.unread', { n: c.unread }) : ''].filter(Boolean).join(t('comma'));
  return (
    <a class={`cr ${cls.value} ${on ? 'on' : ''} ${c.unread ? 'new' : ''}`} href={conversationLink(c.account, c.openid)} aria-current={on ? 'page' : undefined} data-key={id}>
      <span class="avr"><Ring window={c.window} /><Avatar id={c.openid} name={c.remark} dim={shut} />{c.unread > 0 && <span class="badge" aria-hidden="true">{c.unread > 99 ? '99+' : c.unread}</span>}</span>
      <span>
        <span class="nm"><span>{name}</span>
          {agent && <span class="tagc" title={agent.display}>{agent.display.slice(0, 3)}</span>}
          {others.length > 0 && <Icon name="eye" size="xs" />}
          {accounts.length > 1 && <span class="lbl">{accounts.find((a) => a.appid === c.account)?.name ?? c.account.slice(-4)}</span>}
        </span>
        <span class="ll">
          {draft ? <><em>{t('row.draft')}</em> {draft.slice(0, 60)}</>
            : c.unknown ? <><em>{t('row.unknown', { n: c.unknown })}</em> {sayLast(c.last)}</>
            : c.parked ? <><em class="p">{t('row.parked', { n: c.parked })}</em> {sayLast(c.last)}</>
            : others.some((o) => o.state === 'replying') ? <em class="p">{t('row.replying')}</em> : sayLast(c.last)}
        </span>
      </span>
      <span class={`tm ${cls.value === 'w' ? 'dw' : cls.value === 'h' ? 'dh' : ''}`}>
        <span class="left num">{time.value}</span>
        {shut ? <span class="lbl num">{dayName(Date.parse(c.last_at))}</span> : <Dots window={c.window} draft={0} />}
        <span class="sr">{told}</span>
      </span>
      {hot && mayWrite.value && (
        <span class="quick">
          <button type="button" class="chip" onClick={(e) => (e.preventDefault(), e.stopPropagation(), void claim(c), go(conversationLink(c.account, c.openid)))}><Icon name="assign" size="xs" />{t('hot.claim')}</button>
        </span>
      )}
    </a>
  );
}

function Empty() {
  const l = listed.value;
  const next = soonest(conversations.keys());
  return (
    <div class="empty">
      {!wanted.value && <svg class="big" viewBox="0 0 48 48" aria-hidden="true"><path class="ee" d="M24 2H34A12 12 0 0 1 46 14V34A12 12 0 0 1 34 46H14A12 12 0 0 1 2 34V14A12 12 0 0 1 14 2Z" /><path class="ef" d="m16 25 6 6 11-13" /></svg>}
      <b>{t(wanted.value ? 'empty.search' : l.hot.length ? 'empty.hot' : conversations.size ? 'empty.done' : 'empty.none')}</b>
      <p>{wanted.value ? '' : !conversations.size ? t('empty.none.why') : next ? t('empty.next', { t: left(Date.parse(next.window.closes_at!), second.value), name: next.remark || shortName(next.openid) }) : ''}</p>
      {!wanted.value && view.value === 'mine' && l.counts.unassigned > 0 && (
        <button type="button" class="btn" onClick={() => ((view.value = 'unassigned'), settle(true))}>{t('empty.unassigned', { n: l.counts.unassigned })}</button>
      )}
      {!wanted.value && view.value === 'mine' && l.counts.unassigned === 0 && l.counts.all > 0 && (
        <button type="button" class="btn" onClick={() => ((view.value = 'all'), settle(true))}>{t('empty.all', { n: l.counts.all })}</button>
      )}
    </div>
  );
}

function Skeleton() {
  return <div class="rows" aria-busy="true">{[1, 2, 3].map((i) => <div key={i} class="sk"><i /><span><i /><i /></span><i /></div>)}</div>;
}

function Failed({ error }: { error: Error }) {
  return (
    <div class="empty">
      <b>{t('load.failed')}</b>
      <p>{t('load.safe')}</p>
      <p class="lbl">{error.message}</p>
      <button type="button" class="btn pri" onClick={() => void load()}>{t('retry')}</button>
    </div>
  );
}
