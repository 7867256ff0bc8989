import { useSignal } from '@preact/signals';
import { clockTime, dayName, moment, second } from '../core/clock';
import { conversation, keyOf, linesOf, thread } from '../core/desk';
import { mayWrite, nameOfBy } from '../core/session';
import { t } from '../core/words';
import type { Conversation } from '../core/types';
import { Avatar, shortId, shortName } from '../parts/avatar';
import { useFocus } from '../parts/focus';
import { Icon } from '../parts/icon';
import { toast } from '../parts/overlay';
import { Ring } from '../parts/time';
import * as act from './actions';
import { triggerName } from './kinds';

export function Card({ account, openid, onBack }: { account: string; openid: string; onBack: () => void }) {
  const c = conversation(keyOf(account, openid));
  if (!c) return <aside class="pane card" aria-label={t('card.label')} />;
  const name = c.remark || shortName(openid);
  return (
    <aside class="pane card" aria-label={t('card.label')} tabIndex={0}>
      <button type="button" class="ib mob" aria-label={t('back')} onClick={onBack}><Icon name="back" /></button>
      <div class="idn"><span class="avr lg"><Ring window={c.window} /><Avatar id={openid} name={c.remark} size="lg" /></span><div class="grow"><Remark c={c} name={name} /><p class="mut">{t('card.noname')}</p></div></div>
      <Windows c={c} />
      <Tags c={c} />
      <Notes c={c} />
      <section><h3>{t('card.details')}</h3>
        <dl class="kv">
          {c.followed_at && <><dt>{t('card.followed')}</dt><dd>{moment(Date.parse(c.followed_at))}</dd></>}
          {c.scene && <><dt>{t('card.scene')}</dt><dd>{c.scene}</dd></>}
          {c.first_seen && <><dt>{t('card.first')}</dt><dd>{moment(Date.parse(c.first_seen))}</dd></>}
          <dt>{t('card.handler')}</dt><dd>{t(`handler.${c.handler || 'bot'}` as any)}</dd>
          <dt>openid</dt><dd class="row"><span class="mono el" title={openid}>{shortId(openid)}</span><button type="button" class="ib sm" aria-label={t('copy.openid')} onClick={() => void navigator.clipboard?.writeText(openid).then(() => toast('ok', t('copied')))}><Icon name="copy" size="s" /></button></dd>
        </dl>
      </section>
    </aside>
  );
}

function Remark({ c, name }: { c: Conversation; name: string }) {
  const editing = useSignal(false);
  const { field, opener } = useFocus<HTMLInputElement>(editing.value);
  if (!editing.value) return <h2 class="row"><span class="el">{name}</span>{mayWrite.value && <button ref={opener} type="button" class="ib sm" aria-label={t('remark.edit')} title={t('remark.edit')} onClick={() => (editing.value = true)}><Icon name="note" size="s" /></button>}</h2>;
  return (
    <form onSubmit={(e) => {
      e.preventDefault();
      void act.setRemark(c, field.current!.value.trim()).then((kept) => kept && (editing.value = false));
    }}>
      <input ref={field} class="in" name="remark" aria-label={t('remark.label')} defaultValue={c.remark ?? ''} maxLength={30} onKeyDown={(e) => e.key === 'Escape' && (editing.value = false)} />
    </form>
  );
}

function Windows({ c }: { c: Conversation }) {
  const now = second.value;
  const w = c.window;
  const open = w.buckets.find((b) => b.trigger === w.opened_by);
  const from = open ? Date.parse(open.opened_at) : 0;
  const to = w.closes_at ? Date.parse(w.closes_at) : 0;
  const part = to > from ? Math.max(0, Math.min(1, (now - from) / (to - from))) * 100 : 100;
  return (
    <section class="win"><h3>{t('meter.label')}</h3>
      {open && to > now ? (
        <>
          <svg class="tl" viewBox="0 0 100 10" preserveAspectRatio="none" role="img" aria-label={`${moment(from)} – ${moment(to)}`}><rect class="tl-b" width="100" height="6" y="2" /><rect class="tl-v" x={part} width={100 - part} height="6" y="2" /><rect class="tl-n" x={part} width=".9" height="10" /></svg>
          <p class="tll"><span>{dayName(from)} {clockTime(from)}</span><span>{dayName(to)} {clockTime(to)}</span></p>
        </>
      ) : <p class="sub">{t(w.state === 'closed' ? 'window.shut' : w.state === 'unknown' ? 'window.unknown.title' : 'spent.short')}</p>}
      {w.buckets.map((b) => (
        <div key={b.trigger} class="bk"><span>{triggerName(b.trigger)} <span class="mut num">{moment(Date.parse(b.opened_at))}</span></span><span class="num">{b.max === null ? '∞' : `${b.remaining}/${b.max}`}</span></div>
      ))}
      {c.parked > 0 && <p class="cp">{t('row.parked', { n: c.parked })}</p>}
    </section>
  );
}

