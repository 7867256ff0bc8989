import { useSignal } from '@preact/signals';
import { useEffect, useRef } from 'preact/hooks';
import { left, moment, second } from '../core/clock';
import { keyOf, present, refresh } from '../core/desk';
import { TEXT_BYTES } from '../core/limits';
import { agentById, setting } from '../core/session';
import { line } from '../core/stream';
import { t } from '../core/words';
import { urgency, type Urgency, type Window } from '../core/window';
import type { Conversation } from '../core/types';
import { Icon } from '../parts/icon';
import { announce, tell } from '../parts/overlay';
import * as act from './actions';
import { begunOf, endForm, nextFile } from './begun';
import { Box, useTyping, type Verb } from './box';
import { draftBegun, draftOf, setDraft } from './drafts';
import { KindForm } from './forms';
import { Meter } from './meter';
import { joins, sendOnce, type Sending } from './outbox';
import { bytes, cuts } from './plan';
import { askSince, beginning, type Beginning } from './since';
import { MediaTile } from './upload';

const DAY = 86_400_000;

export function Composer({ c, name }: { c: Conversation; name: string }) {
  const b = begunOf(c);
  const { mode, form, later, upload, validDays } = b;
  const text = draftOf(c.account, c.openid, mode.value);
  const busy = useSignal(false);
  const typing = useTyping(c);

  const now = second.value;
  const w = c.window;
  const u = urgency(w, now);
  const closed = u === 'shut' || u === 'spent';
  const at = mode.value === 'note' ? [] : cuts(text.value, TEXT_BYTES);
  const parts = text.value.trim() ? at.length + 1 : 0;
  const remaining = w.state === 'open' ? w.remaining : null;
  const short = mode.value === 'reply' && !closed && remaining !== null && parts > remaining;
  const oneVerb: Verb = later.value ? 'schedule' : closed ? 'park' : 'send'; // of what is not the text
  const verb: Verb = mode.value === 'note' ? 'note' : oneVerb === 'send' && short ? 'park' : oneVerb;
  useTimeTold(c, u, now);

  /** Others who write an answer now. */
  const writing = () => (present.value[keyOf(c.account, c.openid)] ?? []).filter((p) => p.state === 'replying');

  /** What stands against sending what was begun then, as a question. */
  async function doubt(s: Sending, since: Beginning | undefined): Promise<string | undefined> {
    const other = writing()[0];
    if (other) return t('collision.ask', { name: agentById(other.agent)?.display ?? '?' });
    return joins(s) ? undefined : askSince(since, c.account, c.openid); // what has left already is no other answer
  }

  /** Entrusts an answer to the gateway; false: the agent thought better of it, or somebody else has taken the conversation. */
  async function deliver(message: any, as: Verb, since: Beginning | undefined, more: Partial<Sending> = {}): Promise<boolean> {
    const due = as === 'schedule' ? Date.parse(later.value) : now;
    const s: Sending = {
      account: c.account, message: { ...message, touser: c.openid }, // whoever the JSON is for: it is written to this one
      ...more,
      ...(as === 'schedule' && { not_before: new Date(due).toISOString() }),
      ...(as !== 'send' && { when_closed: 'park', expires_at: new Date(due + validDays.value * DAY).toISOString() }),
    };
    const question = await doubt(s, since);
    if (question && !confirm(question)) return false;
    if (!c.assigned_to && !(await act.claim(c))) return false; // whoever answers has it
    await sendOnce(s);
    later.value = '';
    return true;
  }

  async function submit() {
    const value = text.value, as = mode.value;
    if (busy.value || !value.trim()) return;
    if (/\{[^{}\n]{1,20}\}/.test(value) && as === 'reply' && !confirm(t('unfilled.ask'))) return;
    busy.value = true;
    const next = beginning(c.account, c.openid); // of what is typed while this is on its way
    try {
      if (!(as === 'note' ? await act.addNote(c, value.trim()) : await deliver({ msgtype: 'text', text: { content: value } }, verb, draftBegun(c.account, c.openid), parts > 1 ? { long_text: 'split' } : {}))) return;
      // What was typed meanwhile stays, as another draft.
      const typed = draftOf(c.account, c.openid, as).value;
      setDraft(c.account, c.openid, as, typed.startsWith(value) ? typed.slice(value.length) : typed, next);
      if (as === 'note' && !draftOf(c.account, c.openid, as).value) mode.value = 'reply';
      typing.stopped();
    } catch (e) {
      tell(e);
    } finally {
      busy.value = false;
    }
  }

  async function sendUpload() {
    const up = upload.value;
    if (!up?.asset || busy.value) return;
    busy.value = true;
    try {
      if ((await deliver({ msgtype: up.kind, [up.kind]: { media_id: up.asset } }, oneVerb, b.since.upload)) && upload.value?.asset === up.asset) nextFile(b); // another may have been chosen meanwhile
    } catch (e) {
      tell(e);
    } finally {
      busy.value = false;
    }
  }

  function leaveForm() {
    endForm(b);
    requestAnimationFrame(() => document.getElementById('reply')?.focus());
  }

  const others = writing();
  const nameOf = (agent: string) => agentById(agent)?.display ?? '?';
  const labelOf = (v: Verb, n: number) => v === 'note' ? t('verb.note') : v === 'schedule' ? t('verb.schedule', { at: moment(Date.parse(later.value)) }) : v === 'park' ? t('verb.park', { n }) : n > 1 ? t('verb.send.n', { n }) : t('verb.send');
  const label = labelOf(verb, Math.max(1, parts)), oneLabel = labelOf(oneVerb, 1);
  const spoken = verb === 'send' && remaining !== null ? `${label}${t('comma')}${t('plan.left', { m: Math.max(0, remaining - Math.max(1, parts)) })}` : label;

  return (
    <footer class={`cmp ${b.over.value ? 'over' : ''}`}>
      {!line.value.up && <p class="ban w" role="status"><Icon name="warn" size="s" /><span class="grow">{t('offline')}</span></p>}
      {others.length > 0 && <p class="ban c"><Icon name="eye" size="s" /><span class="grow">{t('collision', { name: others.map((o) => nameOf(o.agent)).join(t('comma')) })}</span><button type="button" class="btn sm" onClick={() => void act.assign(c, others[0]!.agent)}>{t('collision.give', { name: nameOf(others[0]!.agent) })}</button></p>}
      {c.handler === 'kf' && <p class="ban"><Icon name="swap" size="s" /><span class="grow">{t('handed.kf')}</span><button type="button" class="btn sm" onClick={() => void act.handover(c, 'agent')}>{t('handed.back')}</button></p>}
      <Meter window={w} u={u} now={now} draft={verb === 'note' || verb === 'schedule' ? 0 : parts} />
      {upload.value && <MediaTile up={upload.value} more={b.waiting.value.length} onDrop={() => nextFile(b)} onSend={() => void sendUpload()} label={oneLabel} busy={busy.value} />}
      {form.value
        ? <KindForm kind={form.value} filled={b.filled} c={c} onCancel={leaveForm} onSend={async (message) => {
            if (await deliver(message, oneVerb, b.since.form)) leaveForm();
          }} verb={oneLabel} />
        : <Box c={c} name={name} b={b} now={now} at={at} closed={closed} busy={busy.value} verb={verb} label={label} spoken={spoken} typing={typing} onSubmit={submit} />}
      <div class="foot" id="plan">
        <PlanLine verb={verb} parts={parts} remaining={remaining} short={short} bytesNow={bytes(text.value)} validDays={validDays.value} onDays={(d) => (validDays.value = d)} />
        <span class="grow" />
        {typing.seen() && <span class="nomob">{t('typing.seen')}</span>}
        <span class="nomob"><kbd>{setting('enterSends', true) ? 'Enter' : 'Ctrl Enter'}</kbd> {t('verb.send')}</span>
      </div>
    </footer>
  );
}

