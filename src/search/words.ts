/** Text after this limit is not indexed: the longest body and the longest title fit. UTF-16 units. */
export const TEXT_READ = 66_048;
/** Further distinct words of a text are not indexed, which bounds the cost of a post. */
export const WORDS_PER_TEXT = 10_000;
/** The limit for emoji and for versions of a text, so that they leave room for its words. */
const SIGNS_PER_TEXT = 1000;
/** Longer words (keys, hashes, encoded data) are cut to this length. UTF-16 units. */
const WORD_LENGTH = 64;
/** Query words of at least this length also match longer words that begin with them. UTF-16 units. */
const SHORTEST_PREFIX = 4;

/** A word of a query. */
export interface Term {
  word: string;
  /** It also matches longer words that begin with it. */
  prefix: boolean;
}

/**
 * A kind of word. It has a pattern, the words stored for a match in a text, and the terms required by a match in a
 * query.
 */
interface Kind {
  pattern: RegExp;
  most: number;
  stored(match: string[]): Iterable<string>;
  required(match: string[]): Term[];
}

const exact = (word: string): Term => ({ word, prefix: false });

// Scripts without spaces between words. The single characters are shared by several scripts.
const SPACELESS =
  '[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Bopomofo}\\p{Script=Thai}\\p{Script=Lao}' +
  '\\p{Script=Khmer}\\p{Script=Myanmar}\\p{Script=Tai_Le}\\p{Script=New_Tai_Lue}\\p{Script=Tai_Tham}' +
  '\\p{Script=Tai_Viet}\\p{Script=Javanese}\\p{Script=Balinese}\\p{Script=Yi}〆〼〱-〵ー\\u3099\\u309a]';
const HANGUL = '\\p{Script=Hangul}';
const OTHER = `[[\\p{L}\\p{N}\\p{M}]--[${SPACELESS}${HANGUL}]]`;

/** Runs of letters, digits and their marks. With `#` or `+` at the end (C#, C++) the run is stored twice, without and with. */
const words: Kind = {
  pattern: new RegExp(`[[\\p{L}\\p{N}]&&${OTHER}]${OTHER}*(?:([#+]{1,3})(?![#+]))?(?=([\\p{L}\\p{N}])?)`, 'gv'),
  most: WORDS_PER_TEXT,
  *stored([match = '', sign = '']) {
    const word = cut(match.slice(0, match.length - sign.length));
    yield word;
    if (sign) yield word + fullWidth(sign);
  },
  required([match = '', sign = '', next]) {
    const word = cut(match.slice(0, match.length - sign.length));
    // Before a letter or digit (issue#12, a+b) the sign separates words.
    if (sign && next === undefined) return [exact(word + fullWidth(sign))];
    return [{ word, prefix: word.length >= SHORTEST_PREFIX }];
  },
};

/** Korean words carry particles, so any prefix matches. The first syllable is stored, since too many words share one. */
const hangul: Kind = {
  pattern: new RegExp(`${HANGUL}+`, 'gv'),
  most: WORDS_PER_TEXT,
  *stored([match = '']) {
    yield String.fromCodePoint(match.codePointAt(0) as number);
    yield cut(match);
  },
  required([match = '']) {
    return [{ word: cut(match), prefix: match.length > 1 }];
  },
};

/** Without spaces, three adjacent characters are a word, two are a prefix of one. Single characters are stored, too. */
const spaceless: Kind = {
  pattern: new RegExp(`[[\\p{L}\\p{N}\\p{M}]&&${SPACELESS}]+`, 'gv'),
  most: WORDS_PER_TEXT,
  *stored([match = '']) {
    for (let start = 0; start < match.length; ) {
      const second = next(match, start);
      yield match.slice(start, second);
      yield match.slice(start, next(match, next(match, second)));
      start = second;
    }
  },
  required([match = '']) {
    const characters = [...match];
    if (characters.length < 3) return [{ word: match, prefix: characters.length === 2 }];
    return characters.slice(2).map((_, index) => exact(characters.slice(index, index + 3).join('')));
  },
};

/** Numbers with dots: 1.2 matches v1.2.3, but not 2.1. */
const versions: Kind = {
  pattern: /(?<![0-9])[0-9]{1,16}(?:\.[0-9]{1,16}(?![0-9]))+/g,
  most: SIGNS_PER_TEXT,
  *stored([match = '']) {
    const parts = match.split('.');
    for (const [index, part] of parts.entries()) {
      yield part;
      const two = index > 0 ? `${parts[index - 1]}．${part}` : '';
      if (two) yield two;
      if (index > 1) yield `${parts[index - 2]}．${two}`;
    }
  },
  required([match = '']) {
    const [first = '', second = '', ...others] = match.split('.');
    const terms = [];
    let [before, last] = [first, second];
    for (const part of others) {
      terms.push(exact(`${before}．${last}．${part}`));
      [before, last] = [last, part];
    }
    return others.length > 0 ? terms : [exact(`${first}．${second}`)];
  },
};

// An emoji with variation selector, skin tone or tags. The excluded ones decompose to letters, which are words.
const PICTOGRAPH =
  '[[\\p{Extended_Pictographic}\\p{Emoji_Modifier}]--[™ℹⓂ㊗㊙🈁🈂🈚🈯🈲-🈺🉐🉑]][\\ufe0e\\ufe0f]?\\p{Emoji_Modifier}?[\\u{e0020}-\\u{e007f}]{0,8}';

