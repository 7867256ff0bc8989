// The endpoints of the business that the gateway calls.
import { useSignal } from '@preact/signals';
import { api } from '../core/api';
import { serverNow } from '../core/clock';
import { t, type Key } from '../core/words';
import type { Page } from '../core/types';
import { Missed, useGot } from '../parts/got';
import { Icon } from '../parts/icon';
import { Dialog } from '../parts/overlay';
import { accountName, Ask, attempt, Drawer, Foot, Form, inQuery, Once, OpsFrame, Pick, setQuery, useList, When } from './frame';
import { Scope, scopeOf } from './scope';

interface Webhook {
  id: string; url: string; name?: string; accounts?: string[]; types: string[]; enabled: boolean; because?: string; answers: boolean; typing: boolean; timeout: number; concurrency: number; schedule: number[];
  disable_after: number; cursor: string; revision?: string; failing_since?: string; created_at: string; secret?: string; warnings?: string[];
}
interface Try { webhook_id: string; cursor?: string; type: string; account?: string; openid?: string; n: number; at: string; took_ms: number; outcome: string; status?: number; error?: string; retry_at?: string; answer?: { messages?: string[]; refused?: string } }

const path = (id: string, call = '') => `/v1/webhooks/${encodeURIComponent(id)}${call && `/${call}`}`;

export function Webhooks() {
  const list = useList<Webhook>('/v1/webhooks', 0);
  const shown = inQuery('w');
  const adding = useSignal(false);
  const secret = useSignal('');
  const one = list.items.value.find((w) => w.id === shown);
  const put = (w: Webhook) => (list.items.value = list.items.value.map((x) => (x.id === w.id ? { ...w, secret: undefined } : x)));
  return (
    <OpsFrame title={t('nav.webhooks')} tools={<button type="button" class="btn pri" onClick={() => (adding.value = true)}><Icon name="plus" size="s" />{t('ops.webhook.add')}</button>}>
      <div class="split">
        <div class="tblw" tabIndex={0} role="region" aria-label={t('nav.webhooks')}>
          {list.items.value.length > 0 && (
            <table class="cbt"><thead><tr><th>{t('ops.col.state')}</th><th>{t('ops.webhook.url')}</th><th class="hide-s">{t('ops.webhook.types')}</th><th class="hide-s">{t('ops.webhook.accounts')}</th></tr></thead>
              <tbody>{list.items.value.map((w) => (
                <tr key={w.id} class={w.id === shown ? 'on' : ''}><td><Health w={w} /></td>
                  <td class="wide"><button type="button" class="open el" aria-expanded={w.id === shown} onClick={() => setQuery({ w: w.id === shown ? '' : w.id })}>{w.name && <b>{w.name} </b>}<span class="mono">{w.url}</span></button></td>
                  <td class="hide-s mono">{w.types.join(' ')}</td><td class="hide-s sub">{w.accounts?.map(accountName).join(t('list.comma')) || t('ops.account.all')}</td></tr>
              ))}</tbody></table>
          )}
          <Foot list={list} none={t('ops.webhooks.none')} note={t('ops.webhooks.none.why')} />
        </div>
        {one && <Detail key={one.id} w={one} onChange={put} onSecret={(s) => (secret.value = s)} onGone={() => (setQuery({ w: '' }), void list.load())} onClose={() => setQuery({ w: '' })} />}
      </div>
      {adding.value && <Add onClose={() => (adding.value = false)} onDone={(w) => ((adding.value = false), (secret.value = w.secret ?? ''), void list.load(), setQuery({ w: w.id }))} />}
      {secret.value && <Once title={t('ops.webhook.secret')} text={secret.value} note={t('ops.once')} onClose={() => (secret.value = '')} />}
    </OpsFrame>
  );
}

