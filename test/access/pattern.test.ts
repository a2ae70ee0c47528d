import fc from 'fast-check';
import { expect, it } from 'vitest';
import { exactName, matchesPattern } from '../../src/access/pattern.ts';

/** The rule in its plainest form: the first piece, or any start of the name for a star, and the rest matches the rest. */
function model(pattern: string, name: string): boolean {
  if (pattern === '') return name === '';
  const rest = pattern.slice(1);
  if (/^\\[*\\]/.test(pattern)) return name[0] === pattern[1] && model(pattern.slice(2), name.slice(1));
  if (pattern[0] !== '*') return name[0] === pattern[0] && model(rest, name.slice(1));
  return Array.from({ length: name.length + 1 }, (_, length) => name.slice(length)).some(end => model(rest, end));
}

const text = (characters: string[], maxLength: number) =>
  fc.string({ unit: fc.constantFrom(...characters), maxLength });

it('a name matches a pattern as the plain rule says', () => {
  fc.assert(
    fc.property(text(['a', 'b', '*', '\\'], 7), text(['a', 'b', '*', '\\'], 10), (pattern, name) => {
      expect(matchesPattern(pattern, name)).toBe(model(pattern, name));
    }),
    {
      numRuns: 3000,
      examples: [
        ['', ''],
        ['a*a', 'a'],
        ['*a*a*', 'a'],
        ['a*b*b', 'ab'],
        ['**', ''],
      ],
    },
  );
});

it('a name matches a pattern that was made of it, whatever characters it has', () => {
  const pieces = fc.array(fc.record({ text: fc.string({ unit: 'binary' }), kept: fc.boolean() }), { maxLength: 6 });
  fc.assert(
    fc.property(pieces, list => {
      const name = list.map(({ text: piece }) => piece).join('');
      const pattern = list
        .map(({ text: piece, kept }) => (kept ? piece.replaceAll(/[\\*]/g, String.raw`\$&`) : '*'))
        .join('');
      expect(matchesPattern(pattern, name)).toBe(true);
      // A pattern without a star is one name.
      if (!pattern.includes('*')) expect(matchesPattern(pattern, `${name}x`)).toBe(false);
    }),
  );
});

it('no name matches a missing pattern', () => {
  expect(matchesPattern(null, 'null')).toBe(false);
  expect(matchesPattern(null, '')).toBe(false);
});

it('takes no long time, whatever the pattern', () => {
  const started = performance.now();
  for (let count = 0; count < 100; count += 1) matchesPattern(`${'*a'.repeat(100)}b`, `${'a'.repeat(199)}c`);
  expect(performance.now() - started).toBeLessThan(1000);
});

it('a pattern with escapes alone names exactly one name', () => {
  fc.assert(
    fc.property(text(['a', '*', '\\'], 12), name => {
      const pattern = name.replaceAll(/[\\*]/g, String.raw`\$&`);
      expect(exactName(pattern)).toBe(name);
      expect(matchesPattern(pattern, name)).toBe(true);
    }),
  );
  expect(exactName(String.raw`rel-\*`)).toBe('rel-*');
  expect(matchesPattern(String.raw`rel-\*`, 'rel-1')).toBe(false);
  expect(exactName(String.raw`a\b`)).toBe(String.raw`a\b`);
  expect(exactName('rel-*')).toBeUndefined();
  expect(exactName(null)).toBeUndefined();
});
