import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { createServices, type Services } from '../../src/services.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { emptyDatabase, engines, type Scratch } from '../helpers/engines.ts';
import { lateBy } from '../helpers/late-clock.ts';
import { forThisTest } from '../helpers/process.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { conversation } from '../helpers/threads.ts';
import { copyToFirstVersion, migrateTo } from '../helpers/versions.ts';

const operator = { type: 'operator', name: 'ana' } as const;

/** The last version with the old words. */
const BEFORE = 5;
/** More posts in one thread than a transaction takes. */
const TALK = 150;

/** Titles, first posts and replies; the oldest thread first. */
const texts: [title: string, first: string, ...replies: string[]][] = [
  ['Café in Kraków', 'Where is the kiosk?', 'Behind the station', 'Kiosks everywhere'],
  ['東京都', '住んでいます', '大阪へ行く'],
  ['Talk', 'Begin', ...Array.from({ length: TALK }, (_, n) => `Step ${n} of lynx${n}x`)],
  ['Добрый день', 'οι προτάσεις', 'मराठी भाषा', 'مُحَمَّد'],
  ['🚀', '☞', '!!!'],
  ['Many', Array.from({ length: 10_500 }, (_, n) => `w${n}`).join(' '), 'C++ v1.2.3'],
  ['𐌀𐌁𐌂𐌃𐌄', 'k'.repeat(500)],
];

const queries = [
  ...[
    'cafe krakow',
    'kiosk',
    'behind station',
    'where behind',
    '東京',
    '京都',
    '大阪',
    '住ん',
    'добрый',
    'मराठी',
    'محمد',
  ],
  ...['lynx', 'lynx0x', `lynx${TALK - 1}x`, 'talk lynx77x', '🚀', 'w0', 'w9990', 'c++', '1.2', '𐌀𐌁𐌂𐌃', 'k'.repeat(64)],
  ...['region', 'builder region', 'europe', 'moved', 'validation green', 'sextant', 'astrolabe'],
];

describe.each(engines)('a database whose words are those of an older version, on %s', engine => {
  let scratch: Scratch;
  let source: TestApp;
  let services: Services;
  const config = () => readConfig({ DATABASE_URL: scratch.url, ROLE: 'http' });
  const restart = async () => {
    await services?.close();
    services = await createServices(config(), pino({ level: 'silent' }));
  };

  beforeAll(async () => {
    source = await startApp(engine);
    const { open, post, signal } = conversation((...request) => source.send(...request));
    for (const [title, first, ...replies] of texts) {
      const { thread_id } = await open({ title, body: first });
      for (const body of replies) expect((await post(thread_id, { body })).status).toBe(201);
    }
    await signal('guidance_request', { question: 'Which region?' });
    await signal('guidance_answer', { answer: 'Europe.' });
    await signal('completion', { summary: 'Moved everything' });
    await signal('validation', { done_criteria: 'Green' });
    scratch = await emptyDatabase(engine);
    await copyToFirstVersion(engine, source.url, scratch.url);
    await migrateTo(BEFORE, engine, scratch.url);
    await restart();
  });
  afterAll(async () => {
    await services.close();
    await source.close();
    await scratch.drop();
  });

  const found = async (q: string) =>
    (await services.forum.threadLists.list({ q, limit: 200 })).items.map(thread => thread.title);
  const foundInSource = async (q: string) => {
    const { body } = await source.send('GET', `/threads?q=${encodeURIComponent(q)}&limit=200`);
    return body.items.map((thread: { title: string }) => thread.title);
  };
  const say = async (title: string, body: string) => {
    const { body: all } = await source.send('GET', '/threads?limit=200');
    const { thread_id } = all.items.find((thread: { title: string }) => thread.title === title);
    const { post } = conversation((...request) => source.send(...request));
    expect((await post(thread_id, { body })).status).toBe(201);
    await services.db.write(tx => services.forum.threads.addPost(tx, thread_id, { body, actor: operator }));
  };

  it('starts at once, with nothing found, and takes in what is written', async () => {
    expect(await found('krakow')).toEqual([]);
    const fields = { thread_id: 'new', title: 'New', body: 'A sextant', actor: operator };
    const { open } = conversation((...request) => source.send(...request));
    await open(fields);
    await services.db.write(tx => services.forum.threads.open(tx, fields, operator));
    await say('New', 'Astrolabes');
    await say('Café in Kraków', 'An astrolabe');
    for (const query of ['sextant', 'astrolabe']) expect(await found(query)).toEqual(await foundInSource(query));
  });

  it('is indexed again by and by, the newest threads first, by processes that die after each transaction', async () => {
    lateBy(0.5);
    const seen: string[] = [];
    let transactions = 0;
    for (; services.forum.indexing.isDue; transactions += 1) {
      await services.forum.indexing.run(0);
      if (transactions === 2) await say('Talk', 'Another lynx');
      for (const [title, ...rest] of texts.toReversed()) {
        // What is written meanwhile is found at once, with the title.
        if (title === 'Talk' || title.startsWith('Café')) continue;
        const query = title.length > 4 ? title : String(rest.at(-1));
        if (!seen.includes(title) && (await found(query)).includes(title)) seen.push(title);
      }
      const due = services.forum.indexing.isDue;
      await restart();
      if (!due) break;
    }
    expect(transactions).toBeGreaterThan(3);
    const order = texts.map(([title]) => title).toReversed();
    expect(seen).toEqual(order.filter(title => seen.includes(title)));
  });

  it.each(queries)('answers %s as one that was written today', async query => {
    expect(await found(query)).toEqual(await foundInSource(query));
    expect((await found(query)).length > 0).toBe(query !== 'where behind' && query !== 'builder europe');
  });

  it('holds each text once', async () => {
    for (const place of ['titles', 'openings', 'replies']) {
      const words =
        engine === 'sqlite'
          ? `select term, doc as texts from search_${place}_words order by term`
          : `select word as term, ndoc as texts from ts_stat('select words from search_${place}') order by word collate "C"`;
      expect(await sqlBeside(scratch.url, words)).toEqual(await sqlBeside(source.url, words));
    }
    expect(await sqlBeside(scratch.url, 'select * from search_progress')).toEqual([]);
  });

  it('may be empty', async () => {
    const empty = await forThisTest(emptyDatabase(engine));
    await migrateTo(BEFORE, engine, empty.url);
    const fresh = await createServices(
      readConfig({ DATABASE_URL: empty.url, ROLE: 'http' }),
      pino({ level: 'silent' }),
    );
    try {
      await fresh.forum.indexing.run();
      expect(fresh.forum.indexing.isDue).toBe(false);
    } finally {
      await fresh.close();
    }
  });
});
