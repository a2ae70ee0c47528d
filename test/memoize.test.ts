import { expect, it } from 'vitest';
import { memoize } from '../src/memoize.ts';

it('remembers what was computed, and forgets it all when that has become too much', () => {
  const computed: number[] = [];
  const half = memoize((number: number) => {
    computed.push(number);
    return number / 2;
  }, 3);
  expect([2, 0, 2, 0, 6, 2].map(half)).toEqual([1, 0, 1, 0, 3, 1]);
  expect(computed).toEqual([2, 0, 6]);
  expect([8, 6, 2].map(half)).toEqual([4, 3, 1]);
  expect(computed).toEqual([2, 0, 6, 8, 6, 2]);
});
