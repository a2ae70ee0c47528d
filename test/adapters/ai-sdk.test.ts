import { generateText, type ModelMessage } from 'ai';
import { expect, it } from 'vitest';
import { answerApprovals, toolApproval } from '../../src/adapters/ai-sdk.ts';
import type { Asking } from '../../src/adapters/question.ts';
import { meeting } from '../helpers/adapters.ts';
import { deployTool, scriptedModel } from '../helpers/ai-sdk.ts';

const place = meeting();

/** One process: it generates from these messages, and returns the conversation as a store keeps it. */
async function generate({ model }: ReturnType<typeof scriptedModel>, messages: ModelMessage[], asking: Asking = {}) {
  const deployed: string[] = [];
  const { text, responseMessages } = await generateText({
    model,
    messages,
    tools: { deploy: deployTool(deployed) },
    toolApproval: toolApproval(place.agent(), asking),
    stopWhen: ({ steps }) => steps.length === 3,
  });
  return { text, deployed, messages: stored([...messages, ...responseMessages]) };
}

/** As a jsonb column of PostgreSQL returns it: with keys in another order. */
function stored(messages: ModelMessage[]): ModelMessage[] {
  return JSON.parse(JSON.stringify(messages), (_, value) =>
    value?.target ? Object.fromEntries(Object.entries(value).reverse()) : value,
  );
}

const start: ModelMessage[] = [{ role: 'user', content: 'Deploy.' }];

it('goes on with what a person allows and denies elsewhere', async () => {
  const script = scriptedModel(['staging', 'production']);
  const generating = generate(script, start);
  const answered = async () => {
    for (let count = 0; count < 2; count += 1) {
      const { question_id, context } = await place.asked('Allow deploy?');
      await place.person.answer(
        question_id,
        context?.includes('staging') ? { selected: ['Allow'] } : { answer: 'Not yet.' },
      );
    }
  };
  await answered();
  const { text, deployed } = await generating;
  expect({ text, deployed }).toEqual({ text: 'Done.', deployed: ['staging'] });
  expect(script.heard).toEqual([
    { type: 'text', value: 'staging is deployed' },
    { type: 'execution-denied', reason: 'Not yet.' },
  ]);
});

it('denies what is cancelled or expires', async () => {
  const script = scriptedModel(['production']);
  const generating = generate(script, start);
  const { question_id } = await place.asked('Allow deploy?');
  await place.person.cancel(question_id);
  expect((await generating).deployed).toEqual([]);
  const late = scriptedModel(['staging']);
  expect((await generate(late, start, { expires_in_seconds: 1 })).deployed).toEqual([]);
  expect([...script.heard, ...late.heard]).toEqual([
    { type: 'execution-denied', reason: `The question was withdrawn (${question_id}).` },
    { type: 'execution-denied', reason: expect.stringMatching(/^Nobody answered in time/) },
  ]);
});

it('parks: another process finds the questions of a stored conversation and goes on', async () => {
  const parked = await generate(scriptedModel(['staging', 'production']), start, { wait_seconds: 0 });
  expect(parked.deployed).toEqual([]);
  expect(await answerApprovals(place.agent(), parked.messages, { wait_seconds: 0 })).toBeUndefined();
  const answering = answerApprovals(place.agent(), parked.messages);
  for (let count = 0; count < 2; count += 1) {
    const { question_id } = await place.asked('Allow deploy?');
    await place.person.answer(question_id, { selected: ['Allow'] });
  }
  const message = await answering;
  expect(message?.content).toHaveLength(2);
  expect(await place.questions()).toHaveLength(2);
  const again = await answerApprovals(place.agent(), parked.messages);
  expect(again).toEqual(message);
  const messages = [...parked.messages, message as ModelMessage];
  expect(await answerApprovals(place.agent(), messages)).toBeUndefined();
  const script = scriptedModel([]);
  expect(await generate(script, messages)).toMatchObject({ text: 'Done.', deployed: ['staging', 'production'] });
  expect(await place.questions()).toHaveLength(2);
});
