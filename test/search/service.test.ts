import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Thread } from '../../src/threads/schemas.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { conversation, operator } from '../helpers/threads.ts';

/** A text, and what is asked for; whether the text has it. */
const questions: [text: string, query: string, found: boolean][] = [
  ['The deployment failed', 'deployment', true],
  ['The deployment failed', 'deploy', true],
  ['The deployment failed', 'depl', true],
  ['The deployment failed', 'fail the deploy', true],
  ['The deployment failed', 'deployments', false],
  ['The deployment failed', 'ployment', false],
  // Too many words begin with a few letters: fewer than four stand for themselves.
  ['The deployment failed', 'dep', false],
  ['The deployment failed', 'fail th deploy', false],
  ['The deployment failed', 'd', false],
  ['Plan B it is', 'b', true],
  ['Which REGION?', 'region', true],
  ['which region?', 'REGION', true],
  ['Добрый день', 'ДОБР', true],
  ['οι προτάσεις', 'ΠΡΟΤ', true],
  // The last letter of a Greek word has a small form of its own, but not in the middle of a longer one.
  ['οι προσωπικές', 'ΠΡΟΣ', true],
  ['ο δρόμος', 'ΔΡΟΜΟΣ', true],
  ['Café au lait', 'cafe', true],
  ['Cafe au lait', 'CAFÉ', true],
  ['Cafe\u0301 au lait', 'Caf\u00e9', true],
  ['Łódź, Kraków', 'krakow', true],
  ['İzmir', 'izmir', true],
  ['ёлка', 'елка', true],
  ['مُحَمَّد', 'محمد', true],
  ['हिन्दी में', 'हिन्दी', true],
  ['ﬁle ＡＢＣ１２３', 'file abc123', true],
  ['listening on port 4010', '4010', true],
  ['listening on port 40100', '4010', true],
  ['listening on port 4010', '401', false],
  ['pi is 3.14', '3.14', true],
  ['release v2.10.3', 'v2.10.3', true],
  ['see src/app.ts:17', 'src/app.ts', true],
  ['see src/app.ts:17', 'app.ts', true],
  ['see src/app.ts:17', 'src/lib.ts', false],
  ['in run_7 again', 'run_7', true],
  ['in run_77 again', 'run_7', false],
  ["I don't know", "don't", true],
  ['I don’t know', "DON'T", true],
  ['I don’t know', 'dont', false],
  ['parseHTMLDocument', 'parsehtml', true],
  ['a@b.example', 'a@b.example', true],
  ['東京都に住んでいます', '東京', true],
  ['東京都に住んでいます', '京都', true],
  ['東京都に住んでいます', '都', true],
  ['東京都に住んでいます', '大阪', false],
  ['カタカナとひらがな', 'ひら', true],
  ['ｶﾞｲﾄﾞ', 'ガイド', true],
  ['iPhone手机坏了', '手机', true],
  ['iPhone手机坏了', 'iphone', true],
  ['한국어 문서', '한국', true],
  ['한국어 문서', '국어', false],
  ['ขอความช่วยเหลือด้วย', 'ช่วย', true],
  ['ขอความช่วยเหลือด้วย', 'ภาษา', false],
  ['မင်္ဂလာပါ', 'မင်္ဂလာပါ', true],
  // Punctuation of these scripts is no word either.
  ['မင်္ဂလာပါ', 'မင်္ဂလာပါ။', true],
  ['ភាសាខ្មែរ', 'ភាសា។', true],
  ['ship it 🚀', 'ship 🚀', true],
  ['ship it 🚀', '🚀', true],
  ['ship it 🚀', '👍', false],
  ['👍🏽 from me', '👍', true],
  ['👍🏽 from me', '👍🏽', true],
  ['👍🏽 from me', '👍🏿', false],
  ['👍 from me', '👍🏽', false],
  ['I ❤️ it', '❤', true],
  ['I ❤ it', '❤️', true],
  ['our 👩‍👩‍👧', '👩‍👩‍👧', true],
  ['our 👩‍👩‍👧', '👩', true],
  ['our 👩‍👩‍👧', '👨‍👩‍👧', false],
  ['a 👩🏽‍💻 at work', '👩‍💻', true],
  ['a 👩🏽‍💻 at work', '💻', true],
  ['in the 🇪🇺', '🇪🇺', true],
  ['in the 🇪🇺', '🇺🇪', false],
  ['press #️⃣ and 1️⃣', '#️⃣', true],
  ['press #️⃣ and 1️⃣', '*️⃣', false],
  ['press #️⃣ and 1️⃣', '1', true],
  // Signs that belong to a name.
  ['written in C#', 'C#', true],
  ['written in C#', 'c#', true],
  ['written in Ｃ＃', 'C#', true],
  ['written in C#', 'C', true],
  ['written in C#.', 'C#!', true],
  ['written in C++', 'C++', true],
  ['written in C++', 'C#', false],
  ['written in C#', 'C++', false],
  ['written in C', 'C++', false],
  ['written in C++17', 'c++', true],
  ['written in F#, and C', 'C#', false],
  ['Notepad++ crashes', 'notepad++', true],
  ['Notepad++ crashes', 'notepad', true],
  ['see issue #12', 'issue#12', true],
  ['a + b', 'a+b', true],
  // Numbers with dots.
  ['release v1.2.3', '1.2', true],
  ['release v1.2.3', '2.3', true],
  ['release v1.2.3', '1.2.3', true],
  ['release v1.2.3', 'v1.2.3', true],
  ['release v1.2.3', 'V1.2', true],
  ['release v1.2.3', 'v1', true],
  ['release v1.2.3', '1.3', false],
  ['release v1.2.3', '3.2', false],
  ['release v1.2.3', '1.2.4', false],
  ['release v2.1', '1.2', false],
  ['release v11.2', '1.2', false],
  ['release v1.20', '1.2', false],
  ['runs on python3.11', '3.11', true],
  ['runs on python3.11', 'python3.11', true],
  ['at 192.168.10.7', '192.168.10.7', true],
  ['at 192.168.10.7', '168.10', true],
  ['at 192.168.10.7', '192.10', false],
  ['version 1.2.3-rc.1+build', '1.2.3-rc.1', true],
  // Particles.
  ['키를 바꿨다', '키', true],
  ['키를 바꿨다', '키를', true],
  ['키 없음', '키를', false],
  ['서버가 죽었다', '서버', true],
  ['죽은 서버', '버', false],
  ['API를 부른다', 'API', true],
  ['API를 부른다', 'api를', true],
  ['3개 남음', '3', true],
  ['서버가 죽었다'.normalize('NFD'), '서버', true],
  ['서버가 죽었다', '서버'.normalize('NFD'), true],
  // Marks that are letters.
  ['की', 'का', false],
  ['की', 'की', true],
  ['की', 'क', false],
  ['हिन्दी', 'हन्द', false],
  ['தமிழ்', 'தமழ', false],
  ['தமிழ்', 'தமிழ்', true],
  ['ไม่', 'ไม่', true],
  ['ไม', 'ไม่', false],
  ['น้ำ', 'นำ', false],
  ['ກ່', 'ກ້', false],
  ['か', 'が', false],
  ['がくせい', 'が', true],
  ['がくせい', 'か', false],
  ['か\u3099くせい', 'がく', true],
  ['がくせい', 'か\u3099く', true],
  ['パン', 'ハン', false],
  ['ﾊﾟﾝ', 'パン', true],
  ['コーヒー', 'コヒ', false],
  ['コーヒー', 'ヒー', true],
  // Adjacent characters, in their order.
  ['京東', '東京', false],
  ['京都は東京の西', '東京都', false],
  ['東京都は京都の東', '東京都', true],
  ['東京 都', '東京都', false],
  ['東京の大阪', '東京大阪', false],
  ['東京大阪市', '東京大阪', true],
  ['𠀀𠀁𠀂', '𠀀𠀁', true],
  ['𠀀𠀁𠀂', '𠀁𠀀', false],
  ['ภาษา\u200bไทย', 'ภาษาไทย', true],
  // Strokes and ligatures.
  ['Łódź', 'lodz', true],
  ['lodz', 'ŁÓDŹ', true],
  ['Ørsted', 'orsted', true],
  ['Đà Nẵng', 'da nang', true],
  ['Straße', 'STRASSE', true],
  ['STRASSE', 'straße', true],
  ['STRAẞE', 'strasse', true],
  ['Æther', 'aether', true],
  ['hors d’œuvre', 'oeuvre', true],
  ['Þór', 'thor', true],
  ['ısı', 'isi', true],
  ['de\u00adploy', 'deploy', true],
  ['\u202ehazelnut\u202c', 'hazelnut', true],
  ['مُحَمَّد', 'محمّد', true],
  ['שָׁלוֹם', 'שלום', true],
  [`a${'\u0316\u0301'.repeat(32_767)}`, 'a', true],
  ['Either or both', 'either OR both', true],
  ['Either of both', 'either OR both', false],
  ['Both of them', 'NOT both', false],
];

