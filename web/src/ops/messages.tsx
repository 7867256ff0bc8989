// Every message, by what became of it; what to do about it stands first.
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { api, query } from '../core/api';
import { serverNow } from '../core/clock';
import { conversations, keyOf, listeners } from '../core/desk';
import { conversationLink } from '../core/route';
import { agentById, mayWrite } from '../core/session';
import { t, type Key } from '../core/words';
import type { Attempt, Message, Page, State } from '../core/types';
import * as act from '../desk/actions';
import { askTwice, explain, kindName, sayFailed, sayMessage } from '../desk/kinds';
import { shortId } from '../parts/avatar';
import { Missed, useGot } from '../parts/got';
import { Icon } from '../parts/icon';
import { Dialog, tell } from '../parts/overlay';
import { accountName, AccountPick, Ask, Copy, Drawer, Foot, inQuery, Json, OpsFrame, Pick, setQuery, StateMark, stateName, states, useList, When } from './frame';

const spans: Record<string, number> = { '1h': 1, '24h': 24, '7d': 168 };
const sinceOf = (span: string) => (Object.hasOwn(spans, span) ? new Date(Math.floor(serverNow() / 60_000) * 60_000 - spans[span]! * 3600_000).toISOString() : '');

const nameOf = (m: Message) => conversations.get(keyOf(m.account, m.openid))?.value.remark || shortId(m.openid);
const fromOf = (m: Message) => (m.by?.kind === 'agent' ? m.by.name ?? agentById(m.by.id)?.display ?? t('by.agent') : m.by?.name ?? t(`ops.source.${['api', 'cli', 'console', 'door', 'webhook', 'bot'].includes(m.source) ? m.source : 'api'}` as Key));

