// The official accounts: how each stands with WeChat, and what to do about it.
import { useSignal } from '@preact/signals';
import { api, Problem } from '../core/api';
import { isAdmin } from '../core/session';
import { t, type Key } from '../core/words';
import { triggerName } from '../desk/kinds';
import { Missed, useGot } from '../parts/got';
import { Icon } from '../parts/icon';
import { Dialog, tell, toast } from '../parts/overlay';
import { Ask, attempt, Copy, Foot, Form, OpsFrame, useList, When } from './frame';

interface Account {
  appid: string; name?: string; mode: string; profile: string; rules?: Record<string, unknown>; state: string; because?: string; when_closed: string; rate?: number; revision?: string;
  standing?: { because?: string; until?: string; rate?: number; used_today: number; daily: number };
  [setting: string]: unknown;
}
interface Budget { used: number; stop: number; max: number }
interface Token { source: string; state: string; expires_at?: string; fetches: Budget; forced: Budget; contested?: string; next_at?: string; because?: string }
interface Rule { trigger: string; max: number | null; seconds: number; of: string; source?: string; date?: string }
interface Check { ok: boolean; problem?: { title: string; detail?: string; help?: string; advice?: string } }

const path = (a: Account, call = '') => `/v1/accounts/${encodeURIComponent(a.appid)}${call && `/${call}`}`;

export function Accounts() {
  const list = useList<Account>('/v1/accounts', 0);
  const put = (a: Account) => (list.items.value = list.items.value.map((x) => (x.appid === a.appid ? a : x)));
  return (
    <OpsFrame title={t('nav.accounts')} tools={<button type="button" class="btn" onClick={() => void list.load()}><Icon name="refresh" size="s" />{t('ops.refresh')}</button>}>
      <div class="tiles">
        {list.items.value.map((a) => <One key={a.appid} a={a} onChange={put} />)}
        {(list.state.value || !list.items.value.length) && <Foot list={list} none={t('ops.accounts.none')} note={t('ops.accounts.none.why')} />}
      </div>
    </OpsFrame>
  );
}

const settingsShown = ['mode', 'profile', 'callbacks', 'mixing', 'msgmenu_tap', 'scan_follow', 'when_closed', 'on_unknown', 'busy', 'keep_free', 'expires_after', 'relearn', 'rate', 'daily', 'token_source', 'token_budget', 'ai_label'];

