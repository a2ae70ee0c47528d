import { readFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { type AskRequest, ForumbusError, type Option, type Question } from '../client/index.ts';
import { type Context, defineCommand, UsageError } from './command.ts';
import { askInOrder } from './deliver.ts';
import { secondsOf } from './duration.ts';
import { sourceOf } from './identity.ts';
import { outcomeCode, outcomeOf, outcomeText } from './output.ts';

/** Shorter than the two minutes that hosts usually give a command. */
const DEFAULT_WAIT = '100s';

const priorities = ['urgent', 'high', 'normal', 'low'] as const;

export const command = defineCommand({
  name: 'ask',
  summary: 'Ask a question and wait for the answer; the same command goes on waiting',
  usage: '"QUESTION" [-o LABEL | -o "LABEL: DESCRIPTION"]... [--wait 9m]',
  counts: { least: 0, most: 1 },
  options: {
    option: { type: 'string', short: 'o', multiple: true },
    multi: { type: 'boolean' },
    context: { type: 'string' },
    'context-file': { type: 'string' },
    stdin: { type: 'boolean' },
    priority: { type: 'string' },
    expires: { type: 'string' },
    default: { type: 'string', multiple: true },
    supersedes: { type: 'string' },
    approvals: { type: 'string' },
    wait: { type: 'string', default: DEFAULT_WAIT },
  },
  help: `  -o, --option LABEL       an answer to choose from, 2 to 10 times; "LABEL: DESCRIPTION" explains it
  --multi                  several options may be chosen
  --context TEXT           what the person should know; --context-file F and --stdin read it
  --stdin                  reads the context, or the question if there is none, from standard input
  --priority P             urgent, high, normal or low
  --expires TIME           ends the question after a time such as 8h
  --default ANSWER         stands in for the answer when the question expires
  --supersedes QUESTION    replaces an open question
  --approvals 2            two people must give the same answer
  --wait TIME              waits so long; ${DEFAULT_WAIT} if left out, 0 for not at all
Prints the answer. Exit code 0 answered, 3 expired, 4 cancelled or superseded, 69 no service, 75 still open.`,
  async run(context, [given], values) {
    const input = values.stdin ? await text(context.stdin) : '';
    const question = given ?? input;
    if (question.trim() === '') throw new UsageError('The question is missing: forumbus ask "Which region?".');
    const { identity, print, env, cwd } = context;
    const source = sourceOf(env, cwd);
    const wait_seconds = secondsOf('wait', values.wait);
    const parts = [values.context ?? '', fileText(values['context-file']), given === undefined ? '' : input];
    const about = parts.filter(part => part.trim() !== '').join('\n\n');
    const options = values.option?.map(optionOf);
    const request: AskRequest = {
      question,
      ...(about !== '' && { context: about }),
      ...(options && { options }),
      ...(values.multi && { multi_select: true }),
      ...(values.priority !== undefined && { priority: priorityOf(values.priority) }),
      ...(values.expires !== undefined && { expires_in_seconds: secondsOf('expires', values.expires) }),
      ...defaultOf(values.default, options),
      ...(values.supersedes !== undefined && { supersedes: values.supersedes }),
      ...(values.approvals !== undefined && { approvals: approvalsOf(values.approvals) }),
      ...(source && { source }),
    };
    const { run_id, agent_name } = identity;
    const asked = await askInOrder(context, { act: 'ask', run_id, agent_name, request }, { wait_seconds });
    await print(outcomeText(asked), outcomeOf(asked));
    await acknowledge(context, asked);
    return outcomeCode(asked);
  },
});

/** Tells that the outcome has been printed. If that gets lost, the inbox shows it once more. */
export async function acknowledge({ client }: Context, question: Question): Promise<void> {
  if (!['answered', 'expired', 'cancelled'].includes(question.state) || question.acknowledged_at !== null) return;
  try {
    await client.acknowledge(question.question_id);
  } catch (error) {
    if (!(error instanceof ForumbusError)) throw error;
  }
}

function optionOf(given: string): Option {
  const [, label = given, description] = /^(.*?\S): (.*)$/s.exec(given) ?? [];
  return { label, ...(description !== undefined && { description }) };
}

function defaultOf(answers: string[] | undefined, options: Option[] | undefined): Partial<AskRequest> {
  if (!answers) return {};
  return options ? { default_selected: answers } : { default_answer: answers.join(', ') };
}

function priorityOf(given: string) {
  const found = priorities.find(known => known === given);
  if (!found) throw new UsageError(`--priority is one of ${priorities.join(', ')}, not ${given}.`);
  return found;
}

function approvalsOf(given: string): number {
  if (given !== '1' && given !== '2') throw new UsageError(`--approvals is 1 or 2, not ${given}.`);
  return Number(given);
}

function fileText(path: string | undefined): string {
  if (path === undefined) return '';
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    throw new UsageError(`The file ${path} cannot be read (${(error as NodeJS.ErrnoException).code}); check its path.`);
  }
}
