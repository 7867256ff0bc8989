// The people at the console, and the record of who did what.
import { useSignal } from '@preact/signals';
import { api } from '../core/api';
import { agentById, me } from '../core/session';
import { known, t, type Key } from '../core/words';
import type { Agent, Role } from '../core/types';
import { Avatar } from '../parts/avatar';
import { Icon } from '../parts/icon';
import { Menu } from '../parts/menu';
import { Dialog } from '../parts/overlay';
import { accountName, Ask, attempt, Foot, Form, Once, OpsFrame, useList, When } from './frame';
import { Scope, scopeOf } from './scope';

interface Audit { at: string; who: string; what: string; target?: string; detail?: string }
const roles: Role[] = ['agent', 'lead', 'admin', 'viewer'];
const roleName = (r: Role) => t(`role.${r}` as Key);

/** What the record says of a sign-in, an agent or a key in the reader's language; elsewhere it names settings and paths. */
function detailOf({ what, detail = '' }: Audit): string {
  const say = (key: string, v = '') => (known(`audit.detail.${key}`) ? t(`audit.detail.${key}` as Key, { v }) : `${key} ${v}`);
  const role = (r = '') => (known(`role.${r}`) ? roleName(r as Role) : r);
  switch (what) {
    case 'session.begin':
    case 'session.refused': {
      const [, by, from] = /^(?:by (\S+))? ?(?:from (.*))?$/.exec(detail) ?? [];
      return [by && say(by), from && say('from', from)].filter(Boolean).join(' ') || detail;
    }
    case 'agent.add':
      return role(detail);
    case 'key.add':
      return known(`ops.key.${detail}`) ? t(`ops.key.${detail}` as Key) : detail;
    case 'agent.put':
      return detail.split(', ').map((change) => {
        const [, name = change, v = ''] = /^(role|accounts) (.*)$/.exec(change) ?? [];
        return say(`new.${name}`, name === 'role' ? role(v) : v === 'all' ? t('ops.account.all') : v.split(' ').map(accountName).join(' '));
      }).join(t('list.comma'));
  }
  return detail;
}

const path = (a: Agent, call = '') => `/v1/agents/${encodeURIComponent(a.id)}${call && `/${call}`}`;

