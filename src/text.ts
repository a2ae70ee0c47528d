/*
 * Rules for names and texts, by Unicode's properties.
 */

/** The rule of names as a sentence part. */
export const NAME_RULE =
  'a visible character, no control, bidirectional or invisible character (joiners in emoji and in words that need them aside), no unpaired surrogate, and not . or ..';

/** Two UTF-16 units for each of the 200 characters. */
const NAME_UNITS = 400;
/** A name of 200 characters may arrive decomposed, each into four characters outside of the BMP. */
const DECOMPOSED_UNITS = 2000;

/** More than 200 characters, also when composed. */
const TOO_MANY_MARKS = /\p{M}{210}/u;
const THIRTY_MARKS = /\p{M}{30}(?=\p{M})/gu;

const WHITE_SPACE = /\p{White_Space}/u;
/** U+2800 and U+1D159 are blank symbols. Private and unassigned characters show at least a box. */
const VISIBLE = /[^\p{White_Space}\p{Cc}\p{Cf}\p{Cs}\p{Default_Ignorable_Code_Point}\u2800\u{1d159}]/u;
const REFUSED = /[\p{Cc}\p{Cs}\p{Bidi_Control}\p{Default_Ignorable_Code_Point}]/u;

/** Whether a text has a character that leaves a mark on a page. */
export function isVisible(text: string): boolean {
  return VISIBLE.test(text);
}

/** Removes white space at both ends: of Unicode, while String.trim() has a list of its own. */
export function trim(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && WHITE_SPACE.test(text.charAt(start))) start += 1;
  while (end > start && WHITE_SPACE.test(text.charAt(end - 1))) end -= 1;
  return text.slice(start, end);
}

/** A name as it is stored: trimmed, and in NFC, so that equal names have equal characters. */
export function normalName(text: string): string {
  const trimmed = trim(text);
  // Normalizing a run of combining marks takes time quadratic in its length; a longer text is no name.
  return trimmed.length > DECOMPOSED_UNITS || TOO_MANY_MARKS.test(trimmed) ? trimmed : trimmed.normalize('NFC');
}

/**
 * A text in NFC, for comparisons. A joiner after every 30 combining marks keeps the time linear. No letter of any
 * language has so many (UAX 15, 12.1, stream-safe text).
 */
export function composed(text: string): string {
  return text.replaceAll(THIRTY_MARKS, '$&\u034f').normalize('NFC');
}

/** Whether a normal name may be stored. The length is checked elsewhere. */
export function isName(text: string): boolean {
  if (text === '.' || text === '..' || text.length > NAME_UNITS || !isVisible(text)) return false;
  return !REFUSED.test(text) || !REFUSED.test(withoutEmoji(text).replace(keptJoiners(), ''));
}

/** A space keeps the neighbors of an emoji apart. */
function withoutEmoji(text: string): string {
  // Made when this is called: most processes never need it, and it takes 10 ms to make.
  return text.replace(/\p{RGI_Emoji}/gv, ' ');
}

/** The name that a value of any kind is, in its stored form; undefined if it is none. */
export function nameIn(value: unknown): string | undefined {
  if (typeof value !== 'string') return undefined;
  const name = normalName(value);
  return isName(name) ? name : undefined;
}

/** At most `length` UTF-16 units of a text, with an ellipsis if that cuts it. */
export function cut(text: string, length: number): string {
  return text.length <= length ? text : `${text.slice(0, length - 1).toWellFormed()}…`;
}

/** Scripts that join letters, and their letters that join only to the right (ArabicShaping.txt). */
const CURSIVE = {
  Arabic:
    '\\u0621-\\u0625\\u0627\\u0629\\u062f-\\u0632\\u0648\\u0671-\\u0677\\u0688-\\u0699\\u06c0\\u06c3-\\u06cb\\u06cd\\u06cf\\u06d2\\u06d3\\u06d5\\u06ee\\u06ef\\u0759-\\u075b\\u076b\\u076c\\u0771\\u0773\\u0774\\u0778\\u0779\\u0870-\\u0882\\u088e\\u08aa-\\u08ae\\u08b1\\u08b2\\u08b9',
  Syriac: '\\u0710\\u0715-\\u0719\\u071e\\u0728\\u072a\\u072c\\u072f\\u074d',
  Nko: '',
  Mongolian: '',
  Adlam: '',
  Hanifi_Rohingya: '',
};

/** Scripts that join consonants, and their viramas. */
const CONJUNCT = {
  Devanagari: '\\u094d',
  Bengali: '\\u09cd',
  Gurmukhi: '\\u0a4d',
  Gujarati: '\\u0acd',
  Oriya: '\\u0b4d',
  Tamil: '\\u0bcd',
  Telugu: '\\u0c4d',
  Kannada: '\\u0ccd',
  Malayalam: '\\u0d3b\\u0d3c\\u0d4d',
  Sinhala: '\\u0dca',
  Myanmar: '\\u1039\\u103a',
  Balinese: '\\u1b44',
  Javanese: '\\ua9c0',
};

let joiners: RegExp | undefined;

/** The joiners U+200C and U+200D where they change how a word looks (UAX 31, 2.3: A1, A2 and B). */
function keptJoiners(): RegExp {
  // Most processes never need it, and it takes 15 ms to make.
  joiners ??= new RegExp(
    [
      ...Object.entries(CURSIVE).map(([script, rightJoining]) => {
        const letter = `[\\p{Script=${script}}&&\\p{L}]`;
        const dual = rightJoining === '' ? letter : `[${letter}--[${rightJoining}]]`;
        return `(?<=${dual}\\p{M}{0,3})\\u200c(?=\\p{M}{0,3}${letter})`;
      }),
      ...Object.entries(CONJUNCT).flatMap(([script, virama]) => {
        const letter = `[\\p{Script=${script}}&&\\p{L}]`;
        const before = `(?<=${letter}\\p{M}{0,3}[${virama}]\\p{M}{0,3})`;
        return [`${before}\\u200c(?=\\p{M}{0,3}${letter})`, `${before}\\u200d(?!\\p{M})`];
      }),
      // Ra with ya-phalaa in Bengali, and the like in Kannada.
      '(?<=[\\u09b0\\u0cb0])\\u200d(?=[\\u09cd\\u0ccd])',
    ].join('|'),
    'gv',
  );
  return joiners;
}