function One({ a, onChange }: { a: Account; onChange: (a: Account) => void }) {
  const token = useGot<Token>(path(a, 'token'), a);
  const rules = useGot<{ items: Rule[] }>(path(a, 'rules'), a);
  const check = useSignal<Check | 'busy' | null>(null);
  const dialog = useSignal<'' | 'pause' | 'edit'>('');
  const s = a.standing;
  const paused = a.state === 'paused';
  const stopped = paused || !!s?.because;
  async function ask() {
    check.value = 'busy';
    check.value = (await attempt(() => api<Check>(path(a, 'check'), { method: 'POST' }))) ?? null;
    await api<Account>(path(a)).then(onChange, () => undefined);
  }
  const answer = check.value;
  return (
    <section class="tile acct" aria-label={a.name || a.appid}>
      <h2 class="t"><span class="el">{a.name || a.appid}</span><span class={`tagc ${paused ? 'h' : stopped ? 'w' : 'ok'}`}>{t(paused ? 'ops.account.paused' : stopped ? 'ops.account.held' : 'ops.account.active')}</span></h2>
      <p class="row mono mut">{a.appid} <Copy text={a.appid} /></p>
      {(a.because || s?.because) && <p class={`advice ${paused ? 'ref' : 'unk'}`}><Icon name="warn" size="s" /><span>{a.because || s?.because}{s?.until && <> · {t('ops.until')} <When at={s.until} /></>}</span></p>}
      {answer && answer !== 'busy' && (
        <div class={`advice ${answer.ok ? 'ok' : 'ref'}`} role="status"><Icon name={answer.ok ? 'check' : 'cross'} size="s" /><div><b>{answer.ok ? t('ops.check.ok') : answer.problem?.title}</b>{[answer.problem?.detail, answer.problem?.help, answer.problem?.advice].map((s) => s && <p key={s}>{s}</p>)}</div></div>
      )}
      {isAdmin.value && (
        <p class="row wrapr">
          <button type="button" class="btn" aria-disabled={answer === 'busy'} onClick={() => answer !== 'busy' && void ask()}><Icon name="check" size="s" />{t(answer === 'busy' ? 'ops.checking' : 'ops.check')}</button>
          <button type="button" class="btn" onClick={() => (stopped ? void attempt(() => api<Account>(path(a, 'resume'), { method: 'POST' }), t('ops.resumed')).then((x) => x && onChange(x)) : (dialog.value = 'pause'))}><Icon name={stopped ? 'play' : 'stop'} size="s" />{t(stopped ? 'ops.resume' : 'ops.pause')}</button>
          <button type="button" class="btn" onClick={() => (dialog.value = 'edit')}><Icon name="gear" size="s" />{t('ops.edit')}</button>
        </p>
      )}
      {s && <Gauge label={t('ops.used.today')} used={s.used_today} max={s.daily} />}
      {s?.rate ? <p class="lbl">{t('ops.slow', { n: s.rate })}</p> : null}
      {token.now.value && <TokenLines token={token.now.value} />}
      <Missed of={token} />
      <details><summary>{t('ops.rules')}</summary>
        <table class="plain"><thead><tr><th>{t('ops.rule.trigger')}</th><th class="r">{t('ops.rule.max')}</th><th class="r">{t('ops.rule.life')}</th><th>{t('ops.rule.of')}</th></tr></thead>
          <tbody>{rules.now.value?.items.map((r) => <tr key={r.trigger}><td>{triggerName(r.trigger)}</td><td class="r num">{r.max === null ? '∞' : r.max}</td><td class="r num">{lifeOf(r.seconds)}</td><td class="sub"><Source rule={r} /></td></tr>)}</tbody></table>
        <Missed of={rules} />
      </details>
      <details><summary>{t('ops.settings')}</summary>
        <dl class="kv wide2">{settingsShown.filter((k) => a[k] != null).flatMap((k) => [<dt key={k} class="mono">{k}</dt>, <dd key={`${k}v`} class="mono">{String(a[k])}</dd>])}</dl>
      </details>
      {dialog.value === 'pause' && <Ask title={t('ops.pause')} text={t('ops.pause.ask', { name: a.name || a.appid })} verb={t('ops.pause')} danger onNo={() => (dialog.value = '')}
        onYes={() => void attempt(() => api<Account>(path(a, 'pause'), { body: {} }), t('ops.paused')).then((x) => x && onChange(x))} />}
      {dialog.value === 'edit' && <Edit a={a} onClose={() => (dialog.value = '')} onChange={onChange} />}
    </section>
  );
}

const lifeOf = (s: number) => (s % 3600 === 0 ? t('ops.hours', { n: s / 3600 }) : s % 60 === 0 ? t('ops.minutes', { n: s / 60 }) : t('ops.seconds', { n: s }));

/** Where a rule is from: the account's own settings, or what was read on which day. */
function Source({ rule: r }: { rule: Rule }) {
  if (r.of === 'account') return <>{t('ops.rule.account')}</>;
  const [, host, path = ''] = /^([a-z.]+)(\/\S+)/.exec(r.source ?? '') ?? [];
  return <>{host ? <a href={`https://${host}${path}`} title={r.source} target="_blank" rel="noopener noreferrer nofollow">{host}</a> : r.source || t('ops.rule.profile')} <span class="num">{r.date}</span></>;
}

function Gauge({ label, used, max }: { label: string; used: number; max: number }) {
  return <label class="gauge"><span>{label}</span><span class="num">{used.toLocaleString()} / {max.toLocaleString()}</span><meter min={0} max={Math.max(1, max)} high={max * 0.8} value={used} /></label>;
}

