import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { ForumbusError, isPassing, type Question } from '../client/index.ts';
import { answerOf, sendAnswer } from './answer.ts';
import { type Context, defineCommand, exits, UsageError } from './command.ts';
import { drain } from './deliver.ts';
import { head, oneLine, outcomeText, questionLine, standingText } from './output.ts';

/** Milliseconds. */
const INTERVAL_MS = 1000;
const CLEAR = '\x1b[2J\x1b[H';

export const command = defineCommand({
  name: 'watch',
  summary: 'Show open questions as they come; in a terminal, answer them by number',
  usage: '',
  counts: { least: 0, most: 0 },
  options: {},
  help: `In a terminal, "2 1" answers the second question by its first option and "2 Use Europe." by a text; a
question keeps its number; q ends.
Elsewhere, prints a line for each question that opens, is answered by one of two people, or ends. --run RUN shows one run.`,
  async run(context, _positionals, values) {
    await drain(context);
    const run_id = values.run;
    const ending = new AbortController();
    // A reader that has gone wants no more lines.
    context.stdout.once('error', () => ending.abort());
    if (context.stdout.isTTY && context.stdin.isTTY) await watchTerminal(context, run_id, ending);
    else await follow(context, run_id, ending.signal, change => printLines(context, change));
    return exits.done;
  },
});

interface Change {
  open: Question[];
  opened: Question[];
  ended: Question[];
}

/** Calls `changed` with the open questions, now and after each change, until `signal` aborts. Survives outages. */
async function follow(
  { client }: Context,
  run_id: string | undefined,
  signal: AbortSignal,
  changed: (change: Change) => Promise<void> | void,
): Promise<void> {
  let known = new Map<string, Question>();
  for (let isFirst = true; !signal.aborted; ) {
    try {
      const { items } = await client.questions({ state: 'open', limit: 100, ...(run_id && { run_id }) }, { signal });
      const open = new Map(items.map(question => [question.question_id, question]));
      // One of two people has answered: the question shows again.
      const opened = items.filter(({ question_id, version }) => known.get(question_id)?.version !== version);
      const gone = [...known.keys()].filter(id => !open.has(id));
      const ended = await Promise.all(gone.map(id => client.question(id, { signal })));
      if (isFirst || opened.length + ended.length > 0) await changed({ open: items, opened, ended });
      known = open;
      isFirst = false;
    } catch (error) {
      if (signal.aborted) return;
      if (isFirst || !isPassing(error)) throw error;
    }
    await pause(INTERVAL_MS, undefined, { signal }).catch(() => {});
  }
}

async function printLines({ print }: Context, { opened, ended }: Change): Promise<void> {
  for (const question of ended) {
    // More than a page of open questions: this one is only out of sight.
    if (question.state === 'open') continue;
    await print(`${question.question_id}  ${outcomeText(question)}`, question);
  }
  for (const question of opened) await print(`${question.question_id}  ${questionLine(question)}`, question);
}

async function watchTerminal(context: Context, run_id: string | undefined, ending: AbortController): Promise<void> {
  const { stdin, stdout } = context;
  const prompt = createInterface({ input: stdin, output: stdout, prompt: '> ' });
  let open: Question[] = [];
  // A number stays with its question: another one may come while a person types.
  const numbered: string[] = [];
  let notice = '';
  const draw = () => {
    const lines = open.map(question => `${numbered.indexOf(question.question_id) + 1}  ${questionLine(question)}`);
    const help = 'NUMBER ANSWER answers a question, q ends.';
    stdout.write(`${CLEAR}${lines.join('\n') || 'No open questions.'}\n\n${notice || help}\n`);
    prompt.prompt(true);
  };
  prompt.on('close', () => ending.abort());
  prompt.on('line', line => {
    if (line.trim() === 'q') return prompt.close();
    const meant = (number: number) => open.find(({ question_id }) => question_id === numbered[number - 1]);
    void entered(context, meant, line).then(said => {
      notice = said;
      draw();
    });
  });
  try {
    await follow(context, run_id, ending.signal, change => {
      open = change.open;
      numbered.push(...open.map(({ question_id }) => question_id).filter(id => !numbered.includes(id)));
      draw();
    });
  } finally {
    prompt.close();
    stdout.write('\n');
  }
}

/** Answers the question of a line such as `2 1`. @returns what to tell the person */
async function entered(
  context: Context,
  meant: (number: number) => Question | undefined,
  line: string,
): Promise<string> {
  const [, number = '', rest = ''] = /^\s*(\d+)\s+(.*\S)\s*$/.exec(line) ?? [];
  const question = meant(Number(number));
  if (!question) return line.trim() === '' ? '' : 'Begin with the number of a question, such as "1 yes".';
  try {
    const words = question.multi_select ? rest.split(/\s*,\s*/) : [rest];
    const answered = await sendAnswer(context, question.question_id, answerOf(question, words));
    const asked = `"${head(answered.question, 60)}"`;
    return answered.state === 'open'
      ? `Taken for ${asked}, ${standingText(answered)}`
      : `Answered ${asked}: ${outcomeText(answered)}`;
  } catch (error) {
    if (error instanceof UsageError || error instanceof ForumbusError) return oneLine(error.message);
    throw error;
  }
}
