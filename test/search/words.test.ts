import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TEXT_READ, termsOf, WORDS_PER_TEXT, wordsOf } from '../../src/search/words.ts';
import { anyText, marks } from '../helpers/texts.ts';

/** Whether a text's words have what a query asks for, as both engines compare them. */
function holds(text: string, query: string): boolean {
  const words = wordsOf(text);
  const terms = termsOf(query);
  return terms.length > 0 && terms.every(term => words.some(word => isMeant(word, term)));
}

const isMeant = (word: string, asked: ReturnType<typeof termsOf>[number]) =>
  word === asked.word || (asked.prefix && word.startsWith(asked.word));

/** CPU time, since the machine may be busy. Milliseconds. */
function timeOf(work: () => void): number {
  const before = process.cpuUsage();
  work();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000;
}

/** One mebibyte of it, or a little more. */
const mebibyte = (part: (index: number) => string) => {
  const parts: string[] = [];
  for (let length = 0; length < 2 ** 20; length += (parts.at(-1) as string).length) parts.push(part(parts.length));
  return parts.join('');
};

const longTexts: [name: string, text: string][] = [
  ['marks in two classes', `a${'\u0316\u0301'.repeat(500_000)}`],
  ['half-width marks, which are letters until they unfold', `a${'\uff9e\u0301'.repeat(500_000)}`],
  ['marks between joiners', `a${`${'\u0316\u0301'.repeat(16)}\u200d`.repeat(30_000)}`],
  ['marks of Hebrew', `\u05d0${'\u05b0\u05b1\u05bc\u0591'.repeat(250_000)}`],
  ['marks of kana', `か${'\u3099\u0316'.repeat(500_000)}`],
  ['composed letters with marks', mebibyte(() => 'ậ\u0323\u0301')],
  ['Han', mebibyte(index => String.fromCodePoint(0x4e00 + ((index * 7919) % 20_000)))],
  ['Han beyond the first plane', mebibyte(index => String.fromCodePoint(0x20000 + ((index * 7919) % 40_000)))],
  ['Thai', mebibyte(index => String.fromCodePoint(0xe01 + ((index * index * 31) % 57)))],
  ['Hangul', mebibyte(index => String.fromCodePoint(0xac00 + ((index * 7919) % 11_172)))],
  ['Devanagari', mebibyte(() => 'की')],
  ['words', mebibyte(index => `${(index * 7919).toString(36)} `)],
  ['digits', '1'.repeat(2 ** 20)],
  ['a version', mebibyte(index => `${index}.`)],
  ['signs behind letters', mebibyte(() => 'a+')],
  ['signs', `a${'#'.repeat(2 ** 20)}`],
  ['emoji in sequences', mebibyte(() => '👩\u200d')],
  ['emoji with tags', mebibyte(() => `🏴${'\u{e0067}'.repeat(100)}`)],
  ['halves of flags', mebibyte(() => '🇪')],
  ['what unfolds', 'ﷺ'.repeat(2 ** 20)],
  ['final sigmas', mebibyte(() => 'Σ.')],
];

