import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { emptyDatabase, type Scratch } from '../helpers/engines.ts';
import { forThisTest } from '../helpers/process.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { conversation } from '../helpers/threads.ts';
import { copyToFirstVersion, migrateTo } from '../helpers/versions.ts';

/** The last version that kept all beginnings of words. */
const BEFORE = 3;

const tables = async (url: string) =>
  (await sqlBeside(url, `select sql from sqlite_master where name like 'search_%' and sql like '%using fts5(%'`)).map(
    row => String(row.sql),
  );

/** Titles, first posts and replies. */
const texts: [title: string, first: string, ...replies: string[]][] = [
  ['Café in Kraków', 'Where is the kiosk?', 'Behind the station', 'Kiosks everywhere'],
  ['東京都', '住んでいます', '大阪へ行く'],
  ['Добрый день', 'οι προτάσεις', 'मराठी भाषा', 'مُحَمَّد'],
  ['한국어 문서', 'iPhone手机坏了', 'ขอความช่วยเหลือด้วย'],
  ['🚀', '☞', '!!!'],
  ['🚀', 'Only said here: sextant', '☞', 'Astrolabe'],
  ['Numbers', '3.14 and 40100', 'v2.10.3'],
  ['Many', Array.from({ length: 3000 }, (_, n) => `word${n}x`).join(' ')],
  ['𐌀𐌁𐌂𐌃𐌄', 'k'.repeat(500)],
];

const queries = [
  ...['cafe krakow', 'krak', 'kiosk', 'kiosks', 'behind station', 'cafe behind', 'where behind', 'kio'],
  ...['東京', '京都', '住んで', '東京 大阪', '大阪', '住 大阪', 'добр', 'προτ', 'добрый προτάσεις', 'मराठी', 'محمد'],
  ...[
    '한국어',
    '문서',
    '手机',
    'iphone',
    'ช่วย',
    'sext',
    'sextant',
    'astrolabe',
    'said astrolabe',
    '3.14',
    '4010',
    '401',
  ],
  ...['v2.10.3', 'word', 'word0x', 'word2999x', 'word0x word2999x', 'word3000x', '𐌀𐌁𐌂𐌃', 'k'.repeat(64), 'kkkk'],
  ...['awaiting', 'region', 'europe', 'builder region', 'builder europe', 'moved', 'validation green'],
];

describe('a SQLite file of the version that kept all beginnings of words', () => {
  let scratch: Scratch;
  let source: TestApp;
  let upgraded: TestApp;
  beforeAll(async () => {
    source = await startApp('sqlite');
    const { open, post, signal } = conversation((...request) => source.send(...request));
    for (const [title, first, ...replies] of texts) {
      const { thread_id } = await open({ title, body: first });
      for (const body of replies) expect((await post(thread_id, { body })).status).toBe(201);
    }
    await signal('guidance_request', { question: 'Which region?' });
    await signal('guidance_answer', { answer: 'Europe.' });
    await signal('completion', { summary: 'Moved everything' });
    await signal('validation', { done_criteria: 'Green' });
    scratch = await emptyDatabase('sqlite');
    await copyToFirstVersion('sqlite', source.url, scratch.url);
    await migrateTo(BEFORE, 'sqlite', scratch.url);
    expect(await tables(scratch.url)).toEqual(Array(3).fill(expect.stringContaining('prefix')));
    upgraded = await startApp('sqlite', { database: scratch });
  });
  afterAll(async () => {
    await Promise.all([source.close(), upgraded.close()]);
    await scratch.drop();
  });

  const find = async (service: TestApp, query: string) => {
    const { status, body } = await service.send('GET', `/threads?q=${encodeURIComponent(query)}&limit=200`);
    expect(status, query).toBe(200);
    return body.items.map((thread: { title: string }) => thread.title);
  };

  it('keeps none of them', async () => {
    expect(await tables(scratch.url)).toEqual(Array(3).fill(expect.not.stringContaining('prefix')));
  });

  it.each(queries)('answers %s as one that was written today', async query => {
    expect(await find(upgraded, query)).toEqual(await find(source, query));
  });

  it('has what is asked for here', async () => {
    const found = await Promise.all(queries.map(async query => (await find(upgraded, query)).length > 0));
    const nowhere = [
      'where behind',
      'kio',
      '住 大阪',
      'said astrolabe',
      '401',
      'word3000x',
      'awaiting',
      'builder europe',
    ];
    expect(queries.filter((_, index) => !found[index])).toEqual(nowhere);
  });

  it('takes in and finds what comes after', async () => {
    const { open, post } = conversation((...request) => upgraded.send(...request));
    const { thread_id } = await open({ title: 'Krakens', body: 'A sextant 大阪' });
    expect(await find(upgraded, 'krak')).toEqual(['Krakens', 'Café in Kraków']);
    expect(await find(upgraded, 'sextant')).toEqual(['Krakens', '🚀']);
    expect(await find(upgraded, '大阪')).toEqual(['Krakens', '東京都']);
    await post(thread_id, { body: 'Astrolabes' });
    expect(await find(upgraded, 'astrolabe')).toEqual(['Krakens', '🚀']);
  });

  it('may be empty', async () => {
    const database = await forThisTest(emptyDatabase('sqlite'));
    await migrateTo(BEFORE, 'sqlite', database.url);
    const service = await startApp('sqlite', { database });
    onTestFinished(service.close);
    expect(await find(service, 'sextant')).toEqual([]);
    const { open } = conversation(service.send);
    await open({ title: 'First', body: 'A sextant' });
    expect(await find(service, 'sextant')).toEqual(['First']);
  });
});
