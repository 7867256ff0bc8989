// The keys that open the API to programs.
import { useSignal } from '@preact/signals';
import { api } from '../core/api';
import { t, type Key } from '../core/words';
import { Icon } from '../parts/icon';
import { Dialog } from '../parts/overlay';
import { accountName, Ask, attempt, Foot, Form, Once, OpsFrame, useList, When } from './frame';
import { Scope, scopeOf } from './scope';

interface APIKey { id: string; name?: string; role: string; accounts?: string[]; created_at: string; key?: string }
const roles = ['send', 'read', 'door', 'admin'];

export function Keys() {
  const list = useList<APIKey>('/v1/keys', 0);
  const adding = useSignal(false);
  const text = useSignal('');
  const revoke = useSignal<APIKey | null>(null);
  async function save(f: FormData) {
    const k = await attempt(() => api<APIKey>('/v1/keys', { body: { name: String(f.get('name')).trim(), role: f.get('role'), accounts: scopeOf(f) } }));
    if (!k) return;
    adding.value = false;
    text.value = k.key ?? '';
    void list.load();
  }
  return (
    <OpsFrame title={t('nav.keys')} tools={<button type="button" class="btn pri" onClick={() => (adding.value = true)}><Icon name="plus" size="s" />{t('ops.key.add')}</button>}>
      <div class="tblw grow" tabIndex={0} role="region" aria-label={t('nav.keys')}>
        {list.items.value.length > 0 && (
          <table class="cbt"><thead><tr><th>{t('ops.name')}</th><th>{t('ops.role')}</th><th class="hide-s">{t('ops.webhook.accounts')}</th><th class="hide-s">ID</th><th class="hide-s">{t('ops.created')}</th><th class="r"><span class="sr">{t('ops.actions')}</span></th></tr></thead>
            <tbody>{list.items.value.map((k) => (
              <tr key={k.id}><td class="nm2"><span class="el">{k.name || '–'}</span></td><td><span class="tagc">{roleName(k.role)}</span></td><td class="hide-s sub">{k.accounts?.map(accountName).join(t('list.comma')) || t('ops.account.all')}</td><td class="hide-s mono">{k.id}</td><td class="hide-s mut"><When at={k.created_at} /></td>
                <td class="r"><button type="button" class="btn sm danger" aria-label={`${t('ops.key.revoke')} ${k.name || k.id}`} onClick={() => (revoke.value = k)}>{t('ops.key.revoke')}</button></td></tr>
            ))}</tbody></table>
        )}
        <Foot list={list} none={t('ops.keys.none')} note={t('ops.keys.none.why')} />
      </div>
      {adding.value && (
        <Dialog title={t('ops.key.add')} onClose={() => (adding.value = false)}>
          <Form verb={t('ops.key.add')} onSubmit={save} onCancel={() => (adding.value = false)}>
            <label class="fl1">{t('ops.name')}<input class="in" name="name" maxLength={64} placeholder={t('ops.key.name.hint')} /></label>
            <fieldset class="fs"><legend>{t('ops.role')}</legend>{roles.map((r, i) => <label class="row" key={r}><input type="radio" name="role" value={r} defaultChecked={i === 0} /><b>{roleName(r)}</b><span class="sub">{t(`ops.key.role.${r}` as Key)}</span></label>)}</fieldset>
            <Scope />
          </Form>
        </Dialog>
      )}
      {text.value && <Once title={t('ops.key.new')} text={text.value} note={t('ops.once')} onClose={() => (text.value = '')} />}
      {revoke.value && <Ask title={t('ops.key.revoke')} text={t('ops.key.revoke.ask', { name: revoke.value.name || revoke.value.id })} verb={t('ops.key.revoke')} danger onNo={() => (revoke.value = null)}
        onYes={() => { const k = revoke.value!; void attempt(async () => (await api(`/v1/keys/${encodeURIComponent(k.id)}`, { method: 'DELETE' }), true), t('ops.key.revoked')).then(() => void list.load()); }} />}
    </OpsFrame>
  );
}

const roleName = (r: string) => (roles.includes(r) ? t(`ops.key.${r}` as Key) : r);
