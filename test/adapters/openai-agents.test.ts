import { RunState, run } from '@openai/agents';
import { expect, it } from 'vitest';
import { decideInterruptions } from '../../src/adapters/openai-agents.ts';
import type { Asking } from '../../src/adapters/question.ts';
import { meeting, survivor } from '../helpers/adapters.ts';
import { scriptedAgent } from '../helpers/openai-agents.ts';

const place = meeting();

/** Runs an agent until it is interrupted, asks, and runs it again. */
async function deploy(targets: string[], asking: Asking = {}) {
  const { agent, deployed } = scriptedAgent(targets);
  const { state } = await run(agent, 'Deploy.');
  expect(await decideInterruptions(place.agent(), state, asking)).toBe(true);
  return { output: (await run(agent, state)).finalOutput, deployed };
}

/** Answers the question about a target, as soon as it is asked. */
async function decide(target: string, answer: { answer?: string; selected?: string[] }) {
  const open = async () =>
    (await place.questions()).find(({ context, state }) => state === 'open' && context?.includes(target));
  // A process takes seconds to start.
  await expect.poll(open, { timeout: 60_000 }).toBeDefined();
  await place.person.answer((await open())?.question_id as string, answer);
}

it('goes on with what a person allows and denies elsewhere', async () => {
  const deploying = deploy(['staging', 'production']);
  await decide('staging', { selected: ['Allow'] });
  await decide('production', { selected: ['Deny'], answer: 'Not on Fridays.' });
  expect(await deploying).toEqual({ output: 'staging is deployed; Not on Fridays.', deployed: ['staging'] });
});

it('rejects what is cancelled or expires', async () => {
  const deploying = deploy(['staging']);
  const { question_id } = await place.asked('Allow deploy?');
  await place.person.cancel(question_id);
  expect(await deploying).toEqual({ output: `The question was withdrawn (${question_id}).`, deployed: [] });
  const late = await deploy(['production'], { expires_in_seconds: 1 });
  expect(late).toEqual({ output: expect.stringMatching(/^Nobody answered in time/), deployed: [] });
});

it('parks: a stored state finds its questions', async () => {
  const { agent } = scriptedAgent(['staging']);
  const { state } = await run(agent, 'Deploy.');
  expect(await decideInterruptions(place.agent(), state, { wait_seconds: 0 })).toBe(false);
  await decide('staging', { selected: ['Allow'] });
  const later = scriptedAgent(['staging']);
  const read = await RunState.fromString<unknown, typeof later.agent>(later.agent, state.toString());
  expect(await decideInterruptions(place.agent(), read, { wait_seconds: 0 })).toBe(true);
  expect((await run(later.agent, read)).finalOutput).toBe('staging is deployed');
  expect(await place.questions()).toHaveLength(1);
});

it('survives a kill before and after the answers, and asks once', async () => {
  const start = await survivor('openai-agents', place);
  const first = start();
  await decide('staging', { selected: ['Allow'] });
  await place.asked('Allow deploy?');
  await first.kill();
  await decide('production', { answer: 'Not yet.' });
  expect(await start().output).toEqual({ output: 'staging is deployed; Not yet.', deployed: ['staging'] });
  expect(await place.questions()).toHaveLength(2);
});
