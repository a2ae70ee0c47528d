import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { aRun } from '../helpers/runs.ts';

/** Entity tags that are not those of version 2, though some look like it. */
const others = ['"1"', '"3"', '"02"', '"2.0"', '"+2"', '""', 'W/"1"', '"1", "3"', '"999999999999999999"'];
/** Headers that name version 2, or any. */
const fitting = ['"2"', ' "2" ', '"1", "2"', '"2",W/"1"', 'W/"2"', '*', ' * '];
/** Headers that are no list of entity tags. */
const bad = ['2', '"2', '"2 "', '" 2"', '"1" "2"', '"1", *', ','];

describe.each(engines)('If-Match of a run on %s', engine => {
  let service: TestApp;
  let runs = 0;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  const newRun = () => aRun(service.send, `run-${++runs}`);
  /** A run of version 2 that may be closed. */
  const finished = async () => {
    const run = newRun();
    await run.finish('builder');
    expect(await run.snapshot()).toMatchObject({ status: 'completed', version: 2 });
    return run;
  };

  it.each(others)('lets neither a brief nor a close through with %s', async tag => {
    const run = await finished();
    const before = await dump(service.url);
    for (const answer of [
      await run.brief({ title: 'New' }, { 'if-match': tag }),
      await run.close(undefined, { 'if-match': tag }),
    ]) {
      expectProblem(answer, 'PRECONDITION_FAILED');
      expect(answer.body.version).toBe(2);
    }
    expect(await dump(service.url)).toEqual(before);
  });

  it.each(fitting)('lets a brief and a close through with %s', async tag => {
    expect(await (await finished()).brief({ title: 'New' }, { 'if-match': tag })).toMatchObject({ status: 200 });
    expect(await (await finished()).close(undefined, { 'if-match': tag })).toMatchObject({ status: 200 });
  });

  it.each(bad)('must be a list of entity tags: %s', async header => {
    const run = await finished();
    for (const answer of [
      await run.brief({ title: 'New' }, { 'if-match': header }),
      await run.close(undefined, { 'if-match': header }),
    ]) {
      expectProblem(answer, 'VALIDATION_FAILED');
      expect(answer.body.errors).toMatchObject([{ in: 'headers', pointer: '/if-match' }]);
    }
    expect(await run.snapshot()).toMatchObject({ status: 'completed', version: 2 });
  });

  it.each(['*', '"0"', '"1"'])('never matches a run that is not there: %s', async tag => {
    const run = newRun();
    expectProblem(await run.brief({ title: 'New' }, { 'if-match': tag }), 'PRECONDITION_FAILED');
    expectProblem(await run.close(undefined, { 'if-match': tag }), 'RUN_NOT_FOUND');
    expectProblem(await service.send('GET', run.path), 'RUN_NOT_FOUND');
  });

  it('is asked before the gate', async () => {
    const run = newRun();
    await run.signal('completion', 'builder');
    expectProblem(await run.close(undefined, { 'if-match': '"7"' }), 'PRECONDITION_FAILED');
    expectProblem(await run.close(undefined, { 'if-match': '"1"' }), 'GATE_BLOCKED');
  });

  it('lets one of several briefs through that are meant for the same version', async () => {
    for (let round = 0; round < 10; round += 1) {
      const run = await finished();
      const briefs = ['One', 'Two', 'Three'].map(title => run.brief({ title }, { 'if-match': '"2"' }));
      const answers = await Promise.all(briefs);
      expect(answers.map(({ status }) => status).sort()).toEqual([200, 412, 412]);
      const winner = answers.find(({ status }) => status === 200);
      expect(await run.snapshot()).toEqual(winner?.body);
    }
  });
});
