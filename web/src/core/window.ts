// What a window permits, as the contract's shapes tell it and the page shows it.

export interface Bucket { trigger: string; max: number | null; remaining: number | null; opened_at: string; closes_at: string }
export interface Window {
  state: 'open' | 'closed' | 'unknown';
  remaining: number | null; // null: unknown, or no limit
  closes_at: string | null;
  opened_by?: string;
  because: string;
  cause?: { code: string; at?: string; trigger?: string; errcode?: number };
  buckets: Bucket[];
}

export type Urgency = 'open' | 'warn' | 'hot' | 'spent' | 'shut' | 'unknown';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/** What is left when the bucket that the next message would have used has ended and
 * others are open still, until the gateway is asked; undefined: nothing has changed. */
export function outlived(w: Window, now: number): Window | undefined {
  if (w.state !== 'open' || !w.closes_at || Date.parse(w.closes_at) > now) return undefined;
  const buckets = w.buckets.filter((b) => Date.parse(b.closes_at) > now);
  const next = buckets.find((b) => b.remaining !== 0) ?? buckets.at(-1);
  if (!next) return undefined;
  const unlimited = buckets.some((b) => b.remaining === null);
  return { ...w, buckets, opened_by: next.trigger, closes_at: next.closes_at, remaining: unlimited ? null : buckets.reduce((n, b) => n + b.remaining!, 0) };
}

/** A window of a minute: answer now. */
export function brief(w: Window): boolean {
  const b = w.buckets.find((b) => b.trigger === w.opened_by);
  return !!b && Date.parse(b.closes_at) - Date.parse(b.opened_at) <= 2 * MINUTE;
}

export function urgency(w: Window, now: number): Urgency {
  if (w.state === 'unknown') return 'unknown';
  const end = w.closes_at ? Date.parse(w.closes_at) : 0;
  if (w.state === 'closed' || end <= now) return 'shut';
  if (w.remaining === 0) return 'spent';
  if (brief(w) || end - now <= 5 * MINUTE) return 'hot';
  if (end - now <= HOUR || w.remaining === 1) return 'warn';
  return 'open';
}

/** How much of the frame around the avatar is drawn, 0 to 100. A long window's is a
 * square root, so that its last hour can still be seen. */
export function frame(w: Window, now: number): number {
  const b = w.buckets.find((b) => b.trigger === w.opened_by);
  if (!b || !w.closes_at) return 0;
  const whole = Date.parse(w.closes_at) - Date.parse(b.opened_at);
  const part = Math.max(0, Math.min(1, (Date.parse(w.closes_at) - now) / whole));
  return 100 * (brief(w) ? part : Math.sqrt(part));
}

/** The most that all open buckets permit together; null: no limit. */
export function most(w: Window): number | null {
  let sum = 0;
  for (const b of w.buckets) {
    if (b.max === null) return null;
    sum += b.max;
  }
  return sum;
}