export function Agents() {
  const list = useList<Agent>('/v1/agents', 0);
  const audit = useList<Audit>('/v1/audit', 30);
  const adding = useSignal(false);
  const editing = useSignal<Agent | null>(null);
  const link = useSignal<{ of: string; text: string } | null>(null);
  const gone = useSignal<Agent | null>(null);
  const reload = () => (void list.load(), void audit.load());
  const change = (a: Agent, body: object) => void attempt(() => api(path(a), { method: 'PUT', body }), t('ops.saved')).then(reload);
  const linkFor = (a: Agent) => void attempt(() => api<{ link: string }>(path(a, 'link'), { method: 'POST' })).then((l) => l && ((link.value = { of: a.display, text: `${location.origin}/console#link=${l.link}` }), void audit.load()));
  async function save(f: FormData) {
    const a = await attempt(() => api<Agent>('/v1/agents', { body: { name: String(f.get('name')).trim(), display: String(f.get('display')).trim(), role: f.get('role'), accounts: scopeOf(f), ...(f.get('password') && { password: f.get('password') }) } }));
    if (!a) return;
    adding.value = false;
    reload();
    if (!f.get('password')) linkFor(a);
  }
  async function edit(f: FormData) {
    const a = editing.value!;
    const body = { display: String(f.get('display')).trim(), role: f.get('role') ?? undefined, accounts: scopeOf(f, a.accounts) };
    if (!(await attempt(() => api<Agent>(path(a), { method: 'PUT', body }), t('ops.saved')))) return;
    if (editing.value === a) editing.value = null;
    reload();
  }
  async function takeOff(a: Agent) {
    if (!(await attempt(() => api<Agent>(path(a), { method: 'PUT', body: { totp: false } }), t('ops.saved')))) return;
    editing.value = null;
    reload();
  }
  const verb = (what: string) => (known(`audit.${what}`) ? t(`audit.${what}` as Key) : what);
  const who = (id: string) => list.items.value.find((a) => a.id === id)?.display ?? agentById(id)?.display ?? id;
  return (
    <OpsFrame title={t('nav.agents')} tools={<button type="button" class="btn pri" onClick={() => (adding.value = true)}><Icon name="plus" size="s" />{t('ops.agent.add')}</button>}>
      <div class="tblw grow" tabIndex={0} role="region" aria-label={t('nav.agents')}>
        {list.items.value.length > 0 && (
          <table class="cbt"><thead><tr><th>{t('ops.agent.display')}</th><th class="hide-s">{t('signin.name')}</th><th>{t('ops.role')}</th><th class="hide-s">{t('totp.title')}</th><th class="hide-s">{t('ops.webhook.accounts')}</th><th class="r"><span class="sr">{t('ops.actions')}</span></th></tr></thead>
            <tbody>{list.items.value.map((a) => {
              const self = a.id === me.value!.id;
              return (
                <tr key={a.id}><td class="nm2"><span class="who2"><Avatar id={a.id} name={a.display} size="sm" dim={a.disabled} /><span class="el">{a.display}</span>{a.disabled ? <span class="tagc h">{t('ops.agent.disabled')}</span> : a.online ? <span class="tagc ok">{t('online')}</span> : null}</span></td>
                  <td class="hide-s mono">{a.name}</td>
                  <td><span class="tagc">{roleName(a.role)}</span></td>
                  <td class="hide-s sub">{t(a.totp ? 'totp.is.on' : 'totp.is.off')}</td><td class="hide-s sub">{a.accounts?.map(accountName).join(t('list.comma')) || t('ops.account.all')}</td>
                  <td class="r"><Menu id={`agent-${a.id}`} label={`${t('more')} ${a.display}`} icon="more" items={[
                    { label: t('ops.edit'), icon: 'gear', run: () => void (editing.value = a) },
                    { label: t('ops.agent.link'), icon: 'link', run: () => linkFor(a) },
                    ...(self ? [] : [{ label: t(a.disabled ? 'ops.agent.enable' : 'ops.agent.disable'), icon: 'lock' as const, run: () => change(a, { disabled: !a.disabled }) }, { label: t('ops.delete'), icon: 'cross' as const, run: () => void (gone.value = a) }]),
                  ]} /></td></tr>
              );
            })}</tbody></table>
        )}
        {(list.state.value || !list.items.value.length) && <Foot list={list} none={t('ops.agents.none')} />}
        <h2 class="sech">{t('ops.audit')}</h2>
        {audit.items.value.length > 0 && (
          <table class="cbt"><thead><tr><th>{t('ops.col.time')}</th><th>{t('ops.col.who')}</th><th>{t('ops.audit.what')}</th><th class="hide-s">{t('ops.audit.target')}</th><th class="hide-s">{t('ops.audit.detail')}</th></tr></thead>
            <tbody>{audit.items.value.map((e, i) => <tr key={i}><td class="mut"><When at={e.at} /></td><td><span class="el">{e.who ? who(e.who) : '–'}</span></td><td title={e.what}>{verb(e.what)}</td><td class="hide-s mono"><span class="el">{e.target ? who(e.target) : ''}</span></td><td class="hide-s sub"><span class="el">{detailOf(e)}</span></td></tr>)}</tbody></table>
        )}
        <Foot list={audit} none={t('ops.audit.none')} />
      </div>
      {adding.value && (
        <Dialog title={t('ops.agent.add')} onClose={() => (adding.value = false)}>
          <Form verb={t('ops.agent.add')} onSubmit={save} onCancel={() => (adding.value = false)}>
            <label class="fl1">{t('signin.name')}<input class="in" name="name" required maxLength={64} autocomplete="off" /></label>
            <label class="fl1">{t('ops.agent.display')}<input class="in" name="display" maxLength={64} autocomplete="off" /></label>
            <Roles of="agent" />
            <label class="fl1">{t('ops.agent.password')}<input class="in" name="password" type="password" minLength={10} maxLength={256} autocomplete="new-password" /></label>
            <Scope />
          </Form>
        </Dialog>
      )}
      {editing.value && (
        <Dialog title={t('ops.agent.edit', { name: editing.value.display })} onClose={() => (editing.value = null)}>
          <Form verb={t('save')} onSubmit={edit} onCancel={() => (editing.value = null)}>
            <label class="fl1">{t('ops.agent.display')}<input class="in" name="display" required maxLength={64} autocomplete="off" defaultValue={editing.value.display} /></label>
            {editing.value.id !== me.value!.id && <Roles of={editing.value.role} />}
            {editing.value.id !== me.value!.id && <Scope of={editing.value.accounts} />}
            {editing.value.id !== me.value!.id && <p class="sub">{t('ops.agent.edit.note')}</p>}
            {editing.value.totp && editing.value.id !== me.value!.id && <p class="row"><span class="grow sub">{t('ops.agent.totp.note')}</span><button type="button" class="btn" onClick={() => void takeOff(editing.value!)}>{t('ops.agent.totp.off')}</button></p>}
          </Form>
        </Dialog>
      )}
      {link.value && <Once title={`${t('ops.agent.link')}${t('ops.colon')}${link.value.of}`} text={link.value.text} note={t('ops.agent.link.note')} onClose={() => (link.value = null)} />}
      {gone.value && <Ask title={t('ops.delete')} text={t('ops.agent.delete.ask', { name: gone.value.display })} verb={t('ops.delete')} danger onNo={() => (gone.value = null)} onYes={() => { const a = gone.value!; void attempt(async () => (await api(path(a), { method: 'DELETE' }), true), t('ops.deleted')).then(reload); }} />}
    </OpsFrame>
  );
}

/** What an agent may do; it is saved with the rest of a form. */
const Roles = ({ of }: { of: Role }) => (
  <fieldset class="fs"><legend>{t('ops.role')}</legend>{roles.map((r) => <label class="row" key={r}><input type="radio" name="role" value={r} defaultChecked={r === of} /><b>{roleName(r)}</b><span class="sub">{t(`ops.agent.role.${r}` as Key)}</span></label>)}</fieldset>
);
