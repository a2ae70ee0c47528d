import { Type } from 'typebox';
import type { Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import { Id, LENGTHS, Name, Strict, Text } from '../http/schemas.ts';
import type { Precondition } from '../precondition.ts';
import type { Answer, Question } from '../questions/schemas.ts';
import { described, type Tool, tool } from './tool.ts';

interface Dependencies {
  signals: { answer(tx: Tx, questionId: string, answer: Answer, expected: Precondition): Promise<Question> };
  writes: IdempotentWrites;
}

const Input = Strict({
  question_id: Id,
  answer: Type.Optional(Text(LENGTHS.text)),
  selected: Type.Optional(Type.Array(Name, { maxItems: 10, description: 'Labels of options.' })),
});

/** The tool that answers an agent. The same answer again changes nothing. */
export function answerTool({ signals, writes }: Dependencies): Tool {
  return tool({
    name: 'answer',
    title: 'Answer a question',
    description:
      'Answer a question of an agent, by option labels, text or both. The first answer stands. Answer only as your user decides.',
    input: described(Input, ''),
    audience: ['operator'],
    readOnly: false,
    async run({ request }, { question_id, answer, selected = [] }) {
      if (answer === undefined && selected.length === 0) {
        throw new Refusal('VALIDATION_FAILED', 'An answer needs answer, selected or both.');
      }
      const actor = request.caller.actor(undefined);
      const given = { answer: answer ?? selected.join(', '), selected, ...(actor && { actor }) };
      const { agent_name, run_id } = await writes.perform(request, tx =>
        signals.answer(tx, question_id, given, undefined),
      );
      return { text: `Answered; ${agent_name} in ${run_id} gets it.` };
    },
  });
}
