import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { cut, isName, isVisible, normalName, trim } from '../src/text.ts';

describe('a name', () => {
  it.each([
    'ana',
    'run 1',
    '...',
    'Zoë',
    '日本',
    'ไทย',
    '\u{1d11e}',
    '👩‍💻',
    '👨‍👩‍👧',
    '🏳️‍🌈',
    '❤️‍🔥 fire',
    '1️⃣',
    '🏴󠁧󠁢󠁥󠁮󠁧󠁿',
    'می‌خواهم',
    'خانه‌ها',
    'ශ්‍රී',
    'क्‍ष',
    'क्‌ष',
    'র‍্যাব',
  ])('may be %s', name => {
    expect(isName(normalName(name))).toBe(true);
    expect(normalName(name)).toBe(name.normalize('NFC'));
  });

  it.each([
    ['', 'empty'],
    [' \u00a0\u2003\u0085', 'white space'],
    ['.', 'a path segment'],
    [' .. ', 'a path segment'],
    ['a\u0000', 'NUL'],
    ['a\tb', 'a control character'],
    ['a\u0085b', 'a control character'],
    ['a\u009b31m', 'a control sequence'],
    ['a\u202eb', 'a bidirectional control'],
    ['a\u2066b', 'a bidirectional control'],
    ['a\u061cb', 'a bidirectional control'],
    ['a\u200e', 'a bidirectional control'],
    ['\ufeffa', 'a byte order mark'],
    ['a\u00adb', 'a soft hyphen'],
    ['a\u034fb', 'a grapheme joiner'],
    ['a\u200bb', 'an invisible space'],
    ['a\u2060b', 'a word joiner'],
    ['\u3164', 'a filler'],
    ['a\u115fb', 'a filler'],
    ['\u2800', 'a blank'],
    ['\u{1d159}', 'a blank'],
    ['a\u{e0041}', 'a tag'],
    ['a\u{e0100}', 'a variation selector'],
    ['a\ufe0f', 'a variation selector'],
    ['1\ufe0f', 'a variation selector that changes nothing'],
    ['a\u200db', 'a joiner in Latin'],
    ['a\u200cb', 'a joiner in Latin'],
    ['دا\u200cر', 'a joiner after a letter that does not join'],
    ['क्\u200ca', 'a joiner between scripts'],
    ['😀\u200d', 'a joiner after an emoji'],
    ['😀\u200d😀', 'a joiner between emoji that do not join'],
    ['\ud83d', 'an unpaired surrogate'],
  ])('must not be %j: %s', name => {
    expect(isName(normalName(name))).toBe(false);
  });

  it('is one name however its marks are composed and whatever surrounds it', () => {
    expect(normalName(' Zoe\u0308\u0085')).toBe('Zo\u00eb');
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 50 }), text => {
        const name = normalName(text);
        expect(normalName(`\u2003${text.normalize('NFD')}\n`)).toBe(normalName(text.normalize('NFC')));
        expect(normalName(name)).toBe(name);
      }),
    );
  });

  it('never holds a character that cannot be seen, but in words and emoji that need it', () => {
    const hidden =
      /[\p{Cc}\p{Cs}\p{Bidi_Control}]|[\p{Default_Ignorable_Code_Point}--[\u200c\u200d\ufe0f\u{e0020}-\u{e007f}]]/v;
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 1, maxLength: 5 }), text => {
        expect(isName(text) && hidden.test(text)).toBe(false);
        // After a Latin letter nothing may hide.
        expect(isName(`a${text}`) && /[\p{Default_Ignorable_Code_Point}]/u.test(text.at(0) ?? '')).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    '\u0301'.repeat(1_000_000),
    ' '.repeat(1_000_000),
    `a${' '.repeat(1_000_000)}b`,
    'क्‍'.repeat(300_000),
    '👩‍'.repeat(300_000),
  ])('is judged in no time, however long', text => {
    const begun = performance.now();
    isName(normalName(text));
    expect(performance.now() - begun).toBeLessThan(500);
  });
});

it('a text must show something', () => {
  for (const blank of ['', ' \n', '\u200b', '\u3164\u2800', '\u0007', '\ufeff']) expect(isVisible(blank)).toBe(false);
  for (const text of ['a', '\u0301', ' .', '\u001b[31mred', '\ue000', '😀']) expect(isVisible(text)).toBe(true);
});

it('white space is that of Unicode', () => {
  expect(trim('\u0085\u00a0\u1680 a b \u2028\t')).toBe('a b');
  expect(trim('\ufeffa')).toBe('\ufeffa');
  expect(trim(' \n')).toBe('');
});

it('a cut text says so, and never ends in half a character', () => {
  expect(cut('abc', 3)).toBe('abc');
  expect(cut('abcd', 3)).toBe('ab…');
  expect(cut('a😀bc', 3).isWellFormed()).toBe(true);
});
