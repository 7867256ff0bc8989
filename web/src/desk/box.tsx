// The box that an answer or a note is written in, and its tools.
import { useSignal } from '@preact/signals';
import { useEffect, useLayoutEffect, useRef } from 'preact/hooks';
import { setting } from '../core/session';
import { t } from '../core/words';
import type { Conversation } from '../core/types';
import { Icon } from '../parts/icon';
import type { IconName } from '../parts/icons';
import * as act from './actions';
import { openForm, takeFiles, type Begun } from './begun';
import { draftOf, setDraft } from './drafts';
import { kindsToSend } from './forms';
import { QuickReplies, saveReply } from './replies';

/** What the button does. */
export type Verb = 'note' | 'schedule' | 'park' | 'send';
const icons: Record<Verb, IconName> = { note: 'note', schedule: 'sched', park: 'park', send: 'send' };

const REPLYING_EVERY = 8_000;
const SEEN_FOR = 15_000;

/** Tells the others that an answer is written, and the follower that somebody types. */
export function useTyping(c: Conversation) {
  const last = useRef(0);
  const shown = useSignal(false);
  return {
    typed(closed: boolean) {
      if (!closed) void act.typing(c).then((yes) => (shown.value = yes));
      if (Date.now() - last.current <= REPLYING_EVERY) return;
      last.current = Date.now();
      void act.presence(c, 'replying');
    },
    stopped() {
      if (!last.current) return;
      last.current = 0;
      void act.presence(c, 'viewing');
    },
    /** That the follower sees it. */
    seen: () => shown.value && Date.now() - last.current < SEEN_FOR,
  };
}

/** What "/" has opened: the characters after it, at the beginning of a line. */
const trigger = /^\/\S*$/;
const lineUpTo = (text: string, caret: number) => text.slice(0, caret).split('\n').at(-1)!;

interface Props {
  c: Conversation; name: string; b: Begun; now: number;
  at: number[]; // where the text will be cut
  closed: boolean; busy: boolean;
  verb: Verb; label: string; spoken: string;
  typing: ReturnType<typeof useTyping>;
  onSubmit: () => Promise<void>;
}

