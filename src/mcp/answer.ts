import { Type } from 'typebox';
import { Refusal } from '../errors.ts';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import { Id, LENGTHS, Name, Strict, Text } from '../http/schemas.ts';
import type { QuestionService } from '../questions/service.ts';
import type { SignalService } from '../signals/service.ts';
import { described, type Tool, tool } from './tool.ts';

interface Dependencies {
  questions: Pick<QuestionService, 'touches'>;
  signals: Pick<SignalService, 'answer'>;
  writes: IdempotentWrites;
}

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
      'Answer a question of an agent, by option labels, text or both. The first answer stands. Answer only as your user decides.',
    input: described(Input, ''),
    audience: ['operator'],
    readOnly: false,
    async run({ request }, { question_id, answer, selected = [] }) {
      const { caller } = request;
      if (answer === undefined && selected.length === 0) {
        throw new Refusal('VALIDATION_FAILED', 'An answer needs answer, selected or both.');
      }
      const given = { selected, ...(answer !== undefined && { answer }), answered_in: 'mcp' as const };
      const { agent_name, run_id } = await writes.perform(
        request,
        tx => signals.answer(tx, question_id, given, undefined, caller),
        { touches: await questions.touches(question_id) },
      );
      return { text: `Answered; ${agent_name} in ${run_id} gets it.` };
    },
  });
}