/** An emoji sequence is a word, and so is each emoji in it, with and without skin tones. */
const emoji: Kind = {
  pattern: new RegExp(
    `\\p{Regional_Indicator}{1,2}|[0-9#*]\\ufe0f?\\u20e3|${PICTOGRAPH}(?:\\u200d${PICTOGRAPH}){0,7}`,
    'gv',
  ),
  most: SIGNS_PER_TEXT,
  *stored([match = '']) {
    const whole = withoutVariations(match);
    for (const sequence of [whole, whole.replaceAll(/(?<=.)\p{Emoji_Modifier}/gu, '')]) {
      yield sequence;
      yield* sequence.split('\u200d');
    }
  },
  required([match = '']) {
    return [exact(withoutVariations(match))];
  },
};

/**
 * The distinct words of a text, as the index stores them. Posts and queries share these rules instead of the engines'
 * own tokenizers. So both engines find the same, and query syntax cannot occur.
 */
export function wordsOf(text: string): string[] {
  const found = new Set<string>();
  for (const [kind, source] of sourcesOf(text)) {
    const most = Math.min(found.size + kind.most, WORDS_PER_TEXT);
    for (const match of source.matchAll(kind.pattern)) {
      if (found.size >= most) break;
      for (const word of kind.stored(match)) {
        found.add(word);
        if (found.size >= most) break;
      }
    }
  }
  return [...found];
}

/** The distinct terms of a query. A text matches if it has a word for each. */
export function termsOf(query: string): Term[] {
  const found = sourcesOf(query).flatMap(([kind, source]) =>
    Array.from(source.matchAll(kind.pattern), match => kind.required(match)).flat(),
  );
  return [...new Map(found.map(term => [`${term.word}${term.prefix}`, term])).values()];
}

function sourcesOf(text: string): [Kind, string][] {
  const read = text.slice(0, TEXT_READ);
  // Most texts are ASCII. They have no words of the other kinds, and fold to lower case.
  if (ASCII.test(read)) {
    const lower = read.toLowerCase();
    return [
      [versions, lower],
      [words, lower],
    ];
  }
  const plain = folded(read);
  return [
    // ↮ is the one character that decomposes to an emoji and a mark.
    [emoji, read.replaceAll('↮', '↔')],
    [versions, plain],
    [words, plain],
    [hangul, plain],
    [spaceless, plain],
  ];
}

const ASCII = /^\p{ASCII}*$/u;
/** Normalization orders a run of marks in quadratic time, so longer runs are cut. Half-width voicing decomposes to marks. */
const MARKS_BEYOND = /([\p{M}\uff9e\uff9f]{32})[\p{M}\uff9e\uff9f]+/gu;
// Accents and optional vowels. Marks of other scripts are letters. Inherited marks combine with any script (UAX 24).
const ACCENTS =
  /[[\p{Me}[[\p{Script=Inherited}\p{Script=Cyrillic}\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}]&&\p{M}]]--[\u3099\u309a]]/gv;
/** Letters whose stroke or ligature does not decompose. A final sigma counts as a sigma. */
const PLAIN_LETTERS = new Map(
  'ςσ ßss æae œoe þth ðd đd ħh ıi łl ŋn øo ŧt ƀb ƃb ɓb ƈc ȼc ɖd ɗd ƌd ɇe ƒf ǥg ɠg ɦh ɨi ƚl ɫl ɉj ƙk ɲn ƞn ɵo ƥp ɋq ɍr ƭt ʈt ʉu ʋv ƴy ɏy ƶz ȥz'
    .split(' ')
    .map(pair => [pair.slice(0, 1), pair.slice(1)]),
);
const STROKED = new RegExp(`[${[...PLAIN_LETTERS.keys()].join('')}]`, 'g');

/** Lower case, composed, without accents and invisible characters. */
function folded(text: string): string {
  return (
    text
      .replaceAll(/\p{Cf}/gu, '')
      .replaceAll(MARKS_BEYOND, '$1')
      .normalize('NFKD')
      // NFKD can expand one character to many, so the text is cut again.
      .slice(0, TEXT_READ)
      .replaceAll(ACCENTS, '')
      .normalize('NFC')
      .toLowerCase()
      .replaceAll(STROKED, letter => PLAIN_LETTERS.get(letter) as string)
  );
}

/** The index of the next character. */
function next(text: string, index: number): number {
  return index + ((text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1);
}

function cut(word: string): string {
  return word.length <= WORD_LENGTH ? word : word.slice(0, WORD_LENGTH).replace(/\p{Cs}$/u, '');
}

function withoutVariations(sequence: string): string {
  return sequence.replaceAll(/[\ufe0e\ufe0f]/g, '').replace(/^[#*]/, fullWidth);
}

/** Replaces ASCII signs by their full-width forms, which both engines take for letters. Folded text has none. */
function fullWidth(signs: string): string {
  return signs.replaceAll(/[#+.*]/g, sign => String.fromCharCode(sign.charCodeAt(0) + 0xfee0));
}
