// How the gateway is: what an operator should know, the queue, and the last hours.
import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { api, query, wordsOf } from '../core/api';
import { clockTime, dayName, serverNow } from '../core/clock';
import { conversations, version } from '../core/desk';
import { t, type Key } from '../core/words';
import type { State } from '../core/types';
import { urgency } from '../core/window';
import { explain } from '../desk/kinds';
import { Icon } from '../parts/icon';
import { Plot } from '../parts/plot';
import { AccountPick, inQuery, OpsFrame, setQuery, stateName, When } from './frame';

interface Point { at: string; accepted: number; sent: number; parked: number; failed: number; unknown: number; expired: number; canceled: number; heard: number; opened: number; took: number[]; left: number[] }
interface Series { from: string; step: number; points: Point[]; errcodes: { errcode: number; count: number }[]; unfinished: Record<string, number> }
interface Ready { ready: boolean; because?: string; notes?: string[] }

const EVERY = 30_000;

export function Board() {
  const hours = inQuery('hours') || '24', account = inQuery('account');
  const series = useSignal<Series | null>(null);
  const ready = useSignal<Ready | null>(null);
  const trouble = useSignal('');
  const round = useRef(0); // only the answer to what was asked for last counts
  async function load() {
    const mine = ++round.current;
    try {
      const [s, r] = await Promise.all([api<Series>('/v1/health/series' + query({ hours, account })), api<Ready>('/readyz').catch((e) => (e.body?.ready === false ? (e.body as Ready) : Promise.reject(e)))]);
      if (mine !== round.current) return;
      series.value = s;
      ready.value = r;
      trouble.value = '';
    } catch (e) {
      if (mine === round.current) trouble.value = wordsOf(e);
    }
  }
  useEffect(() => {
    series.value = null;
    void load();
    const timer = setInterval(() => document.visibilityState === 'visible' && void load(), EVERY);
    return () => clearInterval(timer);
  }, [hours, account]);
  const s = series.value;
  return (
    <OpsFrame title={t('nav.board')} tools={<>
      <span class="seg" role="group" aria-label={t('ops.since')}>{['6', '24', '168'].map((h) => <button key={h} type="button" aria-pressed={hours === h} onClick={() => setQuery({ hours: h === '24' ? '' : h })}>{t(`ops.last.${h}` as Key)}</button>)}</span>
      <AccountPick value={account} onPick={(v) => setQuery({ account: v })} /></>}>
      {trouble.value && <div class="empty" role="alert"><b>{t('load.failed')}</b><p>{trouble.value}</p><button type="button" class="btn pri" onClick={() => void load()}>{t('retry')}</button></div>}
      {s && !trouble.value && <Tiles s={s} ready={ready.value} account={account} long={hours === '168'} />}
      {!s && !trouble.value && <p class="pager" role="status">{t('loading')}</p>}
    </OpsFrame>
  );
}

