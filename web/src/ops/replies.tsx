// Quick replies: one's own, and the team's, which whoever leads it writes.
import { useSignal } from '@preact/signals';
import { api } from '../core/api';
import { mayLead, mayWrite } from '../core/session';
import { t } from '../core/words';
import type { QuickReply } from '../core/types';
import { Icon } from '../parts/icon';
import { Dialog } from '../parts/overlay';
import { Ask, attempt, Foot, Form, OpsFrame, useList } from './frame';

const scopeName = (s: QuickReply['scope']) => t(s === 'team' ? 'replies.team' : 'replies.mine');
const mayChange = (r: QuickReply) => (r.scope === 'team' ? mayLead.value : mayWrite.value);
const path = (r: QuickReply) => `/v1/quick-replies/${encodeURIComponent(r.id)}`;

export function Replies() {
  const list = useList<QuickReply>('/v1/quick-replies', 0);
  const editing = useSignal<QuickReply | 'new' | null>(null);
  const gone = useSignal<QuickReply | null>(null);
  return (
    <OpsFrame title={t('replies.label')} tools={mayWrite.value && <button type="button" class="btn pri" onClick={() => (editing.value = 'new')}><Icon name="plus" size="s" />{t('replies.add')}</button>}>
      <div class="tblw grow" tabIndex={0} role="region" aria-label={t('replies.label')}>
        {list.items.value.length > 0 && (
          <table class="cbt"><thead><tr><th>{t('field.title')}</th><th>{t('ops.col.what')}</th><th>{t('replies.scope')}</th><th class="r"><span class="sr">{t('ops.actions')}</span></th></tr></thead>
            <tbody>{list.items.value.map((r) => (
              <tr key={r.id}><td class="nm2"><span class="el">{r.title}</span></td><td class="wide"><span class="el">{r.text}</span></td><td><span class="tagc">{scopeName(r.scope)}</span></td>
                <td class="r">{mayChange(r) && <>
                  <button type="button" class="btn sm quiet" aria-label={`${t('ops.edit')} ${r.title}`} onClick={() => (editing.value = r)}>{t('ops.edit')}</button>
                  <button type="button" class="btn sm danger" aria-label={`${t('ops.delete')} ${r.title}`} onClick={() => (gone.value = r)}>{t('ops.delete')}</button></>}</td></tr>
            ))}</tbody></table>
        )}
        <Foot list={list} none={t('replies.empty')} note={t('replies.empty.why')} />
        {!mayLead.value && <p class="lbl pager">{t('replies.lead')}</p>}
      </div>
      {editing.value && <Edit r={editing.value} onClose={() => (editing.value = null)} onDone={() => ((editing.value = null), void list.load())} />}
      {gone.value && <Ask title={t('ops.delete')} text={t('replies.delete.ask', { title: gone.value.title })} verb={t('ops.delete')} danger onNo={() => (gone.value = null)}
        onYes={() => { const r = gone.value!; void attempt(async () => (await api(path(r), { method: 'DELETE' }), true), t('ops.deleted')).then(() => void list.load()); }} />}
    </OpsFrame>
  );
}

/** Whose a reply is can't be changed: it is added for the others anew. */
function Edit({ r, onClose, onDone }: { r: QuickReply | 'new'; onClose: () => void; onDone: () => void }) {
  const old = r === 'new' ? undefined : r;
  async function save(f: FormData) {
    const body = { scope: old?.scope ?? f.get('scope') ?? 'mine', title: String(f.get('title')).trim(), text: String(f.get('text')).replaceAll('\r', '').trim() };
    if (await attempt(() => api<QuickReply>(old ? path(old) : '/v1/quick-replies', { method: old ? 'PUT' : 'POST', body }), t('ops.saved'))) onDone();
  }
  return (
    <Dialog title={t(old ? 'replies.edit' : 'replies.add')} onClose={onClose}>
      <Form verb={t('save')} onSubmit={save} onCancel={onClose}>
        <label class="fl1">{t('replies.title')}<input class="in" name="title" required maxLength={60} autocomplete="off" defaultValue={old?.title} /></label>
        <label class="fl1">{t('replies.text')}<span class="in area"><textarea name="text" rows={5} required maxLength={4000} defaultValue={old?.text} /></span></label>
        {!old && mayLead.value && <fieldset class="fs"><legend>{t('replies.scope')}</legend>{(['team', 'mine'] as const).map((s) => <label class="row" key={s}><input type="radio" name="scope" value={s} defaultChecked={s === 'team'} />{scopeName(s)}</label>)}</fieldset>}
      </Form>
    </Dialog>
  );
}
