// What the window permits now, above the composer.
import { useLayoutEffect, useRef } from 'preact/hooks';
import { clockTime, dayName, left, moment } from '../core/clock';
import { t } from '../core/words';
import { brief, frame, type Urgency, type Window } from '../core/window';
import { Icon } from '../parts/icon';
import { Dots, urgencyClass } from '../parts/time';
import { triggerName } from './kinds';

/** draft: how many messages what is written will take. */
export function Meter({ window: w, u, now, draft }: { window: Window; u: Urgency; now: number; draft: number }) {
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