function Tiles({ s, ready, account, long }: { s: Series; ready: Ready | null; account: string; long: boolean }) {
  version.value;
  const now = serverNow();
  let open = 0, spent = 0, waiting = 0;
  for (const each of conversations.values()) {
    const c = each.peek();
    if (account && c.account !== account) continue;
    const u = urgency(c.window, now);
    if (u === 'spent') spent++;
    if (u === 'open' || u === 'warn' || u === 'hot') open++;
    if (c.waiting_since && !c.closed) waiting++;
  }
  const total = (k: keyof Omit<Point, 'at' | 'took' | 'left'>) => s.points.reduce((n, p) => n + p[k], 0);
  const sent = total('sent'), bad = total('failed') + total('unknown') + total('expired');
  const label = (at: string) => (long ? `${dayName(Date.parse(at))} ${clockTime(Date.parse(at))}` : clockTime(Date.parse(at)));
  const most = Math.max(1, ...s.errcodes.map((e) => e.count));
  return (
    <div class="brd" tabIndex={0} role="region" aria-label={t('nav.board')}>
      <section class={`tile kpi ${ready && !ready.ready ? 'alert' : ''}`}><h2>{t('board.gateway')}</h2><p class="v">{ready ? t(ready.ready ? 'board.ready' : 'board.not.ready') : '…'}</p><p>{ready?.because || (ready?.notes?.length ? t('board.notes.n', { n: ready.notes.length }) : t('board.notes.none'))}</p></section>
      <section class="tile kpi"><h2>{t('board.sent')}</h2><p class="v">{sent.toLocaleString()}<small>{sent + bad ? `${((100 * sent) / (sent + bad)).toFixed(1)}%` : ''}</small></p><p>{t('board.bad', { failed: total('failed'), unknown: total('unknown'), expired: total('expired') })}</p></section>
      <section class="tile kpi"><h2>{t('board.queue')}</h2><p class="v">{Object.values(s.unfinished).reduce((a, b) => a + b, 0).toLocaleString()}</p><p>{(['queued', 'parked', 'sending', 'unknown'] as State[]).filter((k) => s.unfinished[k]).map((k) => <a key={k} class="gap" href={`/console/messages${query({ state: k, account })}`}>{stateName(k)} {s.unfinished[k]}</a>)}{!Object.keys(s.unfinished).length && t('board.queue.none')}</p></section>
      <section class="tile kpi"><h2>{t('board.windows')}</h2><p class="v">{open.toLocaleString()}</p><p>{t('board.windows.more', { spent, waiting })}</p></section>
      {!!ready?.notes?.length && <section class="tile w12"><h2 class="t">{t('board.notes')}</h2>{ready.notes.map((n) => <p key={n} class="advice unk"><Icon name="warn" size="s" /><span>{n}</span></p>)}</section>}
      <section class="tile w8"><Plot title={t('board.outcomes')} names={[stateName('sent'), stateName('parked'), stateName('failed'), stateName('unknown'), stateName('expired')]} colours={[1, 2, 4, 3, 5]} columns={s.points.map((p) => ({ label: label(p.at), values: [p.sent, p.parked, p.failed, p.unknown, p.expired] }))} /></section>
      <section class="tile w4"><h2 class="t">{t('board.errcodes')}</h2>
        {s.errcodes.length ? <ul class="codes">{s.errcodes.slice(0, 12).map((e) => (
          <li key={e.errcode}><a class="mono" href={`/console/messages${query({ errcode: e.errcode, account })}`}>{e.errcode}</a><span class="el sub" title={explain(e.errcode)}>{explain(e.errcode).split(/[。，.,]/)[0] || '–'}</span><svg viewBox="0 0 80 8" class="plot bar1" aria-hidden="true"><rect class="a4" width={(80 * e.count) / most} height="8" rx="1" /></svg><b class="num">{e.count}</b></li>
        ))}</ul> : <p class="mut">{t('board.errcodes.none')}</p>}</section>
      <section class="tile w6"><Plot title={t('board.left')} names={[t('board.left.0'), t('board.left.1'), t('board.left.more')]} colours={[4, 2, 1]} height={160} columns={s.points.map((p) => ({ label: label(p.at), values: p.left }))} /></section>
      <section class="tile w6"><Plot title={t('board.opened')} names={[t('board.opened.short')]} colours={[1]} height={160} columns={s.points.map((p) => ({ label: label(p.at), values: [p.opened] }))} /></section>
      <section class="tile w6"><Plot title={t('board.took')} names={[t('board.took.10'), t('board.took.100'), t('board.took.1000'), t('board.took.more')]} colours={[1, 2, 3, 4]} height={160} columns={s.points.map((p) => ({ label: label(p.at), values: p.took }))} /></section>
      <section class="tile w6"><Plot title={t('board.traffic')} names={[t('board.heard'), t('board.accepted')]} colours={[2, 1]} height={160} columns={s.points.map((p) => ({ label: label(p.at), values: [p.heard, p.accepted] }))} /></section>
      <p class="lbl w12">{t('board.from')} <When at={s.from} /></p>
    </div>
  );
}
