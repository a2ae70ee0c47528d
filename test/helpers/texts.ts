import fc from 'fast-check';

/** Marks by what they are to a search. */
export const marks = {
  /** Accents and optional vowels: of Latin, Cyrillic, Hebrew and Arabic, and what encloses or varies a sign. */
  accents: ['\u0301', '\u0316', '\u0323', '\u0483', '\u05b0', '\u064e', '\u0670', '\u20dd', '\ufe0f', '\u0344'],
  /** Vowels, tones and voicing. */
  letters: ['\u093f', '\u094d', '\u0e49', '\u0e34', '\u0eb1', '\u3099', '\u309a', '\u17d2', '\u102d', '\u0bbe'],
};

const scripts = [
  ...['a', 'É', 'ß', 'ł', 'Ø', 'đ', 'æ', 'ﬁ', 'Σ', 'ς', 'я', 'ё', 'ש', 'م', 'ق', 'İ', 'ı'],
  ...['क', 'ि', 'ं', 'த', 'ு', 'ક', 'ก', 'ำ', 'เ', 'ກ', 'ຳ', 'က', '်', 'ក', '្'],
  ...['東', '京', '𠀀', '々', 'か', 'が', 'ガ', 'ﾎ', 'ﾟ', 'ー', '〆', 'ㄅ', 'ꀀ'],
  ...['키', '를', '한', 'ᄒ', 'ㅏ', 'ㅋ', '𐌀', '𞤀', '१', '7', '１', '½', 'Ⅳ', '㉼', 'ﷺ'],
];
const symbols = [
  '#',
  '+',
  '++',
  '.',
  '1.2',
  'v1.2.3',
  '-',
  '_',
  '/',
  ' ',
  '\n',
  '\u200b',
  '\u200c',
  '\u200d',
  '\u00ad',
  '*',
];
const emoji = [
  '🚀',
  '👍',
  '🏽',
  '👩🏽‍💻',
  '👩‍👩‍👧',
  '🇪🇺',
  '🇪',
  '1️⃣',
  '#️⃣',
  '❤️',
  '™',
  '‼️',
  '🏴\u{e0067}\u{e0062}\u{e007f}',
  '🈁',
];

/** Any text: characters at random, all scripts mixed, runs of marks, and what is no text at all. */
export const anyText: fc.Arbitrary<string> = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.string({ unit: 'grapheme', maxLength: 200 }),
  // Lone surrogates: a text may be cut anywhere.
  fc.uint16Array({ maxLength: 200 }).map(codes => String.fromCharCode(...codes)),
  // Long words, also of letters that are two units each.
  fc.string({ unit: fc.constantFrom('a', '7', 'É', '𐌀', '㉼'), minLength: 60, maxLength: 80 }),
  fc.string({ unit: fc.constantFrom(...scripts, ...symbols, ...emoji, ...marks.accents, ...marks.letters) }),
  fc
    .tuple(
      fc.constantFrom(...scripts),
      fc.string({ unit: fc.constantFrom(...marks.accents, ...marks.letters), maxLength: 100 }),
    )
    .map(parts => parts.join('')),
);
