/** Text beyond this does not count: what a search may cost must have an end. Characters. */
const TEXT_READ = 100_000;
/** Longer words (keys, hashes, data) are known by their beginning. Characters. */
const WORD_LENGTH = 64;

// Scripts that are written without spaces: each character is a word. Elsewhere letters and digits make words.
const WORD =
  /[[\p{L}\p{N}]&&[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]]|[[\p{L}\p{N}]--[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]]+/gv;

/**
 * The words of a text, each once: letters and digits only, without accents, in lower case. Posts and queries are cut up
 * by the same rule, here and not in the engines, so both engines find the same, and no character has a meaning to them.
 */
export function wordsOf(text: string): string[] {
  // Cut again, since some characters unfold to many. A final sigma is a sigma.
  const unfolded = text.slice(0, TEXT_READ).normalize('NFKD').slice(0, TEXT_READ);
  const plain = unfolded.replaceAll(/\p{M}/gu, '').toLowerCase().replaceAll('ς', 'σ');
  return [...new Set((plain.match(WORD) ?? []).map(word => word.slice(0, WORD_LENGTH).replace(/\p{Cs}$/u, '')))];
}
