import type { Question, Subscription } from '../../client/index.ts';
import { span } from './text.ts';

/* What the numbers view shows, computed from questions. */

export interface Bar {
  label: string;
  value: number;
  /** The value in words. */
  text: string;
}

const MINUTE = 60_000;
const DAY = 86_400_000;
export const DAYS = 14;

/** Questions asked on each of the last days, oldest first. @param now epoch milliseconds */
export function perDay(questions: readonly Question[], now: number): Bar[] {
  const keyOf = (at: number) => new Date(at).toDateString();
  const counts = Map.groupBy(questions, ({ asked_at }) => keyOf(Date.parse(asked_at)));
  return Array.from({ length: DAYS }, (_, index) => {
    const at = now - (DAYS - 1 - index) * DAY;
    const value = counts.get(keyOf(at))?.length ?? 0;
    const label = new Date(at).toLocaleDateString(undefined, { weekday: 'short', day: 'numeric', month: 'short' });
    return { label, value, text: String(value) };
  });
}

/** The median time to an answer, by priority. */
export function timeToAnswer(questions: readonly Question[]): Bar[] {
  return ['urgent', 'high', 'normal', 'low'].flatMap(priority => {
    const times = questions
      .filter(one => one.priority === priority && one.answered_at !== null)
      .map(({ asked_at, answered_at }) => Date.parse(answered_at as string) - Date.parse(asked_at))
      .sort((a, b) => a - b);
    if (times.length === 0) return [];
    const value = quantile(times, 0.5);
    return [{ label: priority, value, text: `${span(value)} (90 %: ${span(quantile(times, 0.9))})` }];
  });
}

/** @param sorted ascending, not empty */
function quantile(sorted: readonly number[], part: number): number {
  return sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * part) - 1)] as number;
}

const AGES: [label: string, below: number][] = [
  ['under 5 min', 5 * MINUTE],
  ['under 1 h', 60 * MINUTE],
  ['under 1 d', DAY],
  ['older', Number.POSITIVE_INFINITY],
];

/** Open questions by their age. */
export function openByAge(open: readonly Question[], now: number): Bar[] {
  const ages = open.map(({ asked_at }) => now - Date.parse(asked_at));
  return AGES.map(([label, below], index) => {
    const from = AGES[index - 1]?.[1] ?? Number.NEGATIVE_INFINITY;
    const value = ages.filter(age => age >= from && age < below).length;
    return { label, value, text: String(value) };
  });
}

/** How far each subscription is behind. */
export function lags(subscriptions: readonly Subscription[]): Bar[] {
  return subscriptions.map(({ name, lag_seconds, waiting }) => ({
    label: name,
    value: lag_seconds ?? 0,
    text: lag_seconds === null ? 'up to date' : `${span(lag_seconds * 1000)}, ${waiting} waiting`,
  }));
}
