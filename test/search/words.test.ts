import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { wordsOf } from '../../src/search/words.ts';

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 200 }),
  // Lone surrogates: a text may be cut anywhere.
  fc.uint16Array({ maxLength: 200 }).map(codes => String.fromCharCode(...codes)),
  // Long words, also of letters that are two units each.
  fc.string({ unit: fc.constantFrom('a', '7', 'É', '𐌀', '㉼'), minLength: 60, maxLength: 80 }),
);

// Both engines are handed these words between quotes, and take them as they are: what is no letter would be syntax there.
describe('the words of a text', () => {
  it('are letters and digits and nothing else, each once', () => {
    fc.assert(
      fc.property(text, written => {
        const words = wordsOf(written);
        for (const word of words) expect(word).toMatch(/^[\p{L}\p{N}]{1,64}$/u);
        expect(words.join('').isWellFormed()).toBe(true);
        expect(new Set(words).size).toBe(words.length);
      }),
      { numRuns: 2000, examples: [['⺀'], ['။']] },
    );
  });

  it('are the same however the text is encoded, and once they have been taken out', () => {
    fc.assert(
      fc.property(text, written => {
        const words = wordsOf(written);
        for (const form of ['NFC', 'NFD', 'NFKC', 'NFKD']) expect(wordsOf(written.normalize(form))).toEqual(words);
        expect(wordsOf(words.join(' '))).toEqual(words);
      }),
      { numRuns: 2000 },
    );
  });

  it('are those of the beginning of a text that is too long', () => {
    expect(wordsOf(`first ${'.'.repeat(100_000)} last`)).toEqual(['first']);
  });
});