export function Messages() {
  const filter = { state: inQuery('state'), account: inQuery('account'), openid: inQuery('openid'), errcode: inQuery('errcode'), since: inQuery('since') };
  const shown = inQuery('m');
  const since = useRef(''); // when the list was loaded: the minute after it is the same list
  const list = useList<Message>('/v1/messages' + query(filter), 50, () => '/v1/messages' + query({ ...filter, since: (since.current = sinceOf(filter.since)) }));
  const chosen = useSignal<Set<string>>(new Set());
  const bulk = useSignal<{ call: 'cancel' | 'retry'; selection: Record<string, unknown> } | null>(null);
  useEffect(() => {
    const on = (e: { type: string; data: any }) => {
      if (!e.type.startsWith('message.') || !list.items.value.some((m) => m.id === e.data?.id)) return;
      const { id, state, attempts, outcome, retry_at, possible_duplicate, parts_sent } = e.data;
      list.items.value = list.items.value.map((m) => (m.id === id ? { ...m, state, attempts, outcome, retry_at, possible_duplicate, parts_sent } : m));
    };
    listeners.add(on);
    return () => void listeners.delete(on);
  }, []);
  const all = list.items.value;
  const picked = all.filter((m) => chosen.value.has(m.id)).map((m) => m.id); // nothing that can't be seen is chosen
  useLayoutEffect(() => void (picked.length < chosen.value.size && (chosen.value = new Set(picked))), [all]);
  const put = (m: Message) => (list.items.value = list.items.value.map((x) => (x.id === m.id ? { ...x, ...m } : x)));
  const toggle = (id: string, on: boolean) => {
    const s = new Set(chosen.value);
    on ? s.add(id) : s.delete(id);
    chosen.value = s;
  };
  const filtered = Object.values(filter).some(Boolean);
  const selection = (): Record<string, unknown> => (picked.length ? { ids: picked } : Object.fromEntries(Object.entries({ ...filter, errcode: Number(filter.errcode) || undefined, since: since.current }).filter(([, v]) => v)));
  return (
    <OpsFrame title={t('nav.messages')} tools={<button type="button" class="btn" onClick={() => void list.load()}><Icon name="refresh" size="s" />{t('ops.refresh')}</button>}>
      <div class="filt" role="group" aria-label={t('ops.filters')}>
        {(['', ...states] as ('' | State)[]).map((s) => <button key={s} type="button" class="fc" aria-pressed={filter.state === s} onClick={() => setQuery({ state: s })}>{s ? <StateMark state={s} /> : t('ops.all')}</button>)}
        <span class="grow" />
        <AccountPick value={filter.account} onPick={(account) => setQuery({ account })} />
        <Pick label={t('ops.since')} value={filter.since} onPick={(since) => setQuery({ since })} options={[['', t('ops.since.ever')], ...Object.keys(spans).map((s) => [s, t(`ops.since.${s}` as Key)] as [string, string])]} />
        <input class="in fin" type="search" aria-label={t('ops.openid')} placeholder={t('ops.openid')} value={filter.openid} maxLength={128} onChange={(e) => setQuery({ openid: e.currentTarget.value.trim() })} />
        <input class="in fin num short" type="search" inputMode="numeric" pattern="-?[0-9]{1,7}" aria-label={t('ops.errcode')} placeholder={t('ops.errcode')} value={filter.errcode} onChange={(e) => e.currentTarget.checkValidity() && setQuery({ errcode: e.currentTarget.value.trim() })} />
      </div>
      {mayWrite.value && all.length > 0 && (picked.length > 0 || filtered) && (
        <div class="bulk"><b>{picked.length ? t('ops.chosen', { n: picked.length }) : t('ops.chosen.all')}</b>
          <button type="button" class="btn sm" aria-disabled={!picked.length && !filter.state} onClick={() => (picked.length || filter.state) && (bulk.value = { call: 'retry', selection: selection() })}><Icon name="refresh" size="xs" />{t('ops.retry')}…</button>
          <button type="button" class="btn sm" onClick={() => (bulk.value = { call: 'cancel', selection: selection() })}><Icon name="close" size="xs" />{t('ops.cancel')}…</button>
          {picked.length > 0 && <button type="button" class="btn sm quiet" onClick={() => (chosen.value = new Set())}>{t('ops.chosen.none')}</button>}
        </div>
      )}
      <div class="split">
        <div class="tblw" tabIndex={0} role="region" aria-label={t('nav.messages')}>
          {all.length > 0 && (
            <table class="msgt">
              <thead><tr><th><input type="checkbox" class="cb" aria-label={t('ops.choose.all')} checked={picked.length > 0 && picked.length === all.length} onChange={(e) => (chosen.value = new Set(e.currentTarget.checked ? all.slice(0, 1000).map((m) => m.id) : []))} /></th>
                <th>{t('ops.col.state')}</th><th>{t('ops.col.to')}</th><th>{t('ops.col.what')}</th><th class="hide-s">{t('ops.col.from')}</th><th class="hide-s">{t('ops.errcode')}</th><th class="hide-s r">{t('ops.col.attempts')}</th><th class="r">{t('ops.col.time')}</th></tr></thead>
              <tbody>{all.map((m) => (
                <tr key={m.id} class={m.id === shown ? 'on' : ''}>
                  <td><input type="checkbox" class="cb" aria-label={t('ops.choose', { what: sayMessage(m.message) || m.id })} checked={chosen.value.has(m.id)} onChange={(e) => toggle(m.id, e.currentTarget.checked)} /></td>
                  <td><StateMark state={m.state} /></td>
                  <td class="nm2"><span class="el">{nameOf(m)}</span></td>
                  <td class="wide"><button type="button" class="open el" aria-expanded={m.id === shown} onClick={() => setQuery({ m: m.id === shown ? '' : m.id })}><span class="mut">{kindName(m.msgtype)}</span> {m.msgtype === 'text' ? sayMessage(m.message) : sayMessage(m.message).replace(/^\[[^\]]*\] ?/, '')}</button></td>
                  <td class="hide-s sub">{fromOf(m)}</td>
                  <td class="hide-s mono">{m.outcome?.errcode ? <a href={`/console/messages${query({ ...filter, errcode: m.outcome.errcode })}`}>{m.outcome.errcode}</a> : '–'}</td>
                  <td class="hide-s r num">{m.attempts}</td>
                  <td class="r mut"><When at={m.accepted_at} /></td>
                </tr>
              ))}</tbody>
            </table>
          )}
          <Foot list={list} none={t('ops.messages.none')} note={filtered ? t('ops.messages.none.why') : undefined} />
        </div>
        {shown && <Detail key={shown} id={shown} known={all.find((m) => m.id === shown)} onChange={put} onClose={() => setQuery({ m: '' })} />}
      </div>
      {bulk.value && <Bulk {...bulk.value} onClose={(did) => ((bulk.value = null), did && ((chosen.value = new Set()), void list.load()))} />}
    </OpsFrame>
  );
}

interface Selected { counts: Record<string, number>; next: string }
const words = ['canceled', 'called-off', 'retried', 'joined', 'not-cancelable', 'not-retryable', 'not-found'];
const outcomeWord = (o: string) => (words.includes(o) ? t(`ops.bulk.${o}` as Key) : o);

