import { Id, Strict } from '../http/schemas.ts';
import { questionNotFound } from '../questions/question.ts';
import type { QuestionService } from '../questions/service.ts';
import { waitSeconds } from './ask.ts';
import type { Outcomes } from './outcomes.ts';
import { type Tool, tool } from './tool.ts';

interface Dependencies {
  questions: Pick<QuestionService, 'get'>;
  outcomes: Outcomes;
}

const Input = Strict({
  question_id: Id,
  wait_seconds: waitSeconds,
});

/** The tool that goes on waiting for a question. */
export function waitTool({ questions, outcomes }: Dependencies): Tool {
  return tool({
    name: 'wait',
    title: 'Wait for an answer',
    description: 'Wait for the answer to a question that you have asked. May end as "Pending"; then call it again.',
    input: Input,
    audience: ['agent'],
    readOnly: true,
    async run(call, { question_id, wait_seconds }) {
      const question = await questions.get(question_id);
      if (!call.request.caller.sees(question.run_id)) throw questionNotFound(question_id);
      return outcomes.awaited(call, question, wait_seconds);
    },
  });
}
