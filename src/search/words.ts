/** Text beyond this does not count: the longest body beside the longest title. UTF-16 units. */
export const TEXT_READ = 66_048;
/** Different words of a text that count, emoji and versions among them: what a text costs has a limit. */
export const WORDS_PER_TEXT = 10_000;
/** Emoji and versions of a text that count: they must leave room for its words. */
const SIGNS_PER_TEXT = 1000;
/** Longer words (keys, hashes, data) are known by their beginning. UTF-16 units. */
const WORD_LENGTH = 64;
/** Words of this length and longer ones also stand for what begins with them. UTF-16 units. */
const SHORTEST_PREFIX = 4;

/** A word that a query asks for. */
export interface Term {
  word: string;
  /** Words that begin with it count, too. */
  prefix: boolean;
}

/** One kind of word: how it is found in a text, which words are stored for a match, and which a query asks for. */
interface Kind {
  pattern: RegExp;
  most: number;
  stored(match: string[]): Iterable<string>;
  asked(match: string[]): Term[];
}

const exact = (word: string): Term => ({ word, prefix: false });

// Scripts that are written without spaces. The single characters belong to no script, or to several.
const SPACELESS =
  '[\\p{Script=Han}\\p{Script=Hiragana}\\p{Script=Katakana}\\p{Script=Bopomofo}\\p{Script=Thai}\\p{Script=Lao}' +
  '\\p{Script=Khmer}\\p{Script=Myanmar}\\p{Script=Tai_Le}\\p{Script=New_Tai_Lue}\\p{Script=Tai_Tham}' +
  '\\p{Script=Tai_Viet}\\p{Script=Javanese}\\p{Script=Balinese}\\p{Script=Yi}〆〼〱-〵ー\\u3099\\u309a]';
const HANGUL = '\\p{Script=Hangul}';
const OTHER = `[[\\p{L}\\p{N}\\p{M}]--[${SPACELESS}${HANGUL}]]`;

/** Letters, digits and the marks of letters; `#` and `+` behind them, as in C# and C++, make a second word. */
const words: Kind = {
  pattern: new RegExp(`[[\\p{L}\\p{N}]&&${OTHER}]${OTHER}*(?:([#+]{1,3})(?![#+]))?(?=([\\p{L}\\p{N}])?)`, 'gv'),
  most: WORDS_PER_TEXT,
  *stored([match = '', sign = '']) {
    const word = cut(match.slice(0, match.length - sign.length));
    yield word;
    if (sign) yield word + fullWidth(sign);
  },
  asked([match = '', sign = '', next]) {
    const word = cut(match.slice(0, match.length - sign.length));
    // Between words it is punctuation.
    if (sign && next === undefined) return [exact(word + fullWidth(sign))];
    return [{ word, prefix: word.length >= SHORTEST_PREFIX }];
  },
};

/** Particles are written onto Korean words, so any beginning counts. Single syllables are stored: very many words begin so. */
const hangul: Kind = {
  pattern: new RegExp(`${HANGUL}+`, 'gv'),
  most: WORDS_PER_TEXT,
  *stored([match = '']) {
    yield String.fromCodePoint(match.codePointAt(0) as number);
    yield cut(match);
  },
  asked([match = '']) {
    return [{ word: cut(match), prefix: match.length > 1 }];
  },
};

/** Without spaces, any three characters in a row are a word; shorter parts are its beginning. Single ones are stored. */
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
  asked([match = '']) {
    const characters = [...match];
    if (characters.length < 3) return [{ word: match, prefix: characters.length === 2 }];
    return characters.slice(2).map((_, index) => exact(characters.slice(index, index + 3).join('')));
  },
};