export function TokenLines({ token: k }: { token: Token }) {
  return (
    <>
      <p class="row tok"><Icon name="lock" size="s" /><span>{t('ops.token')}</span><span class={`tagc ${k.state === 'live' ? 'ok' : 'w'}`}>{t(`ops.token.${k.state}` as Key)}</span>{k.expires_at && <span class="mut">{t('ops.until')} <When at={k.expires_at} /></span>}{k.source === 'supplied' && <span class="mut">{t('ops.token.supplied')}</span>}</p>
      {k.because && <p class="advice unk"><Icon name="warn" size="s" /><span>{k.because}</span></p>}
      {k.contested && <p class="advice unk"><Icon name="warn" size="s" /><span>{t('ops.token.contested')} <When at={k.contested} /></span></p>}
      <Gauge label={t('ops.token.fetches')} used={k.fetches.used} max={k.fetches.max} />
    </>
  );
}

type Typed = { name: string; rate: string; when_closed: string };
const typedOf = (a: Account): Typed => ({ name: a.name ?? '', rate: String(a.rate ?? 0), when_closed: a.when_closed });

/** What an admin changes here. If another one has saved meanwhile, nothing is overwritten:
 * what is new is shown, what was typed stays, and saving again adds it to that. */
function Edit({ a, onClose, onChange }: { a: Account; onClose: () => void; onChange: (a: Account) => void }) {
  const base = useSignal(a); // as it was read last
  const typed = useSignal(typedOf(a));
  const news = useSignal<string[] | null>(null); // what somebody else has changed
  const set = (k: keyof Typed) => (e: { currentTarget: { value: string } }) => (typed.value = { ...typed.value, [k]: e.currentTarget.value });
  async function save() {
    const { standing: _, because: __, revision, ...rest } = base.value;
    const v = typed.value;
    try {
      const now = await api<Account>(path(a), { method: 'PUT', match: revision, body: { ...rest, name: v.name.trim(), rate: Number(v.rate) || 0, when_closed: v.when_closed } });
      toast('ok', t('ops.saved'));
      onChange(now);
      onClose();
    } catch (err) {
      if (!(err instanceof Problem && err.code === 'precondition-failed')) return tell(err);
      const now = await attempt(() => api<Account>(path(a)));
      if (!now) return;
      const was = typedOf(base.value), is = typedOf(now);
      typed.value = Object.fromEntries(Object.entries(v).map(([k, text]) => [k, text === was[k as keyof Typed] ? is[k as keyof Typed] : text])) as Typed;
      const shown = (x: unknown) => (x === undefined || x === '' ? '–' : typeof x === 'object' ? JSON.stringify(x) : String(x));
      news.value = [...new Set([...Object.keys(base.value), ...Object.keys(now)])].filter((k) => !['revision', 'standing', 'because'].includes(k) && shown(base.value[k]) !== shown(now[k])).map((k) => `${k}: ${shown(now[k])}`);
      base.value = now;
      onChange(now);
    }
  }
  return (
    <Dialog title={t('ops.edit')} onClose={onClose}>
      <Form verb={t(news.value ? 'ops.edit.again' : 'save')} onSubmit={save} onCancel={onClose}>
        {news.value && <div class="advice unk" role="alert"><Icon name="warn" size="s" /><div><b>{t('ops.edit.conflict')}</b><p>{t('ops.edit.conflict.why')}</p>{news.value.map((n) => <p key={n} class="mono">{n}</p>)}</div></div>}
        <label class="fl1">{t('ops.name')}<input class="in" name="name" maxLength={64} value={typed.value.name} onInput={set('name')} /></label>
        <label class="fl1">{t('ops.rate')}<input class="in num" name="rate" type="number" min={0} max={100000} step="any" value={typed.value.rate} onInput={set('rate')} /></label>
        <label class="fl1">{t('ops.when_closed')}<select class="in" name="when_closed" value={typed.value.when_closed} onChange={set('when_closed')}>{['park', 'fail', 'try'].map((v) => <option key={v} value={v} selected={v === typed.value.when_closed}>{t(`ops.when_closed.${v}` as Key)}</option>)}</select></label>
        <p class="lbl">{t('ops.edit.rest')}</p>
      </Form>
    </Dialog>
  );
}