describe('the words of a text', () => {
  it('have nothing that is syntax to an engine, each once', () => {
    fc.assert(
      fc.property(anyText, written => {
        const words = wordsOf(written);
        // ASCII letters and digits only: FTS5 would split words at others, and PostgreSQL reads quotes and backslashes.
        for (const word of words) expect(word).toMatch(/^[a-z0-9\u0080-\u{10ffff}]+$/u);
        for (const word of words) expect(word).not.toMatch(/\s/u);
        expect(words.join('').isWellFormed()).toBe(true);
        expect(new Set(words).size).toBe(words.length);
      }),
      { numRuns: 1000, examples: [['⺀'], ['။'], ["c#'c+\\"], ['#️⃣*️⃣']] },
    );
  });

  it('are the same however the text is encoded', () => {
    fc.assert(
      fc.property(anyText, text => {
        // More marks than any script has are cut off, and then it counts which come first.
        const written = text.replaceAll(/(\p{M}{4})\p{M}+/gu, '$1');
        const words = wordsOf(written);
        for (const form of ['NFC', 'NFD']) expect(wordsOf(written.normalize(form)), form).toEqual(words);
      }),
      { numRuns: 1000, examples: [['↔\u0338']] },
    );
  });

  it('are the same for plain ASCII as for a text of all kinds', () => {
    const parts = fc.oneof(
      fc.string({ unit: 'binary-ascii' }),
      fc.constantFrom('v1.2.3', 'C++', 'C#', '#1', 'A'.repeat(70)),
    );
    fc.assert(
      fc.property(fc.array(parts), written => {
        const text = written.join('');
        // The invisible character is no word, and no ASCII.
        const mixed = `${text}\u2060`;
        expect(wordsOf(text)).toEqual(wordsOf(mixed));
        expect(termsOf(text)).toEqual(termsOf(mixed));
      }),
    );
  });

  it('hold what the text itself asks for, whatever it is', () => {
    fc.assert(
      fc.property(anyText, written => {
        if (termsOf(written).length > 0) expect(holds(written, written)).toBe(true);
      }),
      { numRuns: 1000, examples: [[`क${'\u093c\u0301'.repeat(500)} x`]] },
    );
  });

  it('hold what any part of the text asks for, cut between words', () => {
    fc.assert(
      fc.property(fc.array(anyText), fc.nat(), fc.nat(), (parts, from, count) => {
        const some = parts.slice(from % (parts.length + 1)).slice(0, count % 5);
        if (termsOf(some.join('\n')).length > 0) expect(holds(parts.join('\n'), some.join('\n'))).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  it('are found for every letter, digit and emoji by itself', () => {
    const lost: string[] = [];
    for (let code = 0; code < 0x110000; code += 1) {
      if (code >= 0xd800 && code < 0xe000) continue;
      const character = String.fromCodePoint(code);
      const isWord = /[\p{L}\p{N}]/u.test(character.normalize('NFKD')) || /\p{RGI_Emoji}/v.test(character);
      if (isWord && !holds(`so ${character} so`, character)) lost.push(character);
    }
    expect(lost).toEqual([]);
  });

  it('keep the order of marks known: what unfolds to marks is counted as marks', () => {
    const unknown: string[] = [];
    for (let code = 0; code < 0x110000; code += 1) {
      if (code >= 0xd800 && code < 0xe000) continue;
      const character = String.fromCodePoint(code);
      const reordered = `a\u0301${character}`.normalize('NFKD');
      const isMark = /[\p{M}\uff9e\uff9f]/u.test(character);
      if (!isMark && !reordered.startsWith('a\u0301')) unknown.push(character);
      // Two in a row would be a run of marks that nobody cuts.
      const unfolded = character.normalize('NFKD');
      if (!isMark && /^\p{M}+$/u.test(unfolded)) unknown.push(character);
    }
    expect(unknown).toEqual([]);
  });

  it.each(longTexts)('take a time in proportion to what is read of a long text: %s', (_, text) => {
    expect(text.length).toBeGreaterThanOrEqual(500_000);
    wordsOf(text);
    expect(
      Math.min(
        timeOf(() => wordsOf(text)),
        timeOf(() => wordsOf(text)),
      ),
    ).toBeLessThan(150);
    expect(timeOf(() => termsOf(text.slice(0, 1000)))).toBeLessThan(50);
    const words = wordsOf(text);
    expect(words.length).toBeLessThanOrEqual(WORDS_PER_TEXT);
    // What PostgreSQL takes for one text.
    expect(Buffer.byteLength(words.join(''))).toBeLessThan(2 ** 20 - 1);
  });

  it('are those of the beginning of a text that is too long', () => {
    expect(wordsOf(`first ${'.'.repeat(TEXT_READ)} last`)).toEqual(['first']);
    const many = Array.from({ length: WORDS_PER_TEXT + 5 }, (_, index) => index.toString(36).padStart(4, '0'));
    expect(wordsOf(many.join(' '))).toEqual(many.slice(0, WORDS_PER_TEXT));
  });

  it('have room for words beside very many emoji and versions', () => {
    const emoji = Array.from(
      { length: 3000 },
      (_, n) => `${String.fromCodePoint(0x1f400 + (n % 50))}\u200d${String.fromCodePoint(0x1f600 + (n % 53))}`,
    );
    expect(
      holds(`${emoji.join('')} ${Array.from({ length: 3000 }, (_, n) => `${n}.1`).join(' ')} walnut`, 'walnut'),
    ).toBe(true);
  });

  it('do not change with marks that are no letters', () => {
    for (const mark of marks.accents) expect(wordsOf(`cafe${mark}`), mark).toEqual(['cafe']);
  });
});
