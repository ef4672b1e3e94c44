/** Times as people say them. Words are English as the page is; the clock is the reader's own way (12 or 24 hours). */

const DAY_MS = 86_400_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat("en", { weekday: "long" });
const shortWeekday = new Intl.DateTimeFormat("en", { weekday: "short" });
const longDay = new Intl.DateTimeFormat("en-GB", { weekday: "long", day: "numeric", month: "long" });
const yearDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "long", year: "numeric" });
const shortDay = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short" });
const numbers = new Intl.DateTimeFormat("en-GB", { day: "2-digit", month: "2-digit", year: "2-digit" });
const full = new Intl.DateTimeFormat("en-GB", {
  weekday: "short",
  day: "numeric",
  month: "short",
  year: "numeric",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
});

/** The local midnight that the day of `ms` began with. */
export function dayOf(ms: number): number {
  const date = new Date(ms);
  date.setHours(0, 0, 0, 0);
  return date.getTime();
}

/** Whole local days from `ms` to `nowMs`; rounding takes care of days of 23 and 25 hours. */
const daysAgo = (ms: number, nowMs: number): number => Math.round((dayOf(nowMs) - dayOf(ms)) / DAY_MS);

export const clockTime = (ms: number): string => clock.format(ms);
export const fullTime = (ms: number): string => full.format(ms);

export function dayLabel(ms: number, nowMs: number): string {
  const days = daysAgo(ms, nowMs);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days > 1 && days < 7) return weekday.format(ms);
  return new Date(ms).getFullYear() === new Date(nowMs).getFullYear() ? longDay.format(ms) : yearDay.format(ms);
}

/** For the list: the nearer, the finer. */
export function relativeTime(ms: number, nowMs: number): string {
  const minutes = Math.floor((nowMs - ms) / 60_000);
  if (minutes < 1) return "now";
  if (minutes < 60) return `${minutes} min`;
  const days = daysAgo(ms, nowMs);
  if (days <= 0) return clockTime(ms);
  if (days === 1) return "Yesterday";
  if (days < 7) return shortWeekday.format(ms);
  return new Date(ms).getFullYear() === new Date(nowMs).getFullYear() ? shortDay.format(ms) : numbers.format(ms);
}

/** For a countdown: whole seconds, never 0 while there is something left. */
export const seconds = (ms: number): string => `${Math.max(1, Math.ceil(ms / 1000))} s`;

/** How far away the server is. */
export function roundTrip(ms: number): string {
  return ms < 1 ? "< 1 ms" : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`;
}
