import { isDeepStrictEqual } from 'node:util';
import { Type } from 'typebox';
import { type Actor, actorText } from '../actor.ts';
import type { Control } from '../control/service.ts';
import type { Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import type { EventLog } from '../events/service.ts';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import { LENGTHS, Name, Strict, Text } from '../http/schemas.ts';
import type { RunService } from '../runs/service.ts';
import type { SignalCommand } from '../signals/command.ts';
import type { SignalService } from '../signals/service.ts';
import { agentOf } from './names.ts';
import type { OutcomeSender } from './outcomes.ts';
import { gateText } from './status.ts';
import { described, type Tool, tool } from './tool.ts';

interface Dependencies {
  control: Pick<Control, 'find'>;
  events: Pick<EventLog, 'at'>;
  runs: Pick<RunService, 'get'>;
  signals: SignalService;
  writes: IdempotentWrites;
  outcomes: Pick<OutcomeSender, 'others'>;
}

const Input = Strict({
  type: Type.Enum(['completion', 'validation']),
  summary: Type.Optional(described(Text(LENGTHS.text), 'completion: what you did.')),
  status: Type.Optional(described(Type.Enum(['passed', 'failed']), 'validation')),
  done_criteria: Type.Optional(
    described(Text(LENGTHS.text), 'validation: the criteria you checked, as status shows them.'),
  ),
  agent: Type.Optional(described(Name, 'validation: the agent whose work you checked, if not yours.')),
  evidence: Type.Optional(
    Type.Array(
      Type.String({
        ...Text(LENGTHS.reference),
        // A kind is a name of at most 200 characters.
        pattern: '^[^:\\u0000\\p{Cc}\\p{Cs}]{1,200}:[^\\u0000\\p{Cs}]*\\S[^\\u0000\\p{Cs}]*$',
        description: 'kind:reference, such as commit:4f1c2ab or test_report:reports/unit.xml',
      }),
      { maxItems: 50 },
    ),
  ),
});

/** The tool that reports completion or validation. A repeated report stores nothing. */
export function signalTool({ control, events, runs, signals, writes, outcomes }: Dependencies): Tool {
  /** Whether the same was reported before, by the same actor, and nothing of the other kind since. */
  async function isRepeated(tx: Tx, command: SignalCommand, actor: Actor): Promise<boolean> {
    const known = await control.find(tx, command.run_id, command.agent_name);
    if (!known) return false;
    const { completion_sequence = 0, validation_sequence = 0 } = known.control;
    const [own, other] =
      command.control_type === 'completion'
        ? [completion_sequence ?? 0, validation_sequence ?? 0]
        : [validation_sequence ?? 0, completion_sequence ?? 0];
    if (own <= other) return false;
    const event = (await events.at(tx, [own])).get(own);
    if (!event || actorText(event.actor) !== actorText(actor)) return false;
    const told = contentOf(event.payload);
    return isDeepStrictEqual(told, contentOf({ ...command }));
  }

  return tool({
    name: 'signal',
    title: 'Report completion or validation',
    description:
      'Report that your work is complete, or that work meets its done criteria (validation). The run can be closed once ' +
      'all its agents have reported both. Repeating a report changes nothing.',
    input: Input,
    audience: ['agent'],
    readOnly: false,
    async run({ request, names }, { type, summary, status, done_criteria, agent, evidence }) {
      const self = agentOf(request.caller, names);
      const fields =
        type === 'completion'
          ? { summary }
          : { status: required(status, 'status'), done_criteria: required(done_criteria, 'done_criteria') };
      const actor: Actor = { type: 'agent', name: self.agent_name };
      const body = {
        schema_version: 1,
        control_type: type,
        run_id: self.run_id,
        agent_name: type === 'validation' ? (agent ?? self.agent_name) : self.agent_name,
        actor,
        ...Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)),
        ...(evidence && { evidence: evidence.map(toEvidence) }),
      };
      const command = signals.commandOf(body, request.caller);
      const repeated = await writes.perform(request, async tx => {
        if (await isRepeated(tx, command, command.actor ?? actor)) return true;
        await signals.accept(tx, command);
        return false;
      });
      const { gate } = await runs.get(self.run_id);
      const done = repeated ? 'Already recorded' : 'Recorded';
      return { text: `${done}. ${gateText(gate)}${await outcomes.others(self)}` };
    },
  });
}

function contentOf(fields: Record<string, unknown>) {
  const { summary, status, done_criteria, evidence = [] } = fields;
  return { summary, status, done_criteria, evidence };
}

function toEvidence(text: string): { kind: string; ref: string } {
  const colon = text.indexOf(':');
  return { kind: text.slice(0, colon), ref: text.slice(colon + 1).trim() };
}

/** @throws Refusal VALIDATION_FAILED */
function required<T>(value: T | undefined, name: string): T {
  if (value !== undefined) return value;
  throw new Refusal('VALIDATION_FAILED', `${name} is required for a validation.`, {
    errors: [{ in: 'body', pointer: `/${name}`, code: 'REQUIRED', detail: 'is required' }],
  });
}
