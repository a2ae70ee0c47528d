import { Type } from 'typebox';
import { approvalsText } from '../client/answer-text.ts';
import { Refusal } from '../errors.ts';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import { Id, LENGTHS, Name, Strict, Text } from '../http/schemas.ts';
import type { QuestionService } from '../questions/service.ts';
import type { SignalService } from '../signals/service.ts';
import { line } from './texts.ts';
import { described, type Tool, tool } from './tool.ts';

interface Dependencies {
  questions: Pick<QuestionService, 'touches'>;
  signals: Pick<SignalService, 'answer'>;
  writes: IdempotentWrites;
}

/** Characters of what is said about other answers. */
const HEAD = 500;

const Input = Strict({
  question_id: Id,
  answer: Type.Optional(Text(LENGTHS.text)),
  selected: Type.Optional(Type.Array(Name, { maxItems: 10, description: 'Labels of options.' })),
});

/** The tool that answers an agent. The same answer again changes nothing. */
export function answerTool({ questions, signals, writes }: Dependencies): Tool {
  return tool({
    name: 'answer',
    title: 'Answer a question',
    description:
      'Answer a question of an agent, by option labels, text or both. The first answer stands; a question for two people needs the same of both. Answer only as your user decides.',
    input: described(Input, ''),
    audience: ['operator'],
    readOnly: false,
    async run({ request }, { question_id, answer, selected = [] }) {
      const { caller } = request;
      if (answer === undefined && selected.length === 0) {
        throw new Refusal('VALIDATION_FAILED', 'An answer needs answer, selected or both.');
      }
      const given = { selected, ...(answer !== undefined && { answer }), answered_in: 'mcp' as const };
      const question = await writes.perform(request, tx => signals.answer(tx, question_id, given, undefined, caller), {
        touches: await questions.touches(question_id),
      });
      if (question.state === 'open') return { text: `Taken, ${line(approvalsText(question), HEAD)}.` };
      const { agent_name, run_id } = question;
      return { text: `Answered; ${agent_name} in ${run_id} gets it.` };
    },
  });
}
