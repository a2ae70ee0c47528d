import { randomUUID } from 'node:crypto';
import type { ValidationRequest } from '../client/index.ts';
import { defineCommand, exits, UsageError } from './command.ts';
import { signalState, unreadText } from './complete.ts';
import { reportInOrder } from './deliver.ts';
import { evidenceOf, evidenceOption } from './evidence.ts';

export const command = defineCommand({
  name: 'validate',
  summary: 'Report how work was checked, and against which criteria',
  usage: 'passed|failed --criteria "CRITERIA" [--of AGENT] [--evidence KIND:REF]...',
  counts: { least: 1, most: 1 },
  words: ['passed', 'failed'],
  options: { criteria: { type: 'string' }, of: { type: 'string' }, ...evidenceOption },
  help: `  --criteria TEXT    what was checked; the criteria of the run's brief, if it has some
  --of AGENT         the agent whose work was checked; the agent itself if left out`,
  async run(context, [status], values) {
    if (status !== 'passed' && status !== 'failed')
      throw new UsageError('Say passed or failed: forumbus validate passed.');
    if (values.criteria === undefined) throw new UsageError('--criteria is missing: say what was checked.');
    const { run_id, agent_name, token } = context.identity;
    const request: ValidationRequest = {
      status,
      done_criteria: values.criteria,
      ...evidenceOf(values.evidence),
      // A token knows its actor.
      ...(values.of !== undefined && token === undefined && { actor: { type: 'agent', name: agent_name } }),
    };
    const validated = { run_id, agent_name: values.of ?? agent_name };
    const idempotency_key = randomUUID();
    const result = await reportInOrder(context, { act: 'validate', ...validated, request, idempotency_key });
    await context.print(`Validated.${unreadText(context.identity, result)}`, signalState(result));
    return exits.done;
  },
});
