// Which accounts something is for.
import { useSignal } from '@preact/signals';
import { session } from '../core/session';
import { t } from '../core/words';

/** Chooses all accounts, or some: that no box is ticked never means all of them. One that
 * was chosen and is gone is shown, too, since it is what keeps the others out. */
export function Scope({ of = [] }: { of?: string[] }) {
  const here = session.value!.accounts;
  const gone = of.filter((appid) => !here.some((a) => a.appid === appid)).map((appid) => ({ appid, name: '', gone: true }));
  const all = useSignal(!of.length);
  const picked = useSignal(of);
  if (here.length < 2 && !of.length) return null; // there is nothing to choose
  const pick = (appid: string, on: boolean) => (picked.value = [...picked.value.filter((p) => p !== appid), ...(on ? [appid] : [])]);
  return (
    <fieldset class="fs"><legend>{t('ops.scope')}</legend>
      {[true, false].map((v) => <label class="row" key={String(v)}><input type="radio" name="scope" value={v ? 'all' : 'some'} checked={all.value === v} onChange={() => (all.value = v)} />{t(v ? 'ops.account.all' : 'ops.scope.some')}</label>)}
      {!all.value && [...here, ...gone].map((a) => (
        <label class="row in2" key={a.appid}><input type="checkbox" class="cb" name="account" value={a.appid} checked={picked.value.includes(a.appid)} onChange={(e) => pick(a.appid, e.currentTarget.checked)} />{a.name || a.appid}{'gone' in a && <span class="tagc w">{t('ops.scope.gone')}</span>}</label>
      ))}
    </fieldset>
  );
}

/** The accounts that were chosen; undefined: as they were, or all of something new. None
 * is an error, since to the API it is all of them. */
export function scopeOf(f: FormData, were: string[] = []): string[] | undefined {
  if (!f.has('scope')) return undefined;
  const all = f.get('scope') === 'all', now = all ? [] : f.getAll('account').map(String);
  if (!all && !now.length) throw new Error(t('ops.scope.none'));
  return now.length === were.length && now.every((a) => were.includes(a)) ? undefined : now;
}