/** Tells first what would be done (a dry run), then does it. */
function Bulk({ call, selection, onClose }: { call: 'cancel' | 'retry'; selection: Record<string, unknown>; onClose: (did: boolean) => void }) {
  const counts = useSignal<Record<string, number> | null>(null);
  const done = useSignal(false);
  const busy = useSignal(true);
  const left = useRef(false); // the dialog was closed: what has not begun does not
  const did = useRef(false); // something, perhaps
  async function run(dry: boolean) {
    busy.value = true;
    did.current ||= !dry;
    const sum: Record<string, number> = {};
    try {
      for (let cursor = '', first = true; first || cursor; first = false) {
        const a = await api<Selected>(`/v1/messages/${call}`, { body: { ...selection, ...(cursor && { cursor }), ...(dry && { dry_run: true }) }, headers: { 'Kefu-Source': 'console' } });
        if (left.current) return;
        for (const [k, n] of Object.entries(a.counts)) sum[k] = (sum[k] ?? 0) + n;
        cursor = a.next;
        counts.value = { ...sum };
      }
      counts.value = sum;
      done.value = !dry;
    } catch (e) {
      if (left.current) return;
      tell(e);
      onClose(did.current);
    } finally {
      busy.value = false;
    }
  }
  useEffect(() => {
    void run(true);
    return () => void (left.current = true);
  }, []);
  const would = Object.entries(counts.value ?? {});
  const acting = would.filter(([k]) => ['canceled', 'called-off', 'retried'].includes(k)).reduce((n, [, c]) => n + c, 0);
  return (
    <Dialog title={t(call === 'cancel' ? 'ops.bulk.cancel' : 'ops.bulk.retry')} onClose={() => onClose(did.current)}>
      <p role="status">{busy.value ? t('loading') : t(done.value ? 'ops.bulk.done' : would.length ? 'ops.bulk.would' : 'ops.bulk.nothing')}</p>
      <dl class="kv wide2">{would.flatMap(([k, n]) => [<dt key={k}>{outcomeWord(k)}</dt>, <dd key={`${k}n`} class="num b">{n}</dd>])}</dl>
      {call === 'retry' && !done.value && <p class="advice unk"><Icon name="warn" size="s" /><span>{t('ops.bulk.twice')}</span></p>}
      <div class="acts">{done.value ? <button type="button" class="btn pri" onClick={() => onClose(true)}>{t('close.dialog')}</button> : <><button type="button" class="btn" onClick={() => onClose(did.current)}>{t('cancel')}</button>
        <button type="button" class="btn pri" aria-disabled={busy.value || !acting} onClick={() => !busy.value && acting && void run(false)}>{t(call === 'cancel' ? 'ops.bulk.cancel.n' : 'ops.bulk.retry.n', { n: acting })}</button></>}</div>
    </Dialog>
  );
}