function Tags({ c }: { c: Conversation }) {
  const adding = useSignal(false);
  const { field, opener } = useFocus<HTMLInputElement>(adding.value);
  return (
    <section><h3>{t('tags')}{mayWrite.value && <button ref={opener} type="button" class="ib sm" aria-label={t('tags.add')} aria-expanded={adding.value} onClick={() => (adding.value = !adding.value)}><Icon name="plus" size="s" /></button>}</h3>
      <div class="tagl">
        {c.tags.map((tag) => <span key={tag} class="tagc">{tag}{mayWrite.value && <button type="button" class="x" aria-label={t('tags.remove', { tag })} onClick={() => void act.setTags(c, c.tags.filter((x) => x !== tag))}><Icon name="close" size="xs" /></button>}</span>)}
        {c.tags.length === 0 && !adding.value && <span class="lbl">{t('tags.none')}</span>}
      </div>
      {adding.value && (
        <form onSubmit={(e) => {
          e.preventDefault();
          const tag = field.current!.value.trim();
          if (!tag || c.tags.includes(tag)) adding.value = false;
          else void act.setTags(c, [...c.tags, tag]).then((kept) => kept && (adding.value = false));
        }}><input ref={field} class="in" name="tag" aria-label={t('tags.add')} maxLength={30} onKeyDown={(e) => e.key === 'Escape' && (adding.value = false)} /></form>
      )}
    </section>
  );
}

/** As many notes are shown at first, the latest. */
const FEW = 5;

function Notes({ c }: { c: Conversation }) {
  const all = useSignal(false);
  const adding = useSignal(false);
  const busy = useSignal(false);
  const { field, opener } = useFocus<HTMLTextAreaElement>(adding.value);
  const notes = c.notes ?? linesOf(thread(c.account, c.openid)).filter((l) => l.type === 'conversation.note').map((l) => ({ id: l.cursor, at: l.at, by: l.data.by, by_name: l.data.by_name, text: l.data.text }));
  /** What can't be kept stays to be tried again. */
  async function save() {
    const text = field.current!.value.trim();
    if (busy.value) return;
    busy.value = true;
    if (!text || (await act.addNote(c, text))) adding.value = false;
    busy.value = false;
  }
  return (
    <section><h3>{t('notes')}{mayWrite.value && <button ref={opener} type="button" class="ib sm" aria-label={t('notes.add')} aria-expanded={adding.value} onClick={() => (adding.value = !adding.value)}><Icon name="plus" size="s" /></button>}</h3>
      {adding.value && (
        <form onSubmit={(e) => (e.preventDefault(), void save())}><textarea ref={field} class="in area" name="note" rows={3} aria-label={t('notes.add')} maxLength={2000} /><p class="row"><button class="btn sm pri" type="submit" aria-disabled={busy.value}>{t('save')}</button></p></form>
      )}
      {notes.length > FEW && <button type="button" class="lnk" aria-expanded={all.value} onClick={() => (all.value = !all.value)}>{t(all.value ? 'notes.fewer' : 'notes.all', { n: notes.length })}</button>}
      {notes.slice(all.value ? 0 : -FEW).map((n) => <div key={n.id} class="nt"><Icon name="note" size="s" /><p>{n.text}<br /><span class="mut">{nameOfBy(n)} · {moment(Date.parse(n.at))}</span></p></div>)}
      {notes.length === 0 && !adding.value && <p class="lbl">{t('notes.none')}</p>}
    </section>
  );
}