export function Box({ c, name, b, now, at, closed, busy, verb, label, spoken, typing, onSubmit }: Props) {
  const { mode, later } = b;
  const text = draftOf(c.account, c.openid, mode.value);
  const picking = useSignal(false);
  const slash = useSignal<string | null>(null);
  const area = useRef<HTMLTextAreaElement>(null);
  const mirror = useRef<HTMLDivElement>(null);
  const composed = useRef(0);
  const file = useRef<HTMLInputElement>(null);
  const tools = useRef<HTMLDivElement>(null);

  useEffect(() => {
    const el = area.current!;
    el.style.height = 'auto';
    el.style.height = `${Math.min(el.scrollHeight, window.innerHeight * 0.3)}px`;
  }, [text.value]);
  useLayoutEffect(() => void (picking.value && tools.current?.parentElement?.querySelector<HTMLElement>('.tg button')?.focus()), [picking.value]);

  function write(value: string) {
    setDraft(c.account, c.openid, mode.value, value);
    const line = lineUpTo(value, area.current!.selectionStart);
    slash.value = trigger.test(line) ? line.slice(1) : null;
    if (!value) typing.stopped();
    else if (mode.value === 'reply') typing.typed(closed);
  }

  /** A reply takes the place of what "/" has opened; of a text that the button was pressed beside it takes nothing. */
  function insert(reply: string) {
    const el = area.current!, caret = el.selectionStart, line = lineUpTo(text.value, caret);
    const before = text.value.slice(0, trigger.test(line) ? caret - line.length : caret);
    setDraft(c.account, c.openid, mode.value, before + reply + text.value.slice(caret));
    slash.value = null;
    el.focus();
  }

  /** An answer and a note are two drafts: neither ever turns into the other. */
  function turn() {
    mode.value = mode.value === 'note' ? 'reply' : 'note';
    slash.value = null;
    if (mode.value === 'note') typing.stopped();
    area.current?.focus();
  }

  async function submit() {
    await onSubmit();
    if (document.activeElement?.closest('.cmp')) area.current?.focus(); // who has gone elsewhere stays there
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

  return (
    <div class={`box ${verb === 'park' ? 'prk' : ''} ${verb === 'note' ? 'nte' : ''}`}>
      <div class="write">
        <div class="mirror" ref={mirror} aria-hidden="true">{at.map((cut, i) => <span key={cut}>{text.value.slice(at[i - 1] ?? 0, cut)}<i class="cut">{t('cut', { n: i + 2 })}</i></span>)}</div>
        <textarea ref={area} id="reply" rows={1} value={text.value} maxLength={20_000} aria-label={t('reply.label', { name })} placeholder={t(verb === 'note' ? 'note.placeholder' : closed ? 'park.placeholder' : 'reply.placeholder')}
          onInput={(e) => write(e.currentTarget.value)} onKeyDown={keys} onCompositionEnd={() => (composed.current = Date.now())}
          onPaste={(e) => e.clipboardData?.files.length && (e.preventDefault(), takeFiles(b, e.clipboardData.files))}
          onScroll={(e) => mirror.current && (mirror.current.scrollTop = e.currentTarget.scrollTop)} aria-describedby="plan" />
      </div>
      {slash.value !== null && <QuickReplies query={slash.value} anchor={area} name={c.remark} onPick={insert} onClose={() => (slash.value = null)} />}
      <div class="tools" role="toolbar" aria-label={t('tools.label')} ref={tools}>
        <button type="button" class="ib" aria-label={t('attach')} title={t('attach')} onClick={() => file.current?.click()}><Icon name="image" /></button>
        <input ref={file} type="file" multiple class="sr" tabIndex={-1} aria-label={t('attach')} accept="image/*,audio/*,video/mp4,.amr" onChange={(e) => (takeFiles(b, e.currentTarget.files), (e.currentTarget.value = ''))} />
        <button type="button" id="kinds" class="ib" aria-label={t('kinds.label')} title={t('kinds.label')} aria-expanded={picking.value} onClick={() => (picking.value = !picking.value)}><Icon name="plus" /></button>
        <span class="sepv nomob" />
        <button type="button" class="ib" aria-label={t('replies.label')} title={`${t('replies.label')} (/)`} onClick={() => ((slash.value = ''), area.current?.focus())}><Icon name="slash" /></button>
        <Later value={later.value} onChange={(v) => (later.value = v)} now={now} />
        <button type="button" class={`ib ${mode.value === 'note' ? 'on' : ''}`} aria-pressed={mode.value === 'note'} aria-label={t('verb.note')} title={`${t('verb.note')} (N)`} id="note-mode" onClick={turn}><Icon name="note" /></button>
        {text.value.trim() && <button type="button" class="ib nomob" aria-label={t('replies.save')} title={t('replies.save')} onClick={() => void saveReply(text.value)}><Icon name="keep" /></button>}
        <span class="grow" />
        <button type="button" class={`btn lg ${verb === 'park' ? 'prk' : verb === 'note' ? '' : 'pri'}`} aria-label={spoken} aria-disabled={busy || !text.value.trim()} id="send" onClick={() => void submit()}><Icon name={icons[verb]} size="s" />{label}</button>
      </div>
      {picking.value && <div class="pop tg" role="group" aria-label={t('kinds.label')} onKeyDown={(e) => e.key === 'Escape' && (e.stopPropagation(), (picking.value = false), tools.current?.querySelector<HTMLElement>('#kinds')?.focus())}>{kindsToSend.map((k) => <button key={k.kind} type="button" onClick={() => ((picking.value = false), openForm(b, k.kind))}><Icon name={k.icon} />{k.name()}</button>)}</div>}
    </div>
  );
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