function Detail({ id, known, onChange, onClose }: { id: string; known?: Message; onChange: (m: Message) => void; onClose: () => void }) {
  const at = known ? `${known.state} ${known.attempts} ${known.parts_sent ?? ''}` : '';
  const full = useGot<Message>(`/v1/messages/${encodeURIComponent(id)}`, at);
  const attempts = useGot<Page<Attempt>>(`/v1/messages/${encodeURIComponent(id)}/attempts`, at);
  const ask = useSignal(false);
  const gone = useRef(false); // the drawer was closed, or shows another message
  useEffect(() => () => void (gone.current = true), []);
  const m = full.now.value ?? known;
  if (!m) return <Drawer title={t('ops.message')} onClose={onClose}><section><Missed of={full} />{!full.why.value && t('loading')}</section></Drawer>;
  const run = (call: () => Promise<Message | undefined>) => void call().then((now) => {
    if (now?.id === id) {
      full.now.value = now;
      onChange(now);
    } else if (now && !gone.current) setQuery({ m: now.id });
  });
  const twice = askTwice(m);
  const [tone, icon, title, text] = advice(m);
  return (
    <Drawer title={t('ops.message.to', { kind: kindName(m.msgtype), name: nameOf(m) })} sub={<p class="row mono mut">{shortId(m.id)} <Copy text={m.id} label={t('ops.copy.id')} /></p>} onClose={onClose}>
      <section class="first">
        <Missed of={full} />
        <div class={`advice ${tone}`}><Icon name={icon} size="s" /><div><b>{title}</b>{text && <p>{text}</p>}
          {mayWrite.value && <div class="row">
            {m.state === 'unknown' && <><button type="button" class="btn sm pri" onClick={() => run(() => act.resolve(m, 'sent'))}>{t('mark.sent')}</button><button type="button" class="btn sm" onClick={() => run(() => act.resolve(m, 'failed'))}>{t('mark.failed')}</button></>}
            {m.state === 'unknown' && <button type="button" class="btn sm quiet" onClick={() => (ask.value = true)}>{t('send.again')}</button>}
            {['failed', 'expired', 'canceled'].includes(m.state) && <button type="button" class="btn sm" onClick={() => (twice ? (ask.value = true) : run(() => act.retry(m)))}><Icon name="refresh" size="xs" />{t('ops.retry')}</button>}
            {(['queued', 'parked'].includes(m.state) || (m.state === 'unknown' && m.retry_at)) && <button type="button" class="btn sm" onClick={() => run(() => act.cancel(m))}><Icon name="close" size="xs" />{t(m.state === 'unknown' ? 'resend.off' : 'ops.cancel')}</button>}
          </div>}</div></div>
      </section>
      <section><h3><span>{t('ops.attempts')}</span><span class="num">{attempts.now.value?.items.length}</span></h3>
        <Missed of={attempts} />
        <div class="att"><Icon name="plus" /><b>{t('ops.accepted')}</b><When at={m.accepted_at} exact /><p>{[fromOf(m), t(`ops.priority.${m.priority}` as Key)].join(' · ')}</p></div>
        {attempts.now.value?.items.map((a) => (
          <div class="att" key={a.n}><Icon name={a.outcome === 'sent' ? 'check' : a.outcome === 'refused' ? 'cross' : a.outcome === 'unknown' ? 'unknown' : 'refresh'} /><b>{t('attempt.n', { n: a.n })}{a.part ? ` · ${t('attempt.part', { n: a.part })}` : ''}{t('ops.colon')}{t(`attempt.${a.outcome}` as Key)}{a.errcode ? ` ${a.errcode}` : ''}</b><When at={a.at} exact />
            <p>{[a.errmsg, `${a.took_ms} ms`, a.allowance ? t('attempt.left', { left: a.allowance.left, max: a.allowance.max }) : '', a.possible_duplicate ? t('state.duplicate') : '', a.rid ? `rid ${a.rid}` : ''].filter(Boolean).join(' · ')}</p></div>
        ))}
      </section>
      <section><h3><span>{t('ops.request')}</span><Copy text={JSON.stringify(m.message)} /></h3><Json value={m.message} label={t('ops.request')} /></section>
      <section><h3>{t('ops.terms')}</h3>
        <dl class="kv wide2"><dt>{t('ops.account')}</dt><dd>{accountName(m.account)}</dd><dt>openid</dt><dd class="mono"><a href={conversationLink(m.account, m.openid)}>{m.openid}</a></dd>
          <dt>{t('ops.expires')}</dt><dd><When at={m.expires_at} /></dd>{m.not_before && <><dt>{t('later.at')}</dt><dd><When at={m.not_before} /></dd></>}
          <dt>when_closed</dt><dd class="mono">{m.when_closed}</dd><dt>on_unknown</dt><dd class="mono">{m.on_unknown}</dd>
          {m.retry_of && <><dt>{t('ops.retry.of')}</dt><dd class="mono"><a href={`/console/messages?m=${encodeURIComponent(m.retry_of)}`}>{shortId(m.retry_of)}</a></dd></>}
          {m.parts ? <><dt>{t('ops.parts')}</dt><dd class="num">{m.parts_sent ?? 0}/{m.parts}</dd></> : null}
          {m.metadata && <><dt>metadata</dt><dd class="mono">{JSON.stringify(m.metadata)}</dd></>}</dl>
      </section>
      {ask.value && twice && <Ask title={t('send.again')} text={twice} verb={t('send.again')} danger onYes={() => run(() => act.retry(m))} onNo={() => (ask.value = false)} />}
    </Drawer>
  );
}

function advice(m: Message): ['unk' | 'ref' | 'ok', Parameters<typeof Icon>[0]['name'], string, string] {
  const o = m.outcome;
  switch (m.state) {
    case 'unknown': return ['unk', 'unknown', t('state.unknown'), t('state.unknown.why')];
    case 'failed': return ['ref', 'cross', sayFailed(m), explain(o?.errcode, true) || o?.advice || o?.errmsg || o?.reason || ''];
    case 'parked': return ['ok', 'park', stateName('parked'), explain(o?.errcode) || t('plan.park')];
    case 'sent': return ['ok', 'check', t('state.sent'), m.possible_duplicate ? t('state.duplicate') : ''];
    case 'expired': return ['unk', 'clock', t('state.expired'), o?.advice ?? ''];
    case 'canceled': return ['ok', 'stop', t('state.canceled'), ''];
  }
  return ['ok', 'queued', stateName(m.state), explain(o?.errcode) || o?.advice || ''];
}
