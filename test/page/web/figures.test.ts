import { expect, it } from 'vitest';
import type { Question, Subscription } from '../../../src/client/index.ts';
import { DAYS, lags, openByAge, perDay, timeToAnswer } from '../../../src/page/web/figures.ts';

const now = Date.parse('2026-11-28T12:00:00.000Z');
const MINUTE = 60_000;
const at = (minutes: number) => new Date(now - minutes * MINUTE).toISOString();
const question = (fields: Partial<Question>) => ({ priority: 'normal', answered_at: null, ...fields }) as Question;

it('counts questions a day, of days without any too', () => {
  const asked = [0, 1, 1440, 1441, 20 * 1440].map(minutes => question({ asked_at: at(minutes) }));
  const bars = perDay(asked, now);
  expect(bars).toHaveLength(DAYS);
  expect(bars.map(({ value }) => value)).toEqual([...Array(DAYS - 2).fill(0), 2, 2]);
});

it('has the median and the ninth tenth of the times to an answer, by priority', () => {
  const answered = Array.from({ length: 10 }, (_, index) =>
    question({ asked_at: at(60), answered_at: at(60 - (index + 1)) }),
  );
  const urgent = question({ priority: 'urgent', asked_at: at(10), answered_at: at(8) });
  expect(timeToAnswer([...answered, urgent, question({ asked_at: at(500) })])).toEqual([
    { label: 'urgent', value: 2 * MINUTE, text: '2 min (90 %: 2 min)' },
    { label: 'normal', value: 5 * MINUTE, text: '5 min (90 %: 9 min)' },
  ]);
  expect(timeToAnswer([])).toEqual([]);
});

it('sorts open questions by age', () => {
  const open = [1, 4, 6, 59, 61, 1441, 9999].map(minutes => question({ asked_at: at(minutes) }));
  expect(openByAge(open, now).map(({ value }) => value)).toEqual([2, 2, 1, 2]);
});

it('says how far subscriptions are behind', () => {
  const subscription = (fields: Partial<Subscription>) => ({ name: 'chat', waiting: 0, ...fields }) as Subscription;
  expect(lags([subscription({ lag_seconds: null }), subscription({ lag_seconds: 90, waiting: 3 })])).toEqual([
    { label: 'chat', value: 0, text: 'up to date' },
    { label: 'chat', value: 90, text: '1 min, 3 waiting' },
  ]);
});
