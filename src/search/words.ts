/** Text after this limit is not indexed, which bounds the cost of a post. Characters. */
const TEXT_READ = 100_000;
/** Longer words (keys, hashes, encoded data) are cut to this length. Characters. */
const WORD_LENGTH = 64;

// In scripts without spaces between words, each character is a word. In others, runs of letters and digits are words.
const WORD =
  /[[\p{L}\p{N}]&&[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]]|[[\p{L}\p{N}]--[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Khmer}\p{Script=Myanmar}]]+/gv;

/**
 * The distinct words of a text: letters and digits only, without accents, in lower case. Posts and queries share this
 * function instead of the engines' own tokenizers. So both engines find the same, and query syntax cannot occur.
 */
export function wordsOf(text: string): string[] {
  // NFKD can expand one character to many, so the text is cut again. A final sigma counts as a sigma.
  const decomposed = text.slice(0, TEXT_READ).normalize('NFKD').slice(0, TEXT_READ);
  const plain = decomposed.replaceAll(/\p{M}/gu, '').toLowerCase().replaceAll('ς', 'σ');
  return [...new Set((plain.match(WORD) ?? []).map(word => word.slice(0, WORD_LENGTH).replace(/\p{Cs}$/u, '')))];
}
