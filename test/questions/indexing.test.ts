import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import type { Database } from '../../src/db/database.ts';
import { createQuestionIndexing } from '../../src/questions/indexing.ts';
import { createSearch } from '../../src/search/service.ts';
import { createServices, type Services } from '../../src/services.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { emptyDatabase, engines, type Scratch } from '../helpers/engines.ts';
import { lateBy } from '../helpers/late-clock.ts';
import { forThisTest } from '../helpers/process.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { copyToFirstVersion, migrateTo } from '../helpers/versions.ts';

/** The last version without words of questions. */
const BEFORE = 11;
/** More than a few transactions take. */
const QUESTIONS = 240;
const LONG = Array.from({ length: 800 }, (_, n) => `padding${n}`).join(' ');

describe.each(engines)('a database without the words of its questions, on %s', engine => {
  let scratch: Scratch;
  let source: TestApp;
  let services: Services;
  const restart = async () => {
    await services?.close();
    const config = readConfig({ DATABASE_URL: scratch.url, ROLE: 'http' });
    services = await createServices(config, pino({ level: 'silent' }));
  };

  beforeAll(async () => {
    source = await startApp(engine, { config: { OPEN_QUESTIONS_PER_AGENT: '1000' } });
    for (let n = 0; n < QUESTIONS; n += 1) {
      const options = [{ label: `left${n}` }, { label: `right${n}` }];
      const fields = { question: `Which lynx${n}x?`, context: n % 10 === 0 ? LONG : 'Café', options };
      const { status, body } = await source.send('POST', '/control-signals', signal('guidance_request', fields));
      expect(status, JSON.stringify(body)).toBe(201);
    }
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
    (await services.forum.questionLists.list({ q, limit: 200 })).items.map(({ question }) => question);
  const foundInSource = async (q: string) => {
    const { body } = await source.send('GET', `/questions?q=${encodeURIComponent(q)}&limit=200`);
    return body.items.map(({ question }: { question: string }) => question);
  };
  /** Indexes in so many transactions; the process dies then. @returns whether it came to the end */
  async function indexIn(transactions: number): Promise<boolean> {
    const { db, forum } = services;
    let left = transactions;
    const dying = Object.create(db, {
      write: {
        value: (...args: Parameters<Database['write']>) => {
          if (left === 0) throw new Error('The process is dead.');
          left -= 1;
          return db.write(...args);
        },
      },
    });
    try {
      await createQuestionIndexing({ db: dying, events: forum.events, search: createSearch({ db }) }).run();
      return true;
    } catch (error) {
      expect(error).toMatchObject({ message: 'The process is dead.' });
      return false;
    }
  }

  it('starts at once, finds nothing old, and what is asked from now on', async () => {
    expect(await found('lynx0x')).toEqual([]);
    const asked = signal('guidance_request', { run_id: 'new', question: 'Which sextant?' });
    expect((await source.send('POST', '/control-signals', asked)).status).toBe(201);
    await services.db.write(tx => services.forum.signals.accept(tx, services.forum.signals.commandOf(asked)));
    expect(await found('sextant')).toEqual(await foundInSource('sextant'));
  });

  it('indexes by and by, the newest questions first, by processes that die after each transaction', async () => {
    lateBy(5);
    const reached: number[] = [];
    for (let done = false; !done; ) {
      done = await indexIn(1);
      await restart();
      const at = async (n: number) => (await found(`lynx${n}x`)).length;
      let [first, last] = [0, QUESTIONS];
      // The oldest that is found: those after it are found too.
      while (first < last) {
        const middle = Math.floor((first + last) / 2);
        if ((await at(middle)) > 0) last = middle;
        else first = middle + 1;
      }
      reached.push(first);
      expect(await at(QUESTIONS - 1)).toBe(1);
    }
    expect(reached.at(-1)).toBe(0);
    expect(reached.length).toBeGreaterThan(2);
    expect(reached).toEqual(reached.toSorted((a, b) => b - a));
  });

  it.each(['lynx0x', `lynx${QUESTIONS - 1}x`, 'left77', 'right200', 'cafe lynx3x', 'padding799', 'sextant', 'nowhere'])(
    'answers %s as one that was written today',
    async query => {
      expect(await found(query)).toEqual(await foundInSource(query));
      expect((await found(query)).length > 0).toBe(query !== 'nowhere');
    },
  );

  it('holds each text once, and is done', async () => {
    const words =
      engine === 'sqlite'
        ? 'select term, doc as texts from search_questions_words order by term'
        : `select word as term, ndoc as texts from ts_stat('select words from search_questions') order by word collate "C"`;
    expect(await sqlBeside(scratch.url, words)).toEqual(await sqlBeside(source.url, words));
    expect(await sqlBeside(scratch.url, 'select * from search_questions_left')).toEqual([]);
  });

  it('may be empty', async () => {
    const empty = await forThisTest(emptyDatabase(engine));
    await migrateTo(BEFORE, engine, empty.url);
    const config = readConfig({ DATABASE_URL: empty.url, ROLE: 'http' });
    const fresh = await createServices(config, pino({ level: 'silent' }));
    expect(await sqlBeside(empty.url, 'select * from search_questions_left')).toEqual([]);
    await fresh.forum.questionIndexing.run();
    await fresh.close();
  });
});
