import { describe, expect, it } from 'vitest';
import { isTopicPattern, topicMatches } from '../../src/subscriptions/patterns.ts';

describe('a topic pattern', () => {
  it.each([
    ['a.b', 'a.b', true],
    ['a.b', 'a.c', false],
    ['a.b', 'a.b.c', false],
    ['a.*', 'a.b', true],
    ['a.*', 'a', false],
    ['a.*', 'a.b.c', false],
    ['*.b', 'a.b', true],
    ['a.**', 'a.b', true],
    ['a.**', 'a.b.c.d', true],
    ['a.**', 'a', false],
    ['a.**', 'ab.c', false],
    ['**', 'a.b', true],
    ['a.*.c', 'a.b.c', true],
  ])('%s against %s: %s', (pattern, topic, matches) => {
    expect(topicMatches(pattern, topic)).toBe(matches);
  });

  it('has ** at its end only', () => {
    for (const good of ['a', 'a.b', '*', '*.a', 'a.*', 'a.**', '**', 'a_b-c.D1'])
      expect(isTopicPattern(good)).toBe(true);
    for (const bad of ['', '.', 'a.', '.a', 'a..b', '**.a', 'a.**.b', 'a*', 'a b', 5, undefined])
      expect(isTopicPattern(bad)).toBe(false);
  });
});
