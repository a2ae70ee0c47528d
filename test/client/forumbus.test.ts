import { beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Forumbus } from '../../src/client/index.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { startRelay } from '../helpers/relay.ts';
import { listen } from '../helpers/socket.ts';
import { withTokens } from '../helpers/tokens.ts';

let service: TestApp;
let port: number;
let url: string;
let runs = 0;
const person = () => new Forumbus({ url });
/** An agent in a run of its own. */
const agentOf = (at = url) => {
  runs += 1;
  return new Forumbus({ url: at, run_id: `run/${runs} ü`, agent_name: 'builder', retry_seconds: 5 });
};

beforeAll(async () => {
  service = await startApp('sqlite');
  port = await listen(service.app);
  url = `http://127.0.0.1:${port}`;
  return () => service.close();
});

const region = { question: 'Which region?', options: ['eu-west-1', { label: 'us-east-1', description: 'Far away.' }] };
const open = async (agent: Forumbus) =>
  (await person().questions({ run_id: agent.run_id as string, state: 'open' })).items;

describe('ask', () => {
  it('waits for the answer and acknowledges it', async () => {
    const agent = agentOf();
    const asking = agent.ask(region);
    await expect.poll(() => open(agent)).toHaveLength(1);
    const [question] = await open(agent);
    await person().answer(question?.question_id as string, { selected: ['eu-west-1'], answered_in: 'cli' });
    expect(await asking).toMatchObject({ state: 'answered', answer: 'eu-west-1', selected: ['eu-west-1'] });
    expect((await person().question(question?.question_id as string)).acknowledged_at).not.toBeNull();
  });

  it('is the same question when it is repeated, also with another context', async () => {
    const agent = agentOf();
    const first = await agent.ask(region, { wait_seconds: 0 });
    const again = await agent.ask(region, { wait_seconds: 0 });
    const other = await agent.ask({ ...region, context: 'In a hurry.', priority: 'high' }, { wait_seconds: 0 });
    expect([again.question_id, other.question_id]).toEqual([first.question_id, first.question_id]);
    expect(await open(agent)).toHaveLength(1);
  });

  it('is another question in another attempt, with another text, or by another agent', async () => {
    const agent = agentOf();
    const ids = new Set([(await agent.ask(region, { wait_seconds: 0 })).question_id]);
    ids.add((await agent.ask({ question: 'Which zone?' }, { wait_seconds: 0 })).question_id);
    ids.add((await agent.ask({ ...region, agent_name: 'tester' }, { wait_seconds: 0 })).question_id);
    const path = `/control-threads/${encodeURIComponent(agent.run_id as string)}/builder/attempts`;
    await service.send('POST', path, {});
    ids.add((await agent.ask(region, { wait_seconds: 0 })).question_id);
    expect(ids.size).toBe(4);
  });

  it('returns an open question when the wait is over, and stops at once when it is aborted', async () => {
    const agent = agentOf();
    expect(await agent.ask(region, { wait_seconds: 1 })).toMatchObject({ state: 'open' });
    const ending = new AbortController();
    const asking = agent.ask(region, { signal: ending.signal });
    const reason = new Error('enough');
    setImmediate(() => ending.abort(reason));
    await expect(asking).rejects.toBe(reason);
    await expect(agent.ask(region, { signal: ending.signal })).rejects.toBe(reason);
  });

  it('finds the answer of a repeated question without waiting', async () => {
    const agent = agentOf();
    const { question_id } = await agent.ask(region, { wait_seconds: 0 });
    await person().answer(question_id, { selected: ['eu-west-1'] });
    expect(await agent.ask(region, { wait_seconds: 0 })).toMatchObject({ state: 'answered', answer: 'eu-west-1' });
  });

  it('finds its question behind a page of newer ones', async () => {
    const agent = agentOf();
    const { question_id } = await agent.ask(region, { wait_seconds: 0 });
    await person().answer(question_id, { selected: ['eu-west-1'] });
    await agent.ask(region);
    const context = 'x'.repeat(65_000);
    for (let count = 0; count < 18; count += 1)
      await agent.ask({ question: `${count}?`, context }, { wait_seconds: 0 });
    expect(await agent.ask({ ...region, context: 'In a hurry.' })).toMatchObject({ question_id, state: 'answered' });
  });

  it('finds a question that is open, or whose outcome it has not got, however long ago it was asked', async () => {
    const clock = new ManualClock();
    const later = await startApp('sqlite', { overrides: { clock } });
    onTestFinished(later.close);
    const agent = agentOf(`http://127.0.0.1:${await listen(later.app)}`);
    const ask = async () => (await agent.ask(region, { wait_seconds: 0, acknowledge: false })).question_id;
    const first = await ask();
    clock.advance(25 * 3_600_000);
    expect(await ask()).toBe(first);
    await agent.answer(first, { selected: ['eu-west-1'] });
    clock.advance(25 * 3_600_000);
    expect(await ask()).toBe(first);
    const path = `/control-threads/${encodeURIComponent(agent.run_id as string)}/builder/attempts`;
    await later.send('POST', path, {});
    clock.advance(1);
    const second = await ask();
    expect(second).not.toBe(first);
    clock.advance(25 * 3_600_000);
    expect(await ask()).toBe(second);
  });

  it('cancels an open question, once', async () => {
    const agent = agentOf();
    const { question_id } = await agent.ask(region, { wait_seconds: 0 });
    expect(await agent.cancel(question_id)).toMatchObject({ state: 'cancelled' });
    expect(await agent.cancel(question_id)).toMatchObject({ question_id, state: 'cancelled' });
  });

  it('returns cancelled, superseded and expired questions', async () => {
    const agent = agentOf();
    const first = await agent.ask(region, { wait_seconds: 0 });
    const second = agent.ask({ question: 'Or this?', supersedes: first.question_id });
    expect(await agent.ask(region)).toMatchObject({ state: 'superseded' });
    await expect.poll(() => open(agent)).toHaveLength(1);
    const [question] = await open(agent);
    await service.send('POST', `/questions/${question?.question_id}/cancel`, {});
    expect(await second).toMatchObject({ state: 'cancelled' });
  });

  it('asks once, though the answers to the request get lost', async () => {
    const network = await startRelay(port);
    const agent = agentOf(network.url);
    network.loseAnswers(3);
    const { question_id } = await agent.ask(region, { wait_seconds: 0 });
    expect((await open(agent)).map(question => question.question_id)).toEqual([question_id]);
  });

  it('goes on waiting when its connections are cut', async () => {
    const network = await startRelay(port);
    const agent = agentOf(network.url);
    const asking = agent.ask(region, { wait_seconds: 60 });
    await expect.poll(() => open(agent)).toHaveLength(1);
    for (let cuts = 0; cuts < 3; cuts += 1) {
      const before = network.opened();
      network.cut();
      await expect.poll(() => network.opened()).toBeGreaterThan(before);
    }
    const [question] = await open(agent);
    await person().answer(question?.question_id as string, { answer: 'Neither.' });
    expect(await asking).toMatchObject({ state: 'answered', answer: 'Neither.' });
  });

  it('needs an agent', async () => {
    await expect(person().ask(region)).rejects.toThrow('run_id and agent_name are missing');
  });
});