/** Numbers with dots, as 1.2.3 is: so that 1.2 is found there, but not in 2.1. */
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
  asked([match = '']) {
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

// An emoji with its variation, its skin tone or its tags. Those left out unfold to letters, and are found by them.
const PICTOGRAPH =
  '[[\\p{Extended_Pictographic}\\p{Emoji_Modifier}]--[™ℹⓂ㊗㊙🈁🈂🈚🈯🈲-🈺🉐🉑]][\\ufe0e\\ufe0f]?\\p{Emoji_Modifier}?[\\u{e0020}-\\u{e007f}]{0,8}';

/** A sequence is one word; so is each emoji in it, and both without their skin tones. */
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
  asked([match = '']) {
    return [exact(withoutVariations(match))];
  },
};

/** The words under which a text is stored, each once. None has a character that means something to an engine. */
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

/** What a query asks for: a text that has all of it holds the query's words. */
export function termsOf(query: string): Term[] {
  const found = sourcesOf(query).flatMap(([kind, source]) =>
    Array.from(source.matchAll(kind.pattern), match => kind.asked(match)).flat(),
  );
  return [...new Map(found.map(term => [`${term.word}${term.prefix}`, term])).values()];
}

function sourcesOf(text: string): [Kind, string][] {
  const read = text.slice(0, TEXT_READ);
  const plain = folded(read);
  return [
    [emoji, read],
    [versions, plain],
    [words, plain],
    [hangul, plain],
    [spaceless, plain],
  ];
}

/** To put marks into order takes time that is quadratic in how many follow each other: these are enough for any script. */
const MARKS_BEYOND = /([\p{M}\uff9e\uff9f]{32})[\p{M}\uff9e\uff9f]+/gu;
// Accents and optional vowels. The marks of other scripts are letters (UAX 44: Inherited is what any script may have).
const ACCENTS =
  /[[\p{Me}[[\p{Script=Inherited}\p{Script=Cyrillic}\p{Script=Arabic}\p{Script=Hebrew}\p{Script=Syriac}]&&\p{M}]]--[\u3099\u309a]]/gv;
/** Letters whose stroke or ligature does not unfold. A final sigma is a sigma. */
const PLAIN_LETTERS = new Map(
  'ςσ ßss æae œoe þth ðd đd ħh ıi łl ŋn øo ŧt ƀb ƃb ɓb ƈc ȼc ɖd ɗd ƌd ɇe ƒf ǥg ɠg ɦh ɨi ƚl ɫl ɉj ƙk ɲn ƞn ɵo ƥp ɋq ɍr ƭt ʈt ʉu ʋv ƴy ɏy ƶz ȥz'
    .split(' ')
    .map(pair => [pair.slice(0, 1), pair.slice(1)]),
);
const UNFOLDABLE = new RegExp(`[${[...PLAIN_LETTERS.keys()].join('')}]`, 'g');

/** In lower case, in one of several equivalent forms, without accents. What is invisible goes. */
function folded(text: string): string {
  return (
    text
      .replaceAll(/\p{Cf}/gu, '')
      .replaceAll(MARKS_BEYOND, '$1')
      .normalize('NFKD')
      // Cut again, since some characters unfold to many.
      .slice(0, TEXT_READ)
      .replaceAll(ACCENTS, '')
      .normalize('NFC')
      .toLowerCase()
      .replaceAll(UNFOLDABLE, letter => PLAIN_LETTERS.get(letter) as string)
  );
}

/** Where the character after this one begins. */
function next(text: string, index: number): number {
  return index + ((text.codePointAt(index) ?? 0) > 0xffff ? 2 : 1);
}

function cut(word: string): string {
  return word.slice(0, WORD_LENGTH).replace(/\p{Cs}$/u, '');
}

function withoutVariations(sequence: string): string {
  return sequence.replaceAll(/[\ufe0e\ufe0f]/g, '').replace(/^[#*]/, fullWidth);
}

/** Punctuation as both engines take it for letters. No folded text has it. */
function fullWidth(signs: string): string {
  return signs.replaceAll(/[#+.*]/g, sign => String.fromCharCode(sign.charCodeAt(0) + 0xfee0));
}
