import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useMemo, useRef } from 'preact/hooks';
import { dayName, visible } from '../core/clock';
import { conversation, idOf, keyOf, linesOf, older, present, thread, upTo } from '../core/desk';
import { go, params } from '../core/route';
import { agentById, me, mayWrite, session } from '../core/session';
import { t } from '../core/words';
import type { Conversation, Line } from '../core/types';
import { shortName } from '../parts/avatar';
import { Fence } from '../parts/fence';
import { Icon } from '../parts/icon';
import { Menu, type Item } from '../parts/menu';
import { toast } from '../parts/overlay';
import * as act from './actions';
import { drops } from './begun';
import { ThreadLine, Undrawn, tellArrival } from './bubble';
import { Composer } from './composer';

/** As many lines of a thread are in the document at a time, more on a very tall
 * screen; near an end of them, STEP further ones take the place of those at the other. */
const drawnLines = () => Math.max(60, Math.ceil(innerHeight / 15));
const STEP = 20;

export function Thread({ account, openid, pane }: { account: string; openid: string; pane: (p: 'list' | 'thread' | 'card') => void }) {
  const th = thread(account, openid);
  const key = keyOf(account, openid);
  const c = conversation(key);
  const lines = linesOf(th);
  const scroll = useRef<HTMLDivElement>(null);
  const lastDrawn = useSignal(''); // a line's id; '': the newest
  const atEnd = useSignal(true);
  const missed = useSignal(0);
  const firstUnread = useRef<{ key: string; cursor: string } | null>(null);
  const name = c?.remark || shortName(openid);
  const removed = c?.window.cause?.code === 'removed'; // the account: nothing can be sent

  // The divider stays where it was when the conversation was opened.
  if (firstUnread.current?.key !== key) firstUnread.current = null;
  if (!firstUnread.current && c && lines.length) {
    const inbound = lines.filter((l) => l.type === 'follower.message');
    const first = c.unread > 0 ? inbound[Math.max(0, inbound.length - c.unread)] : undefined;
    firstUnread.current = { key, cursor: first?.cursor ?? '' };
  }

  const newest = lines.findLast((l) => l.type === 'follower.message')?.cursor ?? '';
  useEffect(() => {
    if (c && newest && visible.value && atEnd.value) void act.markRead(c, newest);
  }, [newest, key, c?.unread, visible.value, atEnd.value]);
  useEffect(() => {
    if (!c) return;
    void act.presence({ account, openid }, 'viewing');
    const timer = setInterval(() => void act.stay({ account, openid }), 20_000);
    return () => {
      clearInterval(timer);
      void act.presence({ account, openid }, 'gone');
    };
  }, [key, !c]);

  const latest = useRef('');
  useEffect(() => {
    const last = lines.at(-1);
    const known = latest.current ? lines.findLastIndex((l) => idOf(l) === latest.current) : -1;
    const came = known < 0 ? 0 : lines.length - 1 - known; // older ones that were loaded are not new
    latest.current = last ? idOf(last) : '';
    if (!came) return;
    tellArrival(last!);
    if (!atEnd.value) missed.value += came;
  }, [lines]);

  const found = lastDrawn.value ? lines.findIndex((l) => idOf(l) === lastDrawn.value) : -1;
  const to = found < 0 ? lines.length : found + 1;
  const from = Math.max(0, to - drawnLines());
  // Whatever comes, goes or grows: the line that is looked at stays where it is.
  const anchor = atEnd.peek() ? undefined : anchorOf(scroll.current);
  const newer = useRef('');
  useLayoutEffect(() => {
    const el = scroll.current!;
    const last = lines.at(-1);
    const came = newer.current !== (newer.current = last ? idOf(last) : '');
    if (!atEnd.value) {
      if (anchor?.line.isConnected) el.scrollTop += anchor.line.getBoundingClientRect().top - anchor.top;
    } else if (came) el.scrollTop = 0;
  });
  const up = () => {
    if (from > 0) lastDrawn.value = idOf(lines[to - STEP - 1]!);
    else void older(account, openid);
  };
  const look = () => {
    const el = scroll.current!;
    const below = -el.scrollTop, above = el.scrollHeight - el.clientHeight - below;
    const near = Math.min(600, (above + below) / 3);
    atEnd.value = below < 40 && to === lines.length;
    if (atEnd.value) missed.value = 0;
    if (above < near || above < 1) up();
    else if (below < near && to < lines.length) lastDrawn.value = to + STEP < lines.length ? idOf(lines[to + STEP - 1]!) : '';
  };
  useEffect(look, [lines, lastDrawn.value]);

  // A line that was found: it is loaded, drawn in the middle and marked.
  const sought = params().get('at') ?? '';
  useEffect(() => {
    if (!sought) return;
    let left = false;
    const seek = () => void upTo(account, openid, sought, () => left).then((how) => {
      const now = linesOf(th), i = now.findIndex((l) => l.cursor === sought);
      if (left || how === 'failed') return; // that it failed stands above the lines
      if (how === 'far') return toast('bad', t('found.far', { n: now.length }), { label: t('search.on'), run: seek });
      if (i < 0) return toast('bad', t('found.gone'));
      const l = now[i]!, below = now[i + STEP];
      atEnd.value = false;
      lastDrawn.value = below ? idOf(below) : '';
      requestAnimationFrame(() => {
        const el = scroll.current?.querySelector<HTMLElement>(l.message ? `[data-id="${CSS.escape(l.message.id)}"]` : `[data-cursor="${CSS.escape(l.cursor)}"]`);
        scroll.current?.querySelector('.hit')?.classList.remove('hit');
        el?.classList.add('hit');
        el?.scrollIntoView({ block: 'center' });
      });
    });
    seek();
    return () => void (left = true);
  }, [key, sought]);

  const tapped = useMemo(() => {
    const ids = new Set<string>();
    for (const l of lines) if (l.type === 'follower.message' && l.data?.push?.MenuID) ids.add(String(l.data.push.MenuID));
    return ids;
  }, [lines]);

  const drawn: preact.ComponentChildren[] = [];
  let day = '';
  lines.slice(from, to).forEach((l: Line, i) => {
    const d = dayName(Date.parse(l.at));
    if (d !== day) drawn.push(<p key={`day ${l.cursor}`} class="day">{(day = d)}</p>);
    if (l.cursor === firstUnread.current?.cursor) drawn.push(<p key="unread" class="unread">{t('unread.line')}</p>);
    drawn.push(
      <Fence key={l.message?.id ?? l.cursor} of={l} instead={(why) => <Undrawn line={l} why={why} />}>
        <ThreadLine line={l} before={lines[from + i - 1]} account={account} c={c} tapped={tapped} />
      </Fence>,
    );
  });

  return (
    <section class="pane th" aria-label={t('thread.label', { name })} {...(c && mayWrite.value && !removed && drops(c))}>
      <Head c={c} name={name} account={account} openid={openid} pane={pane} />
      <div class="scroll" ref={scroll} tabIndex={0} role="region" aria-label={t('log.label')}
        onScroll={look}>
        <div class="log" role="log" aria-live="off">
          {(from > 0 || th.next.value !== null) && <p class="day">{th.busy.value ? t('loading') : <button type="button" class="lnk" onClick={up}>{t('older')}</button>}</p>}
          {th.failed.value && <div class="empty"><b>{t('load.failed')}</b><p>{t('load.safe')}</p><button type="button" class="btn" onClick={() => void older(account, openid)}>{t('retry')}</button></div>}
          {drawn}
        </div>
      </div>
      {missed.value > 0 && !atEnd.value && <button type="button" class="pill down" onClick={() => ((lastDrawn.value = ''), (scroll.current!.scrollTop = 0), (atEnd.value = true))}>↓ {t('missed', { n: missed.value })}</button>}
      {c && mayWrite.value && !removed ? <Composer key={key} c={c} name={name} /> : c && <p class="ban"><Icon name="lock" size="s" />{t(removed ? 'account.removed' : 'readonly')}</p>}
    </section>
  );
}

