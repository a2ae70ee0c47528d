import { expect, it } from 'vitest';
import { meeting } from '../helpers/adapters.ts';
import { callingTool } from '../helpers/claude-agent-sdk.ts';

const place = meeting();

const calling = (tool_name: string, input: object, about?: Parameters<typeof callingTool>[2]) =>
  callingTool(place.agent(), { tool_name, input, tool_use_id: `toolu-${place.run_id}` }, about);

const region = {
  question: 'Which region?',
  header: 'Region',
  multiSelect: false,
  options: [
    { label: 'eu-west-1', description: 'Near.', preview: 'https://eu.example' },
    { label: 'us-east-1', description: '' },
  ],
};
const tests = {
  question: 'Which tests?',
  header: 'Tests',
  multiSelect: true,
  options: [
    { label: 'unit', description: 'Fast.' },
    { label: 'e2e', description: 'Slow.' },
  ],
};
const both = { questions: [region, tests] };
const deploy = { command: 'make deploy', description: 'Deploys' };

it('answers AskUserQuestion with a question each', async () => {
  const { heard } = calling('AskUserQuestion', both, { priority: 'high' });
  await place.answer('Which tests?', { selected: ['e2e', 'unit'] });
  await place.answer('Which region?', { selected: ['eu-west-1'], answer: 'Staging is there.' });
  const answers = { 'Which region?': 'eu-west-1 (Staging is there.)', 'Which tests?': 'unit, e2e' };
  expect(await heard).toEqual({ behavior: 'allow', updatedInput: { ...both, answers }, toolUseID: expect.any(String) });
  expect(await place.questions()).toMatchObject([{ priority: 'high' }, { priority: 'high' }]);
  const asked = (await place.questions()).find(({ question }) => question === 'Which region?');
  expect(asked).toMatchObject({
    context: 'Region\n\neu-west-1:\nhttps://eu.example',
    options: [{ label: 'eu-west-1', description: 'Near.' }, { label: 'us-east-1' }],
  });
});

it('says which question nobody answered, and what the others were answered', async () => {
  const { heard } = calling('AskUserQuestion', both);
  await place.answer('Which region?', { answer: 'Mars.' });
  const { question_id } = await place.asked('Which tests?');
  await place.person.cancel(question_id);
  expect(await heard).toMatchObject({
    behavior: 'deny',
    message: `Which region? Mars.\nWhich tests? The question was withdrawn (${question_id}).`,
  });
});

it('lets a person allow and deny other tools', async () => {
  const allowed = calling('Bash', deploy);
  const question = await place.asked('Allow Bash?');
  expect(question).toMatchObject({
    context: 'Bash\n{\n  "command": "make deploy",\n  "description": "Deploys"\n}',
    source: { host: 'claude-agent-sdk', tool_use_id: `toolu-${place.run_id}` },
  });
  await place.answer('Allow Bash?', { selected: ['Allow'] });
  expect(await allowed.heard).toMatchObject({ behavior: 'allow', updatedInput: deploy });
  // The same call again is the same question.
  expect(await calling('Bash', deploy).heard).toMatchObject({ behavior: 'allow' });
  const denied = calling('Bash', { command: 'make clean' });
  await place.answer('Allow Bash?', { answer: 'Only on Mondays.' });
  expect(await denied.heard).toMatchObject({ behavior: 'deny', message: 'Only on Mondays.' });
  expect(await place.questions()).toHaveLength(2);
});

it('denies what nobody has decided in time', async () => {
  const { heard } = calling('Bash', deploy, { expires_in_seconds: 1 });
  expect(await heard).toMatchObject({
    behavior: 'deny',
    message: expect.stringMatching(/^Nobody answered in time \(q_/),
  });
});

it('cancels the question of a call that is interrupted', async () => {
  const { running, heard } = calling('Bash', deploy);
  const { question_id } = await place.asked('Allow Bash?');
  await running.interrupt();
  expect(await heard).toBe('interrupted');
  await expect.poll(async () => (await place.person.question(question_id)).state).toBe('cancelled');
});

it('cuts what is too long for a person, also in the middle of an emoji', async () => {
  const long = '😀'.repeat(40_000);
  const option = { label: 'eu-west-1', description: '', preview: long };
  const shown = calling('AskUserQuestion', { questions: [{ ...region, options: [option, region.options[1]] }] });
  await place.answer('Which region?', { selected: ['eu-west-1'] });
  expect(await shown.heard).toMatchObject({ behavior: 'allow' });
  const called = calling('Bash', { command: `x${long}` });
  await place.answer('Allow Bash?', { selected: ['Allow'] });
  expect(await called.heard).toMatchObject({ behavior: 'allow' });
});
