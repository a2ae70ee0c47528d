/** Text beyond this does not count: what a search may cost must have an end. Characters. */
const TEXT_READ = 100_000;
/** Longer words (keys, hashes, data) are known by their beginning. Characters. */
const WORD_LENGTH = 64;

// Scripts that are written without spaces: each character is a word. Elsewhere letters and digits make words.
const WORD =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]|[[\p{L}\p{N}]--[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]]+/gv;

/**
 * The words of a text, each once: letters and digits only, without accents, in lower case. Posts and queries are cut up
 * by the same rule, here and not in the engines, so both engines find the same, and no character has a meaning to them.
 */
export function wordsOf(text: string): string[] {
  const plain = text.slice(0, TEXT_READ).normalize('NFKD').replaceAll(/\p{M}/gu, '').toLowerCase();
  return [...new Set((plain.match(WORD) ?? []).map(word => word.slice(0, WORD_LENGTH).replace(/\p{Cs}$/u, '')))];
}
