import { signal, useSignal, type Signal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { clockTime, dayName, left, moment, second } from '../core/clock';
import { keyOf, present, refresh } from '../core/desk';
import { agentById, me, setting } from '../core/session';
import { line } from '../core/stream';
import { t } from '../core/words';
import { brief, frame, urgency, type Urgency, type Window } from '../core/window';
import type { Conversation } from '../core/types';
import { Icon } from '../parts/icon';
import { announce, tell } from '../parts/overlay';
import { Dots, urgencyClass } from '../parts/time';
import * as act from './actions';
import { draftOf, setDraft, type Mode } from './drafts';
import { triggerName } from './kinds';
import { sendOnce } from './outbox';
import { bytes, cuts } from './plan';
import { QuickReplies, saveReply } from './replies';
import { emptyForm, KindForm, kindsToSend, type Filled, type FormKind } from './forms';
import { forget, MediaTile, startUpload, type Upload } from './upload';

const TEXT_BYTES = 2048;
const REPLYING_EVERY = 8_000;

/** What the button does. */
type Verb = 'note' | 'schedule' | 'park' | 'send';

/** What was begun besides the words: it is still there when the conversation is opened again. */
interface Begun { mode: Signal<Mode>; form: Signal<FormKind | null>; filled: Signal<Filled>; later: Signal<string>; upload: Signal<Upload | null>; validDays: Signal<number>; files: number }
const begun = new Map<string, Begun>();

function begunOf(c: Conversation): Begun {
  const key = `${me.value?.id} ${keyOf(c.account, c.openid)}`;
  let b = begun.get(key);
  if (!b) {
    const note = !draftOf(c.account, c.openid, 'reply').peek() && !!draftOf(c.account, c.openid, 'note').peek();
    b = { mode: signal(note ? 'note' : 'reply'), form: signal(null), filled: signal(emptyForm), later: signal(''), upload: signal(null), validDays: signal(3), files: 0 };
    begun.set(key, b);
  }
  return b;
}

export function Composer({ c, name }: { c: Conversation; name: string }) {
  const b = begunOf(c);
  const { mode, form, later, upload, validDays } = b;
  const text = draftOf(c.account, c.openid, mode.value);
  const picking = useSignal(false);
  const slash = useSignal<string | null>(null);
  const busy = useSignal(false);
  const over = useSignal(false);
  const area = useRef<HTMLTextAreaElement>(null);
  const mirror = useRef<HTMLDivElement>(null);
  const composed = useRef(0);
  const lastTyping = useRef(0);
  const seen = useSignal(false); // that somebody types, by the follower
  const file = useRef<HTMLInputElement>(null);
  const tools = useRef<HTMLDivElement>(null);

  const now = second.value;
  const w = c.window;
  const u = urgency(w, now);
  const closed = u === 'shut' || u === 'spent';
  const limit = TEXT_BYTES;
  const at = mode.value === 'note' ? [] : cuts(text.value, limit);
  const parts = text.value.trim() ? at.length + 1 : 0;
  const remaining = w.state === 'open' ? w.remaining : null;
  const short = mode.value === 'reply' && !closed && remaining !== null && parts > remaining;
  const oneVerb: Verb = later.value ? 'schedule' : closed ? 'park' : 'send'; // of what is not the text
  const verb: Verb = mode.value === 'note' ? 'note' : oneVerb === 'send' && short ? 'park' : oneVerb;

  useEffect(() => {
    const el = area.current;
    if (!el) return;
    el.style.height = 'auto';
    el.style.height = `${Math.min(el.scrollHeight, window.innerHeight * 0.3)}px`;
  }, [text.value, form.value]);

  useLayoutEffect(() => void (picking.value && tools.current?.parentElement?.querySelector<HTMLElement>('.tg button')?.focus()), [picking.value]);

  // When the window ends under the agent's hands: the verb changes, the text stays.
  const was = useRef<Urgency>(u);
  useEffect(() => {
    if (closed && !['shut', 'spent'].includes(was.current)) announce(t(u === 'shut' ? 'now.shut' : 'now.spent'));
    was.current = u;
  }, [u]);
  useEffect(() => {
    if (u !== 'shut' || w.state !== 'open') return;
    const timer = setTimeout(refresh, 500, c.account, c.openid); // by the page's clock it is over; the gateway knows what it was
    return () => clearTimeout(timer);
  }, [u, w]);
  useEffect(() => {
    if (!w.closes_at || w.state !== 'open') return;
    const s = Math.round((Date.parse(w.closes_at) - now) / 1000);
    if (s === 3600 || s === 600 || s === 60) announce(t('time.announce', { t: left(Date.parse(w.closes_at), now) }));
  }, [now]);

  function keep(value: string) {
    setDraft(c.account, c.openid, mode.value, value);
    const el = area.current;
    const line = value.slice(0, el?.selectionStart ?? value.length).split('\n').at(-1)!;
    slash.value = /^\/\S*$/.test(line) ? line.slice(1) : null;
    if (mode.value === 'reply' && value) {
      if (!closed) seen.value = act.typing(c);
      if (Date.now() - lastTyping.current > REPLYING_EVERY) {
        lastTyping.current = Date.now();
        void act.presence(c, 'replying');
      }
    }
    if (!value && lastTyping.current) {
      lastTyping.current = 0;
      void act.presence(c, 'viewing');
    }
  }

  /** Others who write an answer now. */
  const writing = () => (present.value[keyOf(c.account, c.openid)] ?? []).filter((p) => p.state === 'replying');

  /** Entrusts an answer to the gateway; false: the agent thought better of it, or somebody else has taken the conversation. */
  async function deliver(message: any, as: Verb, more: Partial<act.Sending> = {}): Promise<boolean> {
    const other = writing()[0];
    if (other && !confirm(t('collision.ask', { name: agentById(other.agent)?.display ?? '?' }))) return false;
    if (!c.assigned_to && !(await act.claim(c))) return false; // whoever answers has it
    await sendOnce({
      account: c.account, message: { touser: c.openid, ...message },
      ...more,
      ...(later.value && { not_before: new Date(later.value).toISOString() }),
      ...(as === 'park' && { when_closed: 'park', expires_at: new Date(now + validDays.value * 86_400_000).toISOString() }),
    });
    later.value = '';
    return true;
  }

  /** An answer and a note are two drafts: neither ever turns into the other. */
  function turn() {
    mode.value = mode.value === 'note' ? 'reply' : 'note';
    slash.value = null;
    if (mode.value === 'note' && lastTyping.current) {
      lastTyping.current = 0;
      void act.presence(c, 'viewing');
    }
    area.current?.focus();
  }

  async function submit() {
    const value = text.value, as = mode.value;
    if (busy.value || !value.trim()) return;
    if (/\{[^{}\n]{1,20}\}/.test(value) && as === 'reply' && !confirm(t('unfilled.ask'))) return;
    busy.value = true;
    try {
      if (!(as === 'note' ? await act.addNote(c, value.trim()) : await deliver({ msgtype: 'text', text: { content: value } }, verb, parts > 1 ? { long_text: 'split' } : {}))) return;
      // What was typed meanwhile stays.
      const typed = draftOf(c.account, c.openid, as).value;
      setDraft(c.account, c.openid, as, typed.startsWith(value) ? typed.slice(value.length) : typed);
      if (as === 'note' && !draftOf(c.account, c.openid, as).value) mode.value = 'reply';
      lastTyping.current = 0;
      void act.presence(c, 'viewing');
    } catch (e) {
      tell(e);
    } finally {
      busy.value = false;
      if (document.activeElement?.closest('.cmp')) area.current?.focus(); // who has gone elsewhere stays there
    }
  }

  function endForm() {
    form.value = null;
    b.filled.value = emptyForm;
    requestAnimationFrame(() => area.current?.focus());
  }

  async function sendUpload() {
    const up = upload.value;
    if (!up?.asset || busy.value) return;
    busy.value = true;
    try {
      const body = up.kind === 'video' ? { media_id: up.asset, title: up.file.name } : { media_id: up.asset };
      if ((await deliver({ msgtype: up.kind, [up.kind]: body }, oneVerb)) && upload.value?.asset === up.asset) dropUpload(); // another may have been chosen meanwhile
    } catch (e) {
      tell(e);
    } finally {
      busy.value = false;
    }
  }

  function dropUpload() {
    b.files++;
    if (upload.value) forget(upload.value);
    upload.value = null;
  }

  function take(files: FileList | null | undefined) {
    const f = files?.[0];
    if (!f) return;
    let mine = 0; // the latest that is taken is the one that counts
    startUpload(f, c.account, (up) => {
      if (!mine) {
        dropUpload();
        mine = b.files;
      } else if (mine !== b.files) return;
      upload.value = up;
    });
  }

  function keys(e: KeyboardEvent) {
    if (e.isComposing || e.keyCode === 229 || Date.now() - composed.current < 50) return; // the IME's Enter is not ours
    if (slash.value !== null && ['ArrowDown', 'ArrowUp', 'Tab', 'Enter', 'Escape'].includes(e.key)) return; // the list of replies takes them
    const plain = e.key === 'Enter' && !e.shiftKey && !e.altKey;
    const send = setting('enterSends', true) ? plain && !e.ctrlKey && !e.metaKey : e.key === 'Enter' && (e.ctrlKey || e.metaKey);
    if (send) {
      e.preventDefault();
      void submit();
    } else if (e.key === 'Escape') area.current?.blur();
  }

  const others = writing();
  const labelOf = (v: Verb, n: number) => v === 'note' ? t('verb.note') : v === 'schedule' ? t('verb.schedule', { at: moment(Date.parse(later.value)) }) : v === 'park' ? t('verb.park', { n }) : n > 1 ? t('verb.send.n', { n }) : t('verb.send');
  const label = labelOf(verb, Math.max(1, parts)), oneLabel = labelOf(oneVerb, 1);
  const spoken = verb === 'send' && remaining !== null ? `${label}${t('comma')}${t('plan.left', { m: Math.max(0, remaining - Math.max(1, parts)) })}` : label;

  return (
    <footer class={`cmp ${over.value ? 'over' : ''}`} onDragOver={(e) => (e.preventDefault(), (over.value = true))} onDragLeave={() => (over.value = false)}
      onDrop={(e) => (e.preventDefault(), (over.value = false), take(e.dataTransfer?.files))}>
      {!line.value.up && <p class="ban w" role="status"><Icon name="warn" size="s" /><span class="grow">{t('offline')}</span></p>}
      {others.length > 0 && <p class="ban c"><Icon name="eye" size="s" /><span class="grow">{t('collision', { name: others.map((o) => agentById(o.agent)?.display ?? '?').join(t('comma')) })}</span><button type="button" class="btn sm" onClick={() => void act.assign(c, others[0]!.agent)}>{t('collision.give')}</button></p>}
      {c.handler === 'kf' && <p class="ban"><Icon name="swap" size="s" /><span class="grow">{t('handed.kf')}</span><button type="button" class="btn sm" onClick={() => void act.handover(c, 'agent')}>{t('handed.back')}</button></p>}
      <Meter c={c} u={u} now={now} draft={verb === 'note' ? 0 : parts} />
      {form.value ? (
        <KindForm kind={form.value} filled={b.filled} c={c} onCancel={endForm} onSend={async (message) => {
          if (await deliver(message, oneVerb)) endForm();
        }} verb={oneLabel} />
      ) : (
        <div class={`box ${verb === 'park' ? 'prk' : ''} ${verb === 'note' ? 'nte' : ''}`}>
          {upload.value && <MediaTile up={upload.value} onDrop={dropUpload} onSend={() => void sendUpload()} label={oneLabel} busy={busy.value} />}
          <div class="write">
            <div class="mirror" ref={mirror} aria-hidden="true">{at.map((cut, i) => <span key={cut}>{text.value.slice(at[i - 1] ?? 0, cut)}<i class="cut">{t('cut', { n: i + 2 })}</i></span>)}</div>
            <textarea ref={area} id="reply" rows={1} value={text.value} maxLength={20_000} aria-label={t('reply.label', { name })} placeholder={t(verb === 'note' ? 'note.placeholder' : closed ? 'park.placeholder' : 'reply.placeholder')}
              onInput={(e) => keep(e.currentTarget.value)} onKeyDown={keys} onCompositionEnd={() => (composed.current = Date.now())}
              onPaste={(e) => e.clipboardData?.files.length && (e.preventDefault(), take(e.clipboardData.files))}
              onScroll={(e) => mirror.current && (mirror.current.scrollTop = e.currentTarget.scrollTop)} aria-describedby="plan" />
          </div>
          {slash.value !== null && <QuickReplies query={slash.value} anchor={area} name={c.remark} onPick={(reply) => {
            const el = area.current!;
            const before = text.value.slice(0, el.selectionStart).replace(/\/\S*$/, '');
            setDraft(c.account, c.openid, mode.value, before + reply + text.value.slice(el.selectionStart));
            slash.value = null;
            el.focus();
          }} onClose={() => (slash.value = null)} />}
          <div class="tools" role="toolbar" aria-label={t('tools.label')} ref={tools}>
            <button type="button" class="ib" aria-label={t('attach')} title={t('attach')} onClick={() => file.current?.click()}><Icon name="image" /></button>
            <input ref={file} type="file" class="sr" tabIndex={-1} aria-label={t('attach')} accept="image/*,audio/*,video/mp4,.amr" onChange={(e) => (take(e.currentTarget.files), (e.currentTarget.value = ''))} />
            <button type="button" id="kinds" class="ib" aria-label={t('kinds.label')} title={t('kinds.label')} aria-expanded={picking.value} onClick={() => (picking.value = !picking.value)}><Icon name="plus" /></button>
            <span class="sepv nomob" />
            <button type="button" class="ib" aria-label={t('replies.label')} title={`${t('replies.label')} (/)`} onClick={() => ((slash.value = ''), area.current?.focus())}><Icon name="slash" /></button>
            <Later value={later.value} onChange={(v) => (later.value = v)} now={now} />
            <button type="button" class={`ib ${mode.value === 'note' ? 'on' : ''}`} aria-pressed={mode.value === 'note'} aria-label={t('verb.note')} title={`${t('verb.note')} (N)`} id="note-mode" onClick={turn}><Icon name="note" /></button>
            {text.value.trim() && <button type="button" class="ib nomob" aria-label={t('replies.save')} title={t('replies.save')} onClick={() => void saveReply(text.value)}><Icon name="keep" /></button>}
            <span class="grow" />
            <button type="button" class={`btn lg ${verb === 'park' ? 'prk' : verb === 'note' ? '' : 'pri'}`} aria-label={spoken} aria-disabled={busy.value || !text.value.trim()} id="send" onClick={() => void submit()}>
              <Icon name={verb === 'park' ? 'park' : verb === 'note' ? 'note' : verb === 'schedule' ? 'sched' : 'send'} size="s" />{label}
            </button>
          </div>
          {picking.value && <div class="pop tg" role="group" aria-label={t('kinds.label')} onKeyDown={(e) => e.key === 'Escape' && (e.stopPropagation(), (picking.value = false), tools.current?.querySelector<HTMLElement>('#kinds')?.focus())}>{kindsToSend.map((k) => <button key={k.kind} type="button" onClick={() => ((picking.value = false), (form.value = k.kind))}><Icon name={k.icon} />{k.name()}</button>)}</div>}
        </div>
      )}
      <div class="foot" id="plan">
        <PlanLine verb={verb} parts={parts} remaining={remaining} short={short} bytesNow={bytes(text.value)} closed={closed} validDays={validDays.value} onDays={(d) => (validDays.value = d)} />
        <span class="grow" />
        {seen.value && lastTyping.current > 0 && Date.now() - lastTyping.current < 15_000 && <span class="nomob">{t('typing.seen')}</span>}
        <span class="nomob"><kbd>{setting('enterSends', true) ? 'Enter' : 'Ctrl Enter'}</kbd> {t('verb.send')}</span>
      </div>
    </footer>
  );
}

function Meter({ c, u, now, draft }: { c: Conversation; u: Urgency; now: number; draft: number }) {
  const w = c.window;
  const bar = useRef<SVGRectElement>(null);
  const cls = urgencyClass(w, now);
  useLayoutEffect(() => bar.current?.setAttribute('width', frame(w, now).toFixed(1)));
  const end = w.closes_at ? Date.parse(w.closes_at) : 0;
  const most = w.buckets.find((b) => b.trigger === 'user_message')?.max ?? 5;
  return (
    <>
      <svg class={`tbar ${cls}`} viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect class="trk" width="100" height="1" /><rect ref={bar} class="val" width="0" height="1" /></svg>
      {u === 'shut' ? (
        <div class="shutbar" role="group" aria-label={t('meter.label')}><Icon name="lock" /><div><h3>{t(w.cause?.code === 'unfollowed' || w.cause?.errcode === 43004 ? 'closed.unfollowed' : 'closed.title')}</h3><p>{whyClosed(w)}</p></div></div>
      ) : (
        <div class={`meter ${u === 'spent' ? 'x' : cls} ${cls === 'w' ? 'dw' : cls === 'h' ? 'dh' : ''}`} role="group" aria-label={t('meter.label')}>
          {u === 'unknown' ? <p class="t"><b>{t('window.unknown.title')}</b></p>
            : u === 'spent' ? <p class="t"><b>{t('spent', { t: left(end, now) })}</b><span>{t('spent.why', { n: most })}</span></p>
            : <p class="t"><b class="num" role="timer" aria-live="off">{left(end, now)}</b><span>{brief(w) ? t('one.minute') : t('closes.at', { at: `${dayName(end)} ${clockTime(end)}` })}</span></p>}
          <p class="a">{w.remaining !== null && u !== 'unknown' && u !== 'spent' && <span class="sub">{t('can.send.before')} <b class="ca num">{w.remaining}</b> {t('can.send.after')}</span>}<Dots window={w} draft={draft} /></p>
        </div>
      )}
    </>
  );
}

/** What closed the window, and what to do. */
function whyClosed({ cause }: Window): string {
  const at = cause?.at ? moment(Date.parse(cause.at)) : '';
  const trigger = cause?.trigger ? triggerName(cause.trigger) : '';
  switch (cause?.code) {
    case 'unfollowed': return t('closed.why.unfollowed', { at });
    case 'answered': return t(cause.errcode === 43004 ? 'closed.why.43004' : 'closed.why.answered', { at, code: cause.errcode ?? 0 }) + t('closed.body');
    case 'over': return (trigger ? t('closed.why.over', { at, trigger }) : '') + t('closed.body');
  }
  return t('closed.body');
}

function PlanLine({ verb, parts, remaining, short, bytesNow, closed, validDays, onDays }: { verb: string; parts: number; remaining: number | null; short: boolean; bytesNow: number; closed: boolean; validDays: number; onDays: (d: number) => void }) {
  if (verb === 'note') return <span class="plan"><Icon name="note" size="s" />{t('note.hint')}</span>;
  const days = (
    <label class="pick"><span class="sr">{t('park.valid.label')}</span><select value={validDays} onChange={(e) => onDays(Number(e.currentTarget.value))}>{[1, 3, 7, 30].map((d) => <option key={d} value={d}>{t('park.valid', { n: d })}</option>)}</select></label>
  );
  if (short) return <span class="plan bad"><Icon name="warn" size="s" />{t('plan.short', { n: parts, m: remaining ?? 0 })} {days}</span>;
  if (closed) return <span class="plan"><Icon name="park" size="s" />{t('plan.park')} {days}</span>;
  if (parts > 1) {
    const spare = bytesNow - (parts - 1) * 2048;
    return <span class="plan"><Icon name="info" size="s" /><span>{t('plan.split', { n: parts, m: remaining === null ? '∞' : Math.max(0, remaining - parts) })}{spare < 120 && ` · ${t('plan.shorter', { b: spare, n: parts - 1 })}`}</span></span>;
  }
  if (parts === 1 && remaining === 1) return <span class="plan"><Icon name="info" size="s" />{t('plan.last')}</span>;
  if (parts === 1 && remaining !== null) return <span class="plan">{t('plan.left', { m: remaining - 1 })}</span>;
  return null;
}

/** Chooses a moment to send at. */
function Later({ value, onChange, now }: { value: string; onChange: (v: string) => void; now: number }) {
  const open = useSignal(false);
  const local = (ms: number) => new Date(ms - new Date(ms).getTimezoneOffset() * 60_000).toISOString().slice(0, 16);
  return (
    <div class="menu" onKeyDown={(e) => open.value && e.key === 'Escape' && (e.stopPropagation(), (open.value = false), (e.currentTarget.firstElementChild as HTMLElement).focus())}>
      <button type="button" class={`ib ${value ? 'on' : ''}`} aria-label={t('later')} title={t('later')} aria-expanded={open.value} onClick={() => (open.value = !open.value)}><Icon name="sched" /></button>
      {open.value && (
        <div class="pop when">
          <label>{t('later.at')}<input type="datetime-local" value={value} min={local(now)} onInput={(e) => onChange(e.currentTarget.value)} /></label>
          <p class="row"><button type="button" class="btn sm" onClick={() => (onChange(''), (open.value = false))}>{t('later.off')}</button><button type="button" class="btn sm pri" onClick={() => (open.value = false)}>{t('done')}</button></p>
        </div>
      )}
    </div>
  );
}