describe('a wait behind a proxy that answers 504 sooner than the service', () => {
  /** Such a way to the service. @param patience in milliseconds, of the next request */
  function impatient(patience: () => number | undefined) {
    const waits: number[] = [];
    const behind: typeof fetch = async (input, init) => {
      const milliseconds = patience();
      const wait = new URL(String(input)).searchParams.get('wait');
      if (wait !== null) waits.push(Number(wait));
      if (milliseconds === undefined) return fetch(input, init);
      const cut = AbortSignal.timeout(milliseconds);
      try {
        return await fetch(input, { ...init, signal: AbortSignal.any([cut, init?.signal ?? cut]) });
      } catch {
        return new Response('<h1>504</h1>', { status: 504 });
      }
    };
    const { run_id = '', agent_name } = agentOf();
    return { waits, agent: new Forumbus({ url, run_id, agent_name, fetch: behind }), run_id };
  }

  it('ends with the state at its end', async () => {
    const { agent, run_id } = impatient(() => 700);
    const { question_id } = await agent.ask(region, { wait_seconds: 0 });
    expect(await agent.wait(question_id, { wait_seconds: 2 })).toMatchObject({ state: 'open' });
    expect(await agent.gate(run_id, { wait_seconds: 1 })).toMatchObject({ ready: false });
    expect(await agent.inbox.list({ wait_seconds: 1 })).toMatchObject({ items: [] });
  });

  it('asks for shorter waits, and for longer ones again as they are held', async () => {
    let patience: number | undefined = 1500;
    const { waits, agent } = impatient(() => patience);
    const asking = agent.ask(region);
    await expect.poll(() => waits.slice(0, 3)).toEqual([50, 1, 2]);
    patience = undefined;
    await expect.poll(() => Math.max(...waits.slice(1))).toBeGreaterThan(2);
    const [question] = await open(agent);
    await person().answer(question?.question_id as string, { answer: 'Neither.' });
    expect(await asking).toMatchObject({ state: 'answered' });
  });

  it('lasts no longer than it should when it is cut near its end', async () => {
    const patience: (number | undefined)[] = [];
    const { waits, agent } = impatient(() => patience.shift());
    const { question_id } = await agent.ask(region, { wait_seconds: 0 });
    patience.push(2500);
    expect(await agent.wait(question_id, { wait_seconds: 4 })).toMatchObject({ state: 'open' });
    expect(waits.slice(0, 2)).toEqual([4, 1]);
  });
});

