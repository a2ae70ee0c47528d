import { expect, it } from 'vitest';
import { readOptions } from './options.ts';

const read = (...args: string[]) => readOptions(args, 'kept.json');

it('a full run keeps its figures; a quick one and a comparison do so only on demand', () => {
  expect(read().figures).toBe('kept.json');
  expect(read('--quick').figures).toBeUndefined();
  expect(read('--against=main').figures).toBeUndefined();
  expect(read('--quick', '--figures=/other.json').figures).toBe('/other.json');
});

it('revisions are compared in sections in which they can take turns', () => {
  expect([...read('--against=main').only]).toEqual(['a', 'b', 'c', 'f']);
  expect(() => read('--against=main', '--only=d')).toThrow('There is no section d in which revisions are compared');
  expect(() => read('--only=z')).toThrow('There is no section z;');
});