/** Tells a screen reader when a window is about to end, and when it ends under the agent's
 * hands: the verb changes, the text stays. */
function useTimeTold({ account, openid, window: w }: { account: string; openid: string; window: Window }, u: Urgency, now: number) {
  const was = useRef<Urgency>(u);
  useEffect(() => {
    const over = (x: Urgency) => x === 'shut' || x === 'spent';
    if (over(u) && !over(was.current)) announce(t(u === 'shut' ? 'now.shut' : 'now.spent'));
    was.current = u;
  }, [u]);
  useEffect(() => {
    if (u !== 'shut' || w.state !== 'open') return;
    const timer = setTimeout(refresh, 500, account, openid); // by the page's clock it is over; the gateway knows what it was
    return () => clearTimeout(timer);
  }, [u, w]);
  useEffect(() => {
    if (!w.closes_at || w.state !== 'open') return;
    const s = Math.round((Date.parse(w.closes_at) - now) / 1000);
    if (s === 3600 || s === 600 || s === 60) announce(t('time.announce', { t: left(Date.parse(w.closes_at), now) }));
  }, [now]);
}

/** What the button will do and cost. */
function PlanLine({ verb, parts, remaining, short, bytesNow, validDays, onDays }: { verb: Verb; parts: number; remaining: number | null; short: boolean; bytesNow: number; validDays: number; onDays: (d: number) => void }) {
  const days = () => (
    <label class="pick"><span class="sr">{t('park.valid.label')}</span><select value={validDays} onChange={(e) => onDays(Number(e.currentTarget.value))}>{[1, 3, 7, 30].map((d) => <option key={d} value={d}>{t('park.valid', { n: d })}</option>)}</select></label>
  );
  switch (verb) {
    case 'note': return <span class="plan"><Icon name="note" size="s" />{t('note.hint')}</span>;
    case 'schedule': return <span class="plan"><Icon name="sched" size="s" />{t('plan.later')} {days()}</span>;
    case 'park': return short
      ? <span class="plan bad"><Icon name="warn" size="s" />{t('plan.short', { n: parts, m: remaining ?? 0 })} {days()}</span>
      : <span class="plan"><Icon name="park" size="s" />{t('plan.park')} {days()}</span>;
  }
  if (parts > 1) {
    const spare = bytesNow - (parts - 1) * TEXT_BYTES;
    return <span class="plan"><Icon name="info" size="s" /><span>{t('plan.split', { n: parts, m: remaining === null ? '∞' : Math.max(0, remaining - parts) })}{spare < 120 && ` · ${t('plan.shorter', { b: spare, n: parts - 1 })}`}</span></span>;
  }
  if (parts === 1 && remaining === 1) return <span class="plan"><Icon name="info" size="s" />{t('plan.last')}</span>;
  if (parts === 1 && remaining !== null) return <span class="plan">{t('plan.left', { m: remaining - 1 })}</span>;
  return null;
}
