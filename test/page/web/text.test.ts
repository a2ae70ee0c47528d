import { expect, it } from 'vitest';
import { age, count, cut, span, visible } from '../../../src/page/web/text.ts';

it('shows characters that steer a text, and leaves all others', () => {
  const kept = 'line\n\ttab ünïcode 日本 👩‍👩‍👧 עברית';
  expect(visible(kept)).toBe(kept);
  expect(visible('a\r\nb')).toBe('a\nb');
  expect(visible('\u001b[31m\u0000\u007f')).toBe('␛[31m␀[U+007F]');
  expect(visible('\u202e\u2066\u200f\u061c\u2028')).toBe('[U+202E][U+2066][U+200F][U+061C][U+2028]');
});

it('says lengths of time in two units', () => {
  const [second, minute, hour, day] = [1000, 60_000, 3_600_000, 86_400_000];
  expect([-second, 0, 59 * second, minute, 59 * minute].map(span)).toEqual(['0 s', '0 s', '59 s', '1 min', '59 min']);
  expect([hour, 7 * hour + 56 * minute, day, 3 * day + 5 * hour].map(span)).toEqual([
    '1 h',
    '7 h 56 min',
    '1 d',
    '3 d 5 h',
  ]);
  expect(age('2026-11-28T10:00:00.000Z', Date.parse('2026-11-28T10:04:00.000Z'))).toBe('4 min');
});

it('counts and cuts', () => {
  expect([count(1, 'question'), count(2, 'question'), count(0, 'delivery', 'deliveries')]).toEqual([
    '1 question',
    '2 questions',
    '0 deliveries',
  ]);
  expect([cut('abc', 3), cut('abcd', 3), cut('ab👩', 4), cut('abc👩', 4)]).toEqual(['abc', 'ab…', 'ab👩', 'abc…']);
});
