import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isVisible } from '../../src/text.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { anyText } from '../helpers/texts.ts';
import { conversation } from '../helpers/threads.ts';

/** Queries as they stand in a URL. */
const encoded: [name: string, encoded: string][] = [
  ['nothing', ''],
  ['a space', '%20'],
  ['white space of all kinds', '%20%09%0A%0D%C2%A0%E3%80%80+'],
  ['NUL', '%00'],
  ['NUL in a word', 'wal%00nut'],
  ['an emoji', encodeURIComponent('🚀')],
  ['emoji only', encodeURIComponent('🚀👩‍👩‍👧🇪🇺1️⃣')],
  ['the last character of Unicode', encodeURIComponent('\u{10FFFF}')],
  ['marks only', encodeURIComponent('\u0301\u0301\u20dd')],
  ['marks by the thousand', encodeURIComponent(`a${'\u0301'.repeat(999)}`)],
  ['right-to-left overrides', encodeURIComponent('\u202ewalnut\u202c')],
];

/** Queries in a URL whose percent-encoding is malformed or not UTF-8. */
const malformed: [name: string, encoded: string][] = [
  ['a lone high surrogate', '%ED%A0%80'],
  ['a lone low surrogate in a word', 'wal%ED%B0%80nut'],
  ['bytes that are no UTF-8', '%FF%FE%80walnut%C3'],
  ['a percent sign', '100%'],
  ['half an escape', '%4'],
];

/** Every word and character of the engines' own query languages, and what breaks parsers. */
const texts = [
  '"',
  "'",
  '""',
  "''",
  '\\',
  '`walnut`',
  '"walnut',
  "walnut'",
  '"walnut" "nut',
  'wal"nut',
  "wal'nut",
  'AND',
  'OR',
  'NOT',
  'NEAR',
  'walnut AND',
  'OR walnut',
  'walnut NOT',
  'NOT walnut',
  'walnut AND OR NOT walnut',
  'NEAR(walnut nut, 5)',
  'NEAR/2',
  '*',
  'walnut*',
  '*walnut',
  'wal*nut',
  '^walnut',
  '-walnut',
  '+walnut',
  'walnut -nut',
  'words:walnut',
  'words : walnut',
  '{words}: walnut',
  '-words:walnut',
  'rowid:1',
  'search_titles:walnut',
  '(walnut',
  'walnut)',
  '()',
  '((((((((((((walnut))))))))))))',
  '{',
  '}',
  '[walnut]',
  'walnut & nut',
  'walnut | nut',
  '&',
  '|',
  '! walnut',
  '!!walnut',
  'walnut <-> nut',
  'walnut <2> nut',
  '<->',
  'walnut:*',
  'walnut:A',
  ':*',
  ':',
  "'walnut':*",
  "walnut''':*",
  "'; drop table threads; --",
  "' or '1' = '1",
  "x' union select payload from events --",
  '%',
  '_',
  '$1',
  '?1',
  ':name',
  '@name',
  '<script>alert(1)</script>',
  '{"$ne": null}',
  'a'.repeat(1_000),
  '"'.repeat(1_000),
  '('.repeat(1_000),
  "'* ".repeat(333),
  'walnut '.repeat(142),
  'NOT '.repeat(250),
  Array.from({ length: 200 }, (_, index) => `w${index}`).join(' '),
  Array.from({ length: 900 }, (_, index) => String.fromCodePoint(0x4e00 + index)).join(''),
];

const shown = (text: string) => (text.length > 40 ? `${text.slice(0, 20)}… of ${text.length}` : text);
const queries = [...encoded, ...texts.map((text): [string, string] => [shown(text), encodeURIComponent(text)])];

/** Many different words, each long enough to weigh something, up to so many characters. */
function differentWords(length: number, word: (index: number) => string): string {
  let text = '';
  for (let index = 0; text.length < length; index += 1) text += `${word(index)} `;
  return text.slice(0, length);
}

/** A number written with two signs of which each becomes several letters when it is taken apart. */
const folded = (index: number) => index.toString(2).padStart(14, '0').replaceAll('0', '㉼').replaceAll('1', '㉽');

const posts: [name: string, body: string, query: string][] = [
  ['different words up to the longest body', differentWords(65_536, index => `word${index}`), 'word0 word1 word77'],
  ['one word up to the longest body', 'walnut '.repeat(9_362), 'walnut'],
  ['a word of 5,000 characters', 'k'.repeat(5_000), 'k'.repeat(1_000)],
  ['260 kB in one word of letters beyond the first plane', '𐌀'.repeat(64_900), '𐌀'.repeat(40)],
  ['a word of 65,536 characters', 'ß'.repeat(65_536), 'ßßßß'],
  ['emoji only', '🚀👩‍👩‍👧🇪🇺'.repeat(1_000), 'rocket'],
  [
    '20,000 different characters that are words',
    differentWords(40_000, i => String.fromCodePoint(0x4e00 + i)),
    '一 丁 丂',
  ],
  [
    'all the 11,172 syllables, which are more words than are indexed',
    differentWords(65_536, i => `${String.fromCharCode(0xac00 + (i % 11_172))}${i % 100}`),
    '가0',
  ],
  ['signs that unfold to more than they were', differentWords(65_536, folded), folded(0)],
  ['the longest unfolding that there is', 'ﷺ '.repeat(32_768), 'ﷺ'],
  ['a combining mark after each letter', 'e\u0301'.repeat(32_768), 'eeee'],
  ['punctuation only', '!"#$%&\'()*+,-./:;<=>?@[\\]^_`{|}~'.repeat(1_000), 'rocket'],
  ['what the engines take for syntax', `"a' & b | !c <-> d:* (e) NEAR/2 -f ^g {h} AND OR NOT \\ ''`, 'near NOT d'],
];