describe('note', () => {
  it('is stored each time, also with a text that was noted before, and once if it is repeated', async () => {
    const guarded = await startApp('sqlite');
    onTestFinished(guarded.close);
    const { issue, admin } = await withTokens(guarded);
    const { token } = await issue({ role: 'agent', runs: 'run-n', agents: 'builder' });
    const at = `http://127.0.0.1:${await listen(guarded.app)}`;
    const agent = new Forumbus({ url: at, token, run_id: 'run-n', agent_name: 'builder' });
    const notes = ['Running tests.', 'Fixed a bug.', 'Running tests.'];
    for (const [index, text] of notes.entries()) {
      const noted = await agent.note(text, { idempotency_key: `note-${index}` });
      expect(await agent.note(text, { idempotency_key: `note-${index}` })).toEqual(noted);
    }
    await agent.note('Running tests.', { idempotency_key: 'note-0' });
    const [thread] = (await admin('GET', '/threads?run_id=run-n')).body.items;
    const { items } = (await admin('GET', `/threads/${thread.thread_id}/posts`)).body;
    expect(items.map(({ body }: { body: string }) => body)).toEqual(notes);
  });

  it('is stored each time, also when the first ones with the same text come together', async () => {
    const agent = agentOf();
    const keys = Array.from({ length: 10 }, (_, index) => `together-${index}`);
    const noteAll = () => Promise.all(keys.map(idempotency_key => agent.note('Cloned.', { idempotency_key })));
    const [noted] = await noteAll();
    await noteAll();
    const { items } = (await service.send('GET', `/threads/${noted?.thread_id}/posts`)).body;
    expect(items).toHaveLength(10);
  });

  it('goes into the control thread, and before there is one into a discussion in the run', async () => {
    const agent = agentOf();
    const first = await agent.note('Cloned.');
    expect(await agent.note('Built.')).toEqual(first);
    await agent.signal.completion({ summary: 'Done.' });
    const last = await agent.note('Cleaned up.');
    const bodies = async (id: string) =>
      (await service.send('GET', `/threads/${id}/posts`)).body.items.map(({ body }: { body: string }) => body);
    expect(await bodies(first.thread_id)).toEqual(['Cloned.', 'Built.']);
    expect((await bodies(last.thread_id)).at(-1)).toBe('Cleaned up.');
    expect(last.thread_id).toBe((await agent.status())?.thread_id);
  });
});

describe('signals and the gate', () => {
  it('tell when a run may be closed, and close it', async () => {
    const agent = agentOf();
    const run_id = agent.run_id as string;
    expect(await agent.status()).toBeNull();
    await agent.signal.completion({ summary: 'Done.', evidence: [{ kind: 'commit', ref: '4f2a91c' }] });
    expect(await person().gate(run_id)).toMatchObject({ ready: false, reasons: [{ code: 'MISSING_VALIDATION' }] });
    const waiting = person().gate(run_id, { wait_seconds: 30 });
    await agent.signal.validation({ status: 'passed', done_criteria: 'Tests are green.' });
    const { ready, version } = await waiting;
    expect(ready).toBe(true);
    await expect(person().close(run_id, { version: version - 1 })).rejects.toMatchObject({
      code: 'PRECONDITION_FAILED',
      status: 412,
    });
    expect(await person().close(run_id, { version })).toMatchObject({ status: 'closed' });
  });
});

describe('the inbox', () => {
  it('shows news once, and again when nobody acknowledges it', async () => {
    const agent = agentOf();
    expect((await agent.inbox.list()).items).toEqual([]);
    const { question_id } = await agent.ask(region, { wait_seconds: 0 });
    const news = agent.inbox.list({ wait_seconds: 30 });
    await person().answer(question_id, { selected: ['us-east-1'] });
    expect((await news).items).toMatchObject([{ kind: 'answered', claimed_until: null, question: { question_id } }]);
    const claim = (claimant: string) => agent.inbox.claim({ claimant, lease_seconds: 60, limit: 10 });
    const items = await claim('one');
    expect(items).toHaveLength(1);
    expect(await claim('two')).toEqual([]);
    expect(await claim('one')).toHaveLength(1);
    const ids = items.map(({ item_id }) => item_id);
    expect([await agent.inbox.acknowledge(ids), await agent.inbox.acknowledge(ids)]).toEqual([1, 0]);
    expect((await agent.inbox.list()).items).toEqual([]);
    expect((await person().question(question_id)).acknowledged_at).not.toBeNull();
  });
});

describe('a refusal', () => {
  it('is a ForumbusError with the problem document', async () => {
    const refused = person().question('q_none');
    await expect(refused).rejects.toMatchObject({
      name: 'ForumbusError',
      code: 'QUESTION_NOT_FOUND',
      status: 404,
      problem: { title: 'No such question' },
    });
  });
});

// The last one: after the first token, every other client needs one.
it('sends its token', async () => {
  const tokens = await withTokens(service);
  const { token } = await tokens.issue({ role: 'agent', runs: 'run-t', agents: 'builder' });
  const agent = new Forumbus({ url, token: `${token}\n`, run_id: 'run-t', agent_name: 'builder' });
  expect(await agent.me()).toMatchObject({ access: 'token', role: 'agent', runs: 'run-t' });
  expect(await agent.ask(region, { wait_seconds: 0 })).toMatchObject({ state: 'open' });
  await expect(person().status({ run_id: 'run-t', agent_name: 'builder' })).rejects.toMatchObject({
    code: 'UNAUTHORIZED',
    status: 401,
  });
});
