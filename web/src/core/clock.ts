// Time as the server has it: the demo's clock may jump, and a browser's may be wrong.
import { signal } from '@preact/signals';
import { lang, t, type Lang } from './words';

let offset = 0;

/** Now by the server's clock, in ms. */
export const serverNow = () => Date.now() + offset;

/** The start of the present second by the server's clock: what shows time reads it. */
export const second = signal(Math.floor(Date.now() / 1000) * 1000);

/** Learn the server's time from an answer that was just received. */
export function learn(serverTime: number) {
  const seen = serverTime - Date.now();
  if (Math.abs(seen - offset) > 1500) {
    offset = seen;
    tick();
  }
}

let timer = 0;
function tick() {
  clearTimeout(timer);
  const now = serverNow();
  timer = window.setTimeout(tick, 1000 - (now % 1000) + 5); // first: whatever goes wrong in what shows time, it goes on
  second.value = Math.floor(now / 1000) * 1000;
}
tick();

/** Whether the page can be seen. */
export const visible = signal(document.visibilityState === 'visible');
document.addEventListener('visibilitychange', () => {
  visible.value = document.visibilityState === 'visible';
  tick();
});

/** What is left until `at`: "47 时 52 分", below one hour "18:24". Empty when over. */
export function left(at: number, now: number): string {
  const s = Math.ceil((at - now) / 1000);
  if (s <= 0) return '';
  if (s >= 3600) return t('time.hours', { h: Math.floor(s / 3600), m: Math.floor((s % 3600) / 60) });
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, '0')}`;
}

/** Formats times in the page's language, an unknown one as ''; a formatter is dear to make and kept. */
function formatter(options: Intl.DateTimeFormatOptions): (ms: number) => string {
  const made: Partial<Record<Lang, Intl.DateTimeFormat>> = {};
  return (ms) => (Number.isNaN(ms) ? '' : (made[lang.value] ??= new Intl.DateTimeFormat(lang.value === 'zh' ? 'zh-CN' : 'en-GB', options)).format(ms));
}
const startOfDay = (ms: number) => new Date(ms).setHours(0, 0, 0, 0);

/** "14:26" */
export const clockTime = formatter({ hour: '2-digit', minute: '2-digit', hour12: false });

const weekday = formatter({ weekday: 'short' });
const dayOfYear = formatter({ month: 'short', day: 'numeric' });
const dayOfAnyYear = formatter({ year: 'numeric', month: 'short', day: 'numeric' });

/** "今天", "昨天", "周四", "8月20日" */
export function dayName(ms: number, now = serverNow()): string {
  const days = Math.round((startOfDay(ms) - startOfDay(now)) / 86_400_000);
  switch (days) {
    case 0: return t('day.today');
    case -1: return t('day.yesterday');
    case 1: return t('day.tomorrow');
    case 2: if (t('day.after')) return t('day.after'); // Chinese has a word for it
  }
  if (Math.abs(days) < 7) return weekday(ms);
  return new Date(ms).getFullYear() === new Date(now).getFullYear() ? dayOfYear(ms) : dayOfAnyYear(ms);
}

/** "14:26" today, else the day and the time. */
export const moment = (ms: number) => (startOfDay(ms) === startOfDay(serverNow()) ? clockTime(ms) : `${dayName(ms)} ${clockTime(ms)}`);