describe.each(engines)('a search on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const { open, post, change, signal, mark, view } = conversation((...request) => service.send(...request));
  const search = async (q: string, filters = ''): Promise<Thread[]> => {
    const { status, body } = await service.send('GET', `/threads?q=${encodeURIComponent(q)}${filters}`);
    expect(status, q).toBe(200);
    return body.items;
  };
  const find = async (q: string, filters = '') => (await search(q, filters)).map(thread => thread.thread_id);

  it.each(questions.map((row, index) => [...row, index] as const))('of "%s" for "%s": %s', async (...row) => {
    const [text, query, found, index] = row;
    const ticket = `question-${index}`;
    const { thread_id } = await open({ title: '☞', body: text, ticket });
    expect(await find(query, `&ticket=${ticket}`)).toEqual(found ? [thread_id] : []);
  });

  it('looks into the title, the first post and the replies', async () => {
    const { thread_id } = await open({ title: 'Quartz', body: 'Basalt' });
    await post(thread_id, { body: 'Granite' });
    for (const word of ['quartz', 'basalt', 'granite']) expect(await find(word)).toEqual([thread_id]);
  });

  it('looks into what control signals say, and the title of their thread', async () => {
    const agent_name = 'stonemason';
    const asked = await signal('guidance_request', { agent_name, question: 'Marble or slate?' });
    await signal('guidance_answer', { agent_name, answer: 'Travertine.' });
    await signal('completion', { agent_name, summary: 'Laid the sandstone.' });
    await signal('validation', { agent_name, done_criteria: 'The limestone holds.' });
    for (const word of ['stonemason', 'marble', 'travertine', 'sandstone', 'limestone', 'validation passed']) {
      expect(await find(word), word).toEqual([asked.body.thread.thread_id]);
    }
  });

  it('wants all the words, in the title together with one post', async () => {
    const { thread_id } = await open({ title: 'Copper', body: 'Zinc and lead' });
    await post(thread_id, { body: 'Nickel and cobalt' });
    await post(thread_id, { body: 'Tungsten' });
    for (const q of ['copper', 'zinc lead', 'lead copper zinc', 'cobalt copper', 'nickel cobalt', 'tungsten COPPER']) {
      expect(await find(q), q).toEqual([thread_id]);
    }
    for (const q of ['zinc nickel', 'copper zinc tungsten', 'nickel tungsten', 'copper iron']) {
      expect(await find(q), q).toEqual([]);
    }
  });

  it('reads replies in control threads without the title, which is made of names', async () => {
    const agent_name = 'goldsmith';
    const { thread_id } = (await signal('guidance_request', { agent_name, question: 'Silver?' })).body.thread;
    await signal('guidance_answer', { agent_name, answer: 'Platinum.' });
    for (const q of ['goldsmith', 'goldsmith silver', 'platinum']) expect(await find(q), q).toEqual([thread_id]);
    for (const q of ['goldsmith platinum', 'silver platinum']) expect(await find(q), q).toEqual([]);
  });

  it('finds a post as soon as its write is answered', async () => {
    const { thread_id } = await open({ body: 'Begin.' });
    for (let step = 0; step < 20; step += 1) {
      await post(thread_id, { body: `Step lynx${step}x` });
      expect(await find(`lynx${step}x`)).toEqual([thread_id]);
    }
  });

  it('finds nothing of a write that was refused', async () => {
    const { thread_id } = await open({ thread_id: 'taken', body: 'First.' });
    const { thread_id: shut } = await open({ body: 'First.' });
    await post(shut, { state: 'closed' });
    await signal('completion', { agent_name: 'mole' });
    const said = { body: 'Heron', question: 'Heron?', answer: 'Heron', summary: 'Heron' };
    expectProblem(
      await service.send('POST', '/threads', { title: 'Heron', body: 'Heron', actor: operator, thread_id }),
      'THREAD_EXISTS',
    );
    expectProblem(await post(shut, { body: said.body }), 'THREAD_CLOSED');
    expectProblem(await post(thread_id, { body: said.body, state: 'nowhere' }), 'VALIDATION_FAILED');
    await post(thread_id, { state: 'answered' });
    expectProblem(await post(thread_id, { body: said.body, state: 'triaged' }), 'TRANSITION_NOT_ALLOWED');
    const { question, answer, summary } = said;
    expectProblem(await signal('guidance_request', { agent_name: 'mole', question, attempt: 7 }), 'STALE_ATTEMPT');
    expectProblem(await signal('guidance_answer', { agent_name: 'mole', answer }), 'NO_OPEN_QUESTION');
    expectProblem(await signal('completion', { agent_name: 'mole', summary, attempt: 7 }), 'STALE_ATTEMPT');
    expect(await find('heron')).toEqual([]);
  });

  it('ranks a title before a first post before a reply, then the newest thread first', async () => {
    const texts = ['Falcon: One', 'Two: A falcon', 'Three: Three', 'Falcons: Four', 'Five: Falcon falcon', 'Six: Six'];
    const threads: string[] = [];
    for (const [index, text] of texts.entries()) {
      const [title, body] = text.split(': ');
      threads.push((await open({ title, body, priority: index < 3 ? 'urgent' : 'low' })).thread_id);
    }
    const [one, two, three, four, five, six] = threads as [string, string, string, string, string, string];
    // The newest post is in the oldest thread, and what is urgent comes no earlier.
    for (const id of [six, three, one]) await post(id, { body: 'It was a falcon' });
    expect(await find('falcon')).toEqual([four, one, five, two, six, three]);
    // With a word that only one of its replies has, a thread ranks among the replies.
    expect(await find('was falcon')).toEqual([six, three, one]);
  });

  it('answers each thread once', async () => {
    const { thread_id } = await open({ title: 'Otter otter', body: 'An otter' });
    for (const body of ['Otters', 'otter', 'Otter?']) await post(thread_id, { body });
    expect(await find('otter')).toEqual([thread_id]);
    expect(await find('otter otter OTTER')).toEqual([thread_id]);
  });

  describe('with a filter', () => {
    const ids: Record<string, string> = {};
    beforeAll(async () => {
      // The one that is found last is the first, as the newest thread comes first.
      const asked = (await signal('guidance_request', { question: 'Walnut?', run_id: 'grove' })).body.thread.thread_id;
      const fields = { title: 'Walnut', run_id: 'grove', agent_name: 'picker', ticket: 'T-9', priority: 'high' };
      const rich = (await open(fields)).thread_id;
      await change(rich, { assignee: 'bo', state: 'triaged' });
      const calm = (await open({ title: 'Walnut', actor: operator })).thread_id;
      const shut = (await open({ title: 'Walnut' })).thread_id;
      await post(shut, { state: 'closed' });
      await open({ ...fields, title: 'Chestnut', body: 'No nuts here' });
      for (const seen of [calm, asked]) await mark(seen, 'human:ana');
      Object.assign(ids, { asked, rich, calm, shut });
    });

    it.each([
      ['', ['shut', 'calm', 'rich', 'asked']],
      ['ticket=T-9', ['rich']],
      ['run_id=grove', ['rich', 'asked']],
      ['agent_name=picker', ['rich']],
      ['agent_name=builder&run_id=grove', ['asked']],
      ['state=new', ['calm']],
      ['state=triaged', ['rich']],
      ['state=waiting_operator', ['asked']],
      ['state=closed', ['shut']],
      ['priority=high', ['rich']],
      ['priority=normal', ['shut', 'calm', 'asked']],
      ['priority=urgent', []],
      ['assignee=bo', ['rich']],
      ['kind=control', ['asked']],
      ['kind=discussion', ['shut', 'calm', 'rich']],
      ['queue=unanswered', ['rich', 'asked']],
      ['queue=unanswered&kind=discussion', ['rich']],
      ['queue=unseen&viewer=human:ana', ['shut', 'rich']],
      ['queue=unseen&viewer=human:bo', ['shut', 'calm', 'rich', 'asked']],
      ['queue=unseen&viewer=human:ana&state=closed', ['shut']],
      ['ticket=T-9&run_id=grove&agent_name=picker&state=triaged&priority=high&assignee=bo', ['rich']],
    ])('keeps what fits: %s', async (filter, expected) => {
      // Titles come first, so the question is last although nothing else would say so.
      expect(await find('walnut', `&${filter}`)).toEqual(expected.map(name => ids[name]));
    });

    it('says for a viewer what is unseen, as a look at the thread does', async () => {
      const threads = await search('walnut', '&viewer=human:ana');
      expect(threads.map(({ unseen }) => unseen)).toEqual([true, false, true, false]);
      for (const thread of threads) expect(thread).toEqual(await view(thread.thread_id, 'human:ana'));
    });

    it('needs to know whose unseen threads are meant', async () => {
      expectProblem(await service.send('GET', '/threads?q=walnut&queue=unseen'), 'VALIDATION_FAILED');
    });
  });
});
