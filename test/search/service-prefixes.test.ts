import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { allItems } from '../helpers/pages.ts';
import { conversation } from '../helpers/threads.ts';

/** More than are asked for one by one, in each place. */
const WORDS = 105;
/** A number in letters. */
const letters = (n: number) => [...n.toString().padStart(3, '0')].map(digit => 'abcdefghij'[Number(digit)]).join('');

describe.each(engines)('the beginning of a word on %s', engine => {
  let service: TestApp;
  /** The numbers of words, and the threads that hold them. */
  const titles: string[] = [];
  const openings: string[] = [];
  const replies: string[] = [];
  let talk = '';
  beforeAll(async () => {
    service = await startApp(engine);
    const silent = await open({ title: 'Silence', body: 'Nothing' });
    for (let n = 0; n < WORDS; n += 1) {
      titles.push((await open({ title: `Tamarind${letters(n)}`, body: 'Fruit' })).thread_id);
      openings.push((await open({ title: 'Fruit', body: `A tamarind${letters(n)} and figs` })).thread_id);
      const { thread_id } = await open({ title: 'Fruit', body: 'Which?' });
      await post(thread_id, { body: `Tamarinds, tamarind${letters(n)}` });
      replies.push(thread_id);
    }
    talk = silent.thread_id;
    await post(talk, { body: Array.from({ length: 300 }, (_, n) => `mangosteen${letters(n)}`).join(', ') });
    await post(talk, { body: 'lime limes lim limestone limestones' });
  });
  afterAll(() => service.close());

  const { open, post } = conversation((...request) => service.send(...request));
  const find = async (query: string, filters = ''): Promise<string[]> => {
    const get = (path: string) => service.send('GET', path);
    const threads = await allItems(get, `/threads?q=${encodeURIComponent(query)}${filters}`);
    return threads.map(thread => thread.thread_id);
  };

  it('finds all the words that begin so, however many they are, and each thread once, in order', async () => {
    const expected = [titles, openings, replies].flatMap(threads => threads.toReversed());
    for (const query of ['tamarind', 'TAMARIND', 'tama', 'támari']) expect(await find(query), query).toEqual(expected);
  });

  it('finds all of them beside other words and other beginnings', async () => {
    expect(await find('tama figs')).toEqual(openings.toReversed());
    expect(await find('tamarinds tama frui')).toEqual(replies.toReversed());
    const inFirstPosts = titles.flatMap((title, n) => [title, openings[n]]).toReversed();
    expect(await find('tama frui')).toEqual([...inFirstPosts, ...replies.toReversed()]);
    expect(await find('tama mang')).toEqual([]);
  });

  it('finds each of those that are fewer', async () => {
    for (let n = 0; n < WORDS; n += 13) {
      const found = [titles[n], openings[n], replies[n]];
      expect(await find(`tamarind${letters(n)}`)).toEqual(found);
    }
    const hundreds = (threads: string[]) => threads.slice(100).toReversed();
    expect(await find('tamarindb')).toEqual([...hundreds(titles), ...hundreds(openings), ...hundreds(replies)]);
  });

  it('finds a text with very many of them', async () => {
    for (const query of ['mang', 'mangosteen', 'mangosteena', 'mangosteencjj mang']) {
      expect(await find(query), query).toEqual([talk]);
    }
    expect(await find('mangosteenx')).toEqual([]);
  });

  it.each([
    ['lim', true],
    ['lime', true],
    ['limes', true],
    ['limest', true],
    ['limestones', true],
    ['limestonesx', false],
    ['li', false],
    ['mango', true],
    ['man', false],
    ['tam', false],
  ])('counts from four letters on: %s', async (query, found) => {
    expect((await find(query)).length > 0).toBe(found);
  });
});