/** The first line that can be seen, and where. */
function anchorOf(scroll: HTMLElement | null): { line: Element; top: number } | undefined {
  const edge = scroll?.getBoundingClientRect().top ?? 0;
  for (const line of scroll?.querySelectorAll('.log > :not(.day, .unread)') ?? []) {
    const r = line.getBoundingClientRect();
    if (r.bottom > edge) return { line, top: r.top };
  }
  return undefined;
}

function Head({ c, name, account, openid, pane }: { c: Conversation | undefined; name: string; account: string; openid: string; pane: (p: 'list' | 'thread' | 'card') => void }) {
  const others = (present.value[keyOf(account, openid)] ?? []).map((p) => agentById(p.agent)?.display ?? '?');
  const owner = c?.assigned_to === me.value?.id ? t('mine.tag') : c?.assigned_to ? (agentById(c.assigned_to)?.display ?? t('by.agent')) : t('nobody.tag');
  const agents: Item[] = (session.value?.agents ?? []).filter((a) => a.id !== c?.assigned_to && !a.disabled && a.role !== 'viewer' && (!a.accounts?.length || a.accounts.includes(account))).map((a) => ({ label: a.id === me.value?.id ? t('claim') : a.display, hint: a.online ? t('online') : t('offline.agent'), run: () => c && void act.assign(c, a.id) }));
  if (!agents.length) agents.push({ label: t('transfer.nobody'), run: () => {} });
  const more: Item[] = c ? [
    ...(c.closed ? [] : [{ label: t('close'), run: () => void act.close(c) }]),
    ...(c.assigned_to ? [{ label: t('release'), run: () => void act.assign(c, null) }] : []),
    ...(['bot', 'agent', 'kf'] as const).filter((h) => h !== (c.handler || 'bot')).map((h) => ({ label: t(`handover.${h}` as const), run: () => void act.handover(c, h) })),
    { label: t('card.open'), run: () => pane('card') },
  ] : [];
  return (
    <header class="ph">
      <button type="button" class="ib mob" aria-label={t('back')} onClick={() => (pane('list'), go('/console'))}><Icon name="back" /></button>
      <div class="who"><h2 class="row"><span class="el">{name}</span>{c?.handler === 'kf' ? <span class="tagc w nomob">{t('handler.kf')}</span> : <span class={`tagc ${c?.assigned_to === me.value?.id ? 'a' : ''} nomob`}>{owner}</span>}{c?.handler === 'agent' && <span class="tagc nomob">{t('handler.agent')}</span>}</h2>
        <p class="el">{others.length ? t('also.here', { names: others.join(t('comma')) }) : session.value?.accounts.find((a) => a.appid === account)?.name ?? account}</p></div>
      {c && mayWrite.value && (
        <>
          {c.assigned_to !== me.value?.id && <button type="button" class="btn" title={`${t('claim')} (C)`} onClick={() => void act.claim(c)}><Icon name="assign" size="s" />{t('claim')}</button>}
          <Menu id="transfer" label={t('transfer')} icon="swap" title={`${t('transfer')} (T)`} items={agents} words />
          <button type="button" class="btn nomob" title={`${t('close')} (E)`} onClick={() => void act.close(c)}><Icon name="done" size="s" />{t('close')}</button>
          <Menu id="more" label={t('more')} icon="more" items={more} />
        </>
      )}
    </header>
  );
}