const Health = ({ w }: { w: Webhook }) => (
  <span class={`stt ${!w.enabled ? 'exp' : w.failing_since ? 'ref' : 'ok'}`}><Icon name={!w.enabled ? 'stop' : w.failing_since ? 'cross' : 'check'} size="s" />{t(!w.enabled ? 'ops.webhook.off' : w.failing_since ? 'ops.webhook.failing' : 'ops.webhook.on')}</span>
);

function Detail({ w, onChange, onSecret, onGone, onClose }: { w: Webhook; onChange: (w: Webhook) => void; onSecret: (s: string) => void; onGone: () => void; onClose: () => void }) {
  const tries = useGot<Page<Try>>(`${path(w.id, 'attempts')}?limit=50`);
  const ask = useSignal<'' | 'rotate' | 'delete' | 'replay'>('');
  const since = useSignal('1');
  const tested = useSignal<Try | null>(null);
  async function test() {
    tested.value = (await attempt(() => api<Try>(path(w.id, 'test'), { method: 'POST' }))) ?? null;
    void tries.load();
  }
  const { id: _id, because: _b, cursor: _c, failing_since: _f, created_at: _a, secret: _s, warnings: _w, revision, ...request } = w;
  /** Turns it on or off, unless somebody has changed it since it was read: then it is shown as it is now. */
  async function turn() {
    const now = await attempt(() => api<Webhook>(path(w.id), { method: 'PUT', body: { ...request, enabled: !w.enabled }, match: revision }), t('ops.saved'));
    await (now ? Promise.resolve(now) : api<Webhook>(path(w.id))).then(onChange, () => undefined);
  }
  const x = tested.value;
  return (
    <Drawer title={w.name || w.url} sub={<p class="mono mut">{w.id}</p>} onClose={onClose}>
      <section class="first">
        {(w.because || w.failing_since) && <p class="advice ref"><Icon name="warn" size="s" /><span>{w.because || <>{t('ops.webhook.failing.since')} <When at={w.failing_since!} /></>}</span></p>}
        <p class="row wrapr">
          <button type="button" class="btn sm" onClick={() => void test()}><Icon name="bolt" size="xs" />{t('ops.webhook.test')}</button>
          <button type="button" class="btn sm" onClick={() => (ask.value = 'replay')}><Icon name="refresh" size="xs" />{t('ops.webhook.replay')}</button>
          <button type="button" class="btn sm" onClick={() => (ask.value = 'rotate')}><Icon name="lock" size="xs" />{t('ops.webhook.rotate')}</button>
          <button type="button" class="btn sm" onClick={() => void turn()}>{t(w.enabled ? 'ops.webhook.disable' : 'ops.webhook.enable')}</button>
          <button type="button" class="btn sm danger" onClick={() => (ask.value = 'delete')}>{t('ops.delete')}</button>
        </p>
        {x && <div class={`advice ${x.outcome === 'delivered' ? 'ok' : 'ref'}`} role="status"><Icon name={x.outcome === 'delivered' ? 'check' : 'cross'} size="s" /><span>{x.outcome === 'delivered' ? t('ops.webhook.test.ok', { status: x.status ?? '', ms: x.took_ms }) : x.error}</span></div>}
      </section>
      <section><h3><span>{t('ops.settings')}</span></h3><dl class="kv wide2"><dt>URL</dt><dd class="mono">{w.url}</dd><dt>{t('ops.webhook.types')}</dt><dd class="mono">{w.types.join(' ')}</dd><dt>{t('ops.webhook.accounts')}</dt><dd>{w.accounts?.map(accountName).join(t('list.comma')) || t('ops.account.all')}</dd>
        <dt>answers</dt><dd class="mono">{String(w.answers)}</dd><dt>typing</dt><dd class="mono">{String(w.typing)}</dd><dt>timeout</dt><dd class="mono">{w.timeout} s</dd><dt>cursor</dt><dd class="mono">{w.cursor}</dd></dl></section>
      <section><h3><span>{t('ops.attempts')}</span><button type="button" class="btn sm quiet" onClick={() => void tries.load()}>{t('ops.refresh')}</button></h3>
        <Missed of={tries} />
        {tries.now.value?.items.length === 0 && <p class="mut">{t('ops.webhook.attempts.none')}</p>}
        {tries.now.value?.items.map((a, i) => (
          <div class="att" key={i}><Icon name={a.outcome === 'delivered' ? 'check' : a.outcome === 'failed' ? 'refresh' : 'cross'} /><b>{t(`ops.try.${a.outcome}` as Key)}{a.status ? ` ${a.status}` : ''}</b><When at={a.at} exact />
            <p>{[a.type, t('attempt.n', { n: a.n }), `${a.took_ms} ms`, a.error, a.answer?.messages?.length ? t('ops.try.answered', { n: a.answer.messages.length }) : '', a.answer?.refused].filter(Boolean).join(' · ')}</p></div>
        ))}
      </section>
      {ask.value === 'rotate' && <Ask title={t('ops.webhook.rotate')} text={t('ops.webhook.rotate.ask')} verb={t('ops.webhook.rotate')} onNo={() => (ask.value = '')} onYes={() => void attempt(() => api<Webhook>(path(w.id, 'rotate'), { body: {} })).then((n) => n?.secret && onSecret(n.secret))} />}
      {ask.value === 'delete' && <Ask title={t('ops.delete')} text={t('ops.webhook.delete.ask')} verb={t('ops.delete')} danger onNo={() => (ask.value = '')} onYes={() => void attempt(async () => (await api(path(w.id), { method: 'DELETE' }), true), t('ops.deleted')).then((ok) => ok && onGone())} />}
      {ask.value === 'replay' && (
        <Dialog title={t('ops.webhook.replay')} onClose={() => (ask.value = '')}>
          <p>{t('ops.webhook.replay.ask')}</p>
          <p><Pick label={t('ops.since')} value={since.value} onPick={(v) => (since.value = v)} options={[['1', t('ops.since.1h')], ['24', t('ops.since.24h')], ['168', t('ops.since.7d')]]} /></p>
          <div class="acts"><button type="button" class="btn" onClick={() => (ask.value = '')}>{t('cancel')}</button><button type="button" class="btn pri" onClick={() => {
            ask.value = '';
            void attempt(() => api(path(w.id, 'replay'), { body: { since: new Date(serverNow() - Number(since.value) * 3600_000).toISOString() } }), t('ops.webhook.replayed')).then(() => setTimeout(() => void tries.load(), 1500));
          }}>{t('ops.webhook.replay')}</button></div>
        </Dialog>
      )}
    </Drawer>
  );
}

