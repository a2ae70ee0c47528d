import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ProblemCode } from '../../src/errors.ts';
import type { Answer, TestApp } from '../helpers/app.ts';
import { boundAgent, SECRET, type Things } from '../helpers/bound-agent.ts';
import { withoutTrace } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { signal } from '../helpers/signals.ts';
import type { Tokens } from '../helpers/tokens.ts';
import { SOON_MS, timed } from '../helpers/waits.ts';

type Send = TestApp['send'];
type Request = [...Parameters<Send>];

describe.each(engines)("an agent's token on %s", engine => {
  let service: TestApp;
  let tokens: Tokens;
  let agent: Send;
  /** Of the agent itself, of another agent in its run, and of another run. */
  let own: Things;
  let tester: Things;
  let foreign: Things;
  let loose: string;
  beforeAll(async () => {
    ({ service, tokens, agent, own, tester, foreign, loose } = await boundAgent(engine));
  });
  afterAll(() => service.close());

  const refused = async (code: ProblemCode, ...requests: Request[]) => {
    const send = async () => {
      for (const request of requests) expectProblem(await agent(...request), code);
    };
    // A look at the whole database takes its time; that reads write nothing is what other tests say.
    if (requests.some(([method]) => method !== 'GET')) await withoutTrace(service.url, send);
    else await send();
  };
  /** What an answer says, apart from the id that it was asked for. */
  const said = ({ status, headers, body }: Answer, id: string) => {
    const { date: _date, 'x-request-id': _id, 'content-length': _length, ...rest } = headers;
    const { request_id: _request, ...problem } = body;
    return { status, rest, text: JSON.stringify(problem).replaceAll(id, '{id}') };
  };

  describe('for itself', () => {
    it('sends its signals, also with white space around the names', async () => {
      for (const names of [{}, { run_id: ' run-1\n', agent_name: '\tbuilder ' }]) {
        for (const type of ['completion', 'validation']) {
          const { status, body } = await agent('POST', '/control-signals', signal(type, names));
          expect(status).toBe(201);
          expect(body.signal).toMatchObject({ run_id: 'run-1', actor: { type: 'agent', name: 'builder' } });
        }
      }
    });

    it.each([
      ['another agent', { agent_name: 'tester' }],
      ['another run', { run_id: 'run-2' }],
      ['a run that is not there', { run_id: 'run-9' }],
      ['a run whose name only looks alike', { run_id: 'run\u20101' }],
      ['a name in other case', { agent_name: 'Builder' }],
      ['a name composed otherwise', { agent_name: 'builder\u0301' }],
    ])('sends none for %s', async (_, names) => {
      const types = ['guidance_request', 'guidance_answer', 'completion', 'validation'];
      await refused('FORBIDDEN', ...types.map((type): Request => ['POST', '/control-signals', signal(type, names)]));
    });

    it('answers no question, its own neither', async () => {
      const answer = (in_reply_to: string) => signal('guidance_answer', { in_reply_to });
      const put = ({ question_id }: Things): Request => [
        'PUT',
        `/questions/${question_id}/answer`,
        { answer: 'Europe.' },
      ];
      const all = [own, tester, foreign];
      await refused(
        'FORBIDDEN',
        ...all.map(({ question_id }): Request => ['POST', '/control-signals', answer(question_id)]),
      );
      await refused('FORBIDDEN', put(own), put(tester));
      await refused('QUESTION_NOT_FOUND', put(foreign));
    });

    it('cancels and acknowledges what it has asked, and nothing else', async () => {
      for (const act of ['cancel', 'acknowledge'] as const) {
        const mine = (await agent('POST', '/control-signals', signal('guidance_request'))).body.question.question_id;
        if (act === 'acknowledge') await agent('POST', `/questions/${mine}/cancel`);
        const of = (thing: Things) =>
          [thing.ended, thing.question_id].map((id): Request => ['POST', `/questions/${id}/${act}`, {}]);
        await refused('FORBIDDEN', ...of(tester));
        await refused('QUESTION_NOT_FOUND', ...of(foreign));
        expect((await agent('POST', `/questions/${mine}/${act}`, {})).status).toBe(200);
      }
    });

    it('supersedes its own questions; those of another run are not there for it', async () => {
      const ask = (supersedes: string): Request => [
        'POST',
        '/control-signals',
        signal('guidance_request', { supersedes }),
      ];
      await refused('QUESTION_MISMATCH', ask(tester.question_id));
      await refused('QUESTION_CLOSED', ask(own.ended));
      await refused('QUESTION_NOT_FOUND', ask(foreign.question_id), ask(foreign.ended), ask('q_0'));
    });
  });

  describe('for its run', () => {
    /** Everything with an id, and the same request for something that is not there. */
    const byId: [string, (thing: Things) => Request, (absent: string) => Request][] = [
      ['a signal', t => ['GET', `/control-signals/${t.signal_id}`], id => ['GET', `/control-signals/${id}`]],
      ['a question', t => ['GET', `/questions/${t.question_id}`], id => ['GET', `/questions/${id}`]],
      [
        'a waiting question',
        t => ['GET', `/questions/${t.question_id}?wait=50`],
        id => ['GET', `/questions/${id}?wait=50`],
      ],
      [
        'the news of a question',
        t => ['GET', `/questions/${t.question_id}?wait=50&after_version=0`],
        id => ['GET', `/questions/${id}?wait=50&after_version=0`],
      ],
      ['a thread', t => ['GET', `/threads/${t.thread_id}`], id => ['GET', `/threads/${id}`]],
      ['a control thread', t => ['GET', `/threads/${t.control}`], id => ['GET', `/threads/${id}`]],
      ['posts', t => ['GET', `/threads/${t.thread_id}/posts`], id => ['GET', `/threads/${id}/posts`]],
      [
        'a page of posts',
        t => ['GET', `/threads/${t.thread_id}/posts?cursor=x`],
        id => ['GET', `/threads/${id}/posts?cursor=x`],
      ],
      [
        'a post',
        t => ['POST', `/threads/${t.thread_id}/posts`, { body: 'Hm.' }],
        id => ['POST', `/threads/${id}/posts`, { body: 'Hm.' }],
      ],
      [
        'a mark',
        t => ['PUT', `/threads/${t.thread_id}/reads/agent:builder`, {}],
        id => ['PUT', `/threads/${id}/reads/agent:builder`, {}],
      ],
    ];

    it.each(byId)('%s of its own and of its neighbour is there, of another run not', async (_, ask, absently) => {
      const soon = async (request: Request) => {
        const { took, ...answer } = await timed(agent(...request));
        expect(took).toBeLessThan(SOON_MS);
        return answer;
      };
      const [method, path] = ask(foreign);
      const id = Object.values(foreign).find(one => path.includes(one)) as string;
      const absent = `${id.slice(0, -4)}0000`;
      const foreignAnswer = await withoutTrace(service.url, () => soon(ask(foreign)));
      expect(foreignAnswer.status).toBe(404);
      expect(said(foreignAnswer, id)).toEqual(said(await soon(absently(absent)), absent));
      if (method === 'GET') {
        expect((await agent('HEAD', path)).status).toBe(404);
        const tagged = await agent('GET', path, undefined, { 'if-none-match': '*, "1", "2"' });
        expect(said(tagged, id)).toEqual(said(foreignAnswer, id));
        expect(tagged.headers.etag).toBeUndefined();
      }
      if (path.includes('wait') || path.includes('cursor')) return;
      for (const thing of [own, tester]) expect((await agent(...ask(thing))).status).toBeLessThan(300);
    });

    it('a thread without a run is not there', async () => {
      await refused(
        'THREAD_NOT_FOUND',
        ['GET', `/threads/${loose}`],
        ['GET', `/threads/${loose}/posts`],
        ['POST', `/threads/${loose}/posts`, { body: 'Hm.' }],
      );
    });

    it('what has a name is refused by it in another run, there or not', async () => {
      for (const run of ['run-2', 'run-9', '%20run-2%20', 'run-1%2F..%2Frun-2', 'RUN-1']) {
        await refused(
          'FORBIDDEN',
          ['GET', `/runs/${run}`],
          ['GET', `/runs/${run}?wait=50`],
          ['GET', `/runs/${run}?wait=50&after_version=0`],
          ['GET', `/control-threads/${run}/builder`],
        );
        expect((await agent('HEAD', `/runs/${run}`)).status).toBe(403);
        const tagged = await agent('GET', `/runs/${run}`, undefined, { 'if-none-match': '*' });
        expectProblem(tagged, 'FORBIDDEN');
      }
      expect((await agent('GET', '/runs/run-1')).status).toBe(200);
      expect((await agent('GET', '/runs/%20run-1%20')).body.run_id).toBe('run-1');
      for (const name of ['builder', 'tester']) {
        expect((await agent('GET', `/control-threads/run-1/${name}`)).status).toBe(200);
      }
    });

    it('threads are opened in it only, and say in which run they are', async () => {
      const talk = { title: 'Region', body: 'Which one?' };
      await refused('FORBIDDEN', ['POST', '/threads', talk], ['POST', '/threads', { ...talk, run_id: 'run-2' }]);
      // An id is taken for everybody; that is all that is told of it.
      const taken = { ...talk, run_id: 'run-1', thread_id: foreign.thread_id };
      await refused('THREAD_EXISTS', [
        'POST',
        '/threads',
        { ...taken, title: `${SECRET} lion`, body: `${SECRET} lion` },
      ]);
      expect((await agent('POST', '/threads', { ...talk, run_id: ' run-1 ' })).body.run_id).toBe('run-1');
    });

    it('the state of a thread is nothing that it sets, also with a post', async () => {
      await refused(
        'FORBIDDEN',
        ['POST', `/threads/${own.thread_id}/posts`, { body: 'Done.', state: 'answered' }],
        ['POST', `/threads/${own.thread_id}/posts`, { body: 'Done.', state: 'new' }],
        ['PATCH', `/threads/${own.thread_id}`, { state: 'closed' }],
      );
    });

    it('marks are its own, and so are those that it reads', async () => {
      await tokens.admin('PUT', `/threads/${own.thread_id}/reads/operator:root`, {});
      const viewers = ['operator:root', 'human:ana', 'agent:tester', 'builder', ':builder', 'agent:'];
      await refused(
        'ACTOR_MISMATCH',
        ...viewers.map(encodeURIComponent).flatMap((viewer): Request[] => [
          ['PUT', `/threads/${own.thread_id}/reads/${viewer}`, {}],
          ['GET', `/threads/${own.thread_id}?viewer=${viewer}`],
          ['GET', `/threads?viewer=${viewer}`],
          ['GET', `/threads?queue=unseen&viewer=${viewer}`],
        ]),
      );
      await agent('PUT', `/threads/${own.thread_id}/reads/agent:builder`, {});
      expect((await agent('GET', `/threads/${own.thread_id}?viewer=agent:builder`)).body.unseen).toBe(false);
    });
  });
});
