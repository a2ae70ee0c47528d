import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { conversation } from '../helpers/threads.ts';

/** A kind of text, and whether a query's part of it is found in a text's part. */
interface Kind {
  part: fc.Arbitrary<string>;
  matches: (text: string, query: string) => boolean;
}

const of = (units: string[], maxLength: number) =>
  fc.array(fc.constantFrom(...units), { minLength: 1, maxLength }).map(parts => parts.join(''));
const isWord = (text: string, query: string) => text === query || (query.length > 3 && text.startsWith(query));

// As they are after folding; few characters, so that much matches.
const kinds: Record<string, Kind> = {
  latin: { part: of(['a', 'b'], 6), matches: isWord },
  devanagari: { part: of(['क', 'कि', 'का'], 3), matches: isWord },
  tamil: { part: of(['த', 'தி', 'து'], 3), matches: isWord },
  kana: { part: of(['か', 'が', 'は', 'ぱ', '東'], 3), matches: (text, query) => text.includes(query) },
  thai: { part: of(['ก', '่', 'า'], 3), matches: (text, query) => text.includes(query) },
  beyond: { part: of(['𠀀', '𠀁'], 3), matches: (text, query) => text.includes(query) },
  hangul: { part: of(['키', '를', '가'], 4), matches: (text, query) => text.startsWith(query) },
  names: {
    part: fc.constantFrom('c', 'c#', 'c++', 'f#'),
    matches: (text, query) => text === query || text.replace(/[#+]+$/, '') === query,
  },
  versions: {
    part: fc.array(fc.constantFrom('1', '2', '12'), { minLength: 2, maxLength: 4 }).map(parts => parts.join('.')),
    matches: (text, query) => `.${text}.`.includes(`.${query}.`),
  },
  emoji: {
    part: fc.constantFrom('🚀', '👍', '👍🏽', '👩‍👩‍👧', '👩', '👧', '🇪🇺', '🇺🇪'),
    matches: (text, query) => [text, text.replace('🏽', ''), ...text.split('\u200d')].includes(query),
  },
};

interface Part {
  kind: string;
  text: string;
}

const part: fc.Arbitrary<Part> = fc.oneof(
  ...Object.entries(kinds).map(([kind, { part: text }]) => fc.record({ kind: fc.constant(kind), text })),
);

/** Ways to write the same. */
const looks: ((text: string) => string)[] = [
  text => text,
  text => text.normalize('NFD'),
  text => text.normalize('NFC'),
  text => text.toUpperCase(),
  text => text.replaceAll(/[abc]/g, letter => `${letter}${'\u0316\u0301'.repeat(letter === 'a' ? 20 : 1)}`),
];
const look = fc.constantFrom(...looks);

const holds = (text: Part[], query: Part[]) =>
  query.every(asked =>
    text.some(({ kind, text: has }) => kind === asked.kind && kinds[kind]?.matches(has, asked.text)),
  );
const written = (parts: Part[], as: (text: string) => string) => parts.map(({ text }) => as(text)).join(' ');

const RUNS = 40;

describe.each(engines)('a search in all scripts on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());
  const { open } = conversation((...request) => service.send(...request));

  it('finds what a look at each text finds', { timeout: 60_000 }, async () => {
    let runs = 0;
    const texts = fc.array(fc.tuple(fc.array(part, { maxLength: 6 }), look), { minLength: 1, maxLength: 6 });
    const queries = fc.array(fc.tuple(fc.array(part, { minLength: 1, maxLength: 2 }), look), { maxLength: 12 });
    await fc.assert(
      fc.asyncProperty(texts, queries, async (bodies, asked) => {
        runs += 1;
        const ticket = `scripts-${runs}`;
        const ids: string[] = [];
        for (const [parts, as] of bodies)
          ids.push((await open({ title: '-', body: `- ${written(parts, as)}`, ticket })).thread_id);
        for (const [parts, as] of asked) {
          const query = written(parts, as);
          const { body } = await service.send('GET', `/threads?q=${encodeURIComponent(query)}&ticket=${ticket}`);
          const found = body.items.map((thread: { thread_id: string }) => thread.thread_id);
          expect(found, query).toEqual(ids.filter((_, index) => holds(bodies[index]?.[0] ?? [], parts)).toReversed());
        }
      }),
      { numRuns: RUNS },
    );
  });
});
