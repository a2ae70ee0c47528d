import { normalName } from '../text.ts';
import { acknowledge } from './ask.ts';
import { defineCommand, UsageError } from './command.ts';
import { drain } from './deliver.ts';
import { secondsOf } from './duration.ts';
import { outcomeCode, outcomeOf, outcomeText } from './output.ts';

export const command = defineCommand({
  name: 'wait',
  summary: 'Wait for the outcome of a question',
  usage: '[QUESTION] [--wait 9m]',
  counts: { least: 0, most: 1 },
  options: { wait: { type: 'string', default: '100s' } },
  help: `Without QUESTION, waits for the agent's oldest open question.
  --wait TIME    waits so long; 100s if left out
Prints and exits as \`forumbus ask\` does.`,
  async run(context, [given], values) {
    const { client, identity, print } = context;
    const wait_seconds = secondsOf('wait', values.wait);
    await drain(context);
    const question_id = given ?? (await client.status())?.open_questions[0];
    if (question_id === undefined) throw new UsageError('The agent has no open question: name one, or ask one.');
    const question = await client.wait(question_id, { wait_seconds });
    await print(outcomeText(question), outcomeOf(question));
    // The question of another agent stays news for that one.
    const isOwn =
      question.run_id === normalName(identity.run_id) && question.agent_name === normalName(identity.agent_name);
    if (isOwn) await acknowledge(context, question);
    return outcomeCode(question);
  },
});
