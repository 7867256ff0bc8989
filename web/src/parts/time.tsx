import { left, second } from '../core/clock';
import { t } from '../core/words';
import { frame, most, urgency, type Window } from '../core/window';

const path = 'M24 2H34A12 12 0 0 1 46 14V34A12 12 0 0 1 34 46H14A12 12 0 0 1 2 34V14A12 12 0 0 1 14 2Z';
const classes = { open: 'o', warn: 'w', hot: 'h', spent: 's', shut: 'x', unknown: 'u' } as const;

/** The class by which the style sheet knows how urgent a window is. */
export const urgencyClass = (w: Window, now: number) => classes[urgency(w, now)];

/** The frame around an avatar that runs out with the window. */
export function Ring({ window: w }: { window: Window }) {
  const now = second.value;
  return (
    <svg class={`ring ${urgencyClass(w, now)}`} viewBox="0 0 48 48" aria-hidden="true">
      <path class="trk" d={path} />
      <path class="val" pathLength={100} stroke-dasharray={`${frame(w, now).toFixed(1)} 100`} d={path} />
    </svg>
  );
}

/** One dot per message of the allowance: full is left, half will be used by the
 * draft, hollow was used. No limit: ∞; more than eight: the number. */
export function Dots({ window: w, draft = 0 }: { window: Window; draft?: number }) {
  const max = most(w);
  if (w.state === 'unknown') return <span class="lbl">?</span>;
  if (w.state === 'closed') return null;
  if (max === null || w.remaining === null) return <span class="num b">∞</span>;
  if (max > 8) return <span class="num b">{w.remaining}</span>;
  const dots = [];
  for (let i = 0; i < max; i++) {
    dots.push(<i key={i} class={`d ${i >= w.remaining ? '' : i < w.remaining - draft ? 'on' : 'pre'}`} />);
  }
  return <span class="dots" aria-hidden="true">{dots}</span>;
}

/** "47 时 52 分", "0:42", or why there is nothing to count. */
export function timeLeft(w: Window, now: number): string {
  if (w.state === 'unknown') return t('window.unknown');
  return (w.closes_at && w.state === 'open' && left(Date.parse(w.closes_at), now)) || t('window.shut');
}