/** A letter, a digit, an emoji, or a mark that counts as a letter also by itself, in a text taken apart. */
const WORDY = new RegExp(
  // The keys of a telephone that are no digits.
  '[#*]\\ufe0f?\\u20e3|[\\p{L}\\p{N}\\p{Extended_Pictographic}\\p{Emoji_Modifier}\\p{RI}\\u3099\\u309a' +
    // The marks of Korean and of the scripts that are written without spaces.
    '[\\p{M}&&[\\p{Script=Hangul}\\p{Script=Han}\\p{Script=Thai}\\p{Script=Lao}\\p{Script=Khmer}\\p{Script=Myanmar}' +
    '\\p{Script=Tai_Tham}\\p{Script=Tai_Viet}\\p{Script=Javanese}\\p{Script=Balinese}]]]',
  'v',
);

/** Whether it is percent-encoded UTF-8. */
function isWellFormed(query: string): boolean {
  try {
    decodeURIComponent(query);
    return true;
  } catch {
    return false;
  }
}

describe.each(engines)('a search on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
    await open({ title: 'Walnut', body: 'Nuts' });
  });
  afterAll(() => service.close());

  const { open, post } = conversation((...request) => service.send(...request));
  /** For a query as it stands in a URL. */
  const search = (query: string, filters = '') => service.send('GET', `/threads?q=${query}${filters}`);
  const expectPage = ({ status, body }: Awaited<ReturnType<typeof search>>) => {
    expect(status, JSON.stringify(body).slice(0, 300)).toBe(200);
    expect(Object.keys(body).sort()).toEqual(['items', 'next_cursor']);
  };

  it.each(queries)('answers a page for %s', async (_, query) => {
    expectPage(await search(query));
    expectPage(await search(query, '&queue=unseen&viewer=human:ana&limit=1'));
  });

  it.each(malformed)('refuses %s', async (_, query) => {
    expectProblem(await search(query), 'MALFORMED_URL');
    expectProblem(await search(query, '&queue=unseen&viewer=human:ana&limit=1'), 'MALFORMED_URL');
  });

  it('answers a page for any text, and refuses bytes that are no UTF-8', async () => {
    const operators = fc.constantFrom(
      ...`"'*^-+:(){}[]<>&|!\\%_ \0`,
      ' AND ',
      ' OR ',
      ' NOT ',
      'NEAR(',
      ':*',
      '<->',
      'walnut',
    );
    const anyText = fc.oneof(fc.string({ unit: 'binary' }), fc.string({ unit: operators, maxLength: 30 }));
    const bytes = fc
      .uint8Array({ maxLength: 30 })
      .map(data => Buffer.from(data).toString('hex').replaceAll(/../g, '%$&'));
    await fc.assert(
      fc.asyncProperty(fc.oneof(anyText.map(encodeURIComponent), bytes), async query => {
        const answer = await search(query);
        if (isWellFormed(query)) expectPage(answer);
        else expectProblem(answer, 'MALFORMED_URL');
      }),
      { numRuns: 400, examples: [['%80'], ['%C3%A4']] },
    );
    // Nothing of it was taken for a statement.
    expect((await search('walnut')).body.items).toHaveLength(1);
  });

  it('finds every text by itself, if there is a letter, a digit, an emoji or a mark that counts as a letter in it', async () => {
    let runs = 0;
    const text = fc.oneof(fc.string({ maxLength: 200 }), anyText);
    await fc.assert(
      fc.asyncProperty(
        text.filter(written => isVisible(written) && !written.includes('\0') && written.isWellFormed()),
        async body => {
          runs += 1;
          const ticket = `itself-${runs}`;
          const { thread_id } = await open({ title: '☞', body, ticket });
          const { items } = (await search(encodeURIComponent(body), `&ticket=${ticket}`)).body;
          // The emoji ‼ and ⁉ decompose to signs.
          const wordy = WORDY.test(body.normalize('NFKD')) || /\p{Extended_Pictographic}/v.test(body);
          expect(items.map((thread: { thread_id: string }) => thread.thread_id)).toEqual(wordy ? [thread_id] : []);
        },
      ),
      // A sign of a script that is written without spaces is still no letter, nor is a mark of a script with spaces.
      {
        numRuns: 150,
        examples: [
          ...['⺀', '\u093f\u094d', '\u0301', '\u102d ', '\u103a', '\u17d2', '\uff9f', '\u302e', '‼️', '⁉'],
          ...['#️⃣', '*\u20e3', '#', '\u20e3'],
        ].map(text => [text]),
      },
    );
  });

  it.each(posts)('takes in a post of %s, and finds it by its first words', async (name, body, query) => {
    const { thread_id } = await open({ title: '☞', body, ticket: name });
    const { thread_id: replied } = await open({ title: 'Rocket', body: 'Start', ticket: name });
    expect((await post(replied, { body })).status).toBe(201);
    const { items } = (await search(encodeURIComponent(query), `&ticket=${encodeURIComponent(name)}`)).body;
    const found = items.map((thread: { thread_id: string }) => thread.thread_id);
    // A text without words leaves the title.
    expect(found).toEqual(query === 'rocket' ? [replied] : [thread_id, replied]);
  });
});