function Add({ onClose, onDone }: { onClose: () => void; onDone: (w: Webhook) => void }) {
  async function save(f: FormData) {
    const types = String(f.get('types')).split(/[\s,]+/).filter(Boolean);
    const w = await attempt(() => api<Webhook>('/v1/webhooks', { body: { url: String(f.get('url')).trim(), name: String(f.get('name')).trim(), types, accounts: scopeOf(f), answers: f.get('answers') === 'on', typing: f.get('typing') === 'on' } }));
    if (w) onDone(w);
  }
  return (
    <Dialog title={t('ops.webhook.add')} onClose={onClose}>
      <Form verb={t('ops.webhook.add')} onSubmit={save} onCancel={onClose}>
        <label class="fl1">{t('ops.webhook.url')}<input class="in" name="url" type="url" required maxLength={2048} placeholder="https://example.com/kefu" /></label>
        <label class="fl1">{t('ops.name')}<input class="in" name="name" maxLength={64} /></label>
        <label class="fl1">{t('ops.webhook.types')}<input class="in mono" name="types" required defaultValue="follower.*" placeholder="follower.* message.*" /></label>
        <Scope />
        <label class="row"><input type="checkbox" class="cb" name="answers" defaultChecked />{t('ops.webhook.answers')}</label>
        <label class="row"><input type="checkbox" class="cb" name="typing" />{t('ops.webhook.typing')}</label>
      </Form>
    </Dialog>
  );
}
