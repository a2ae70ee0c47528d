import type { TSchema } from 'typebox';
import type { LongRequests } from '../access/long-requests.ts';
import type { Clock } from '../clock.ts';
import type { Control } from '../control/service.ts';
import type { Sightings } from '../control/sightings.ts';
import { type ProblemItem, Refusal } from '../errors.ts';
import type { EventLog } from '../events/service.ts';
import type { IdempotentWrites } from '../http/idempotent-writes.ts';
import type { Inbox } from '../inbox/service.ts';
import type { InboxWaiters } from '../inbox/waiting.ts';
import type { QuestionLists } from '../questions/lists.ts';
import type { QuestionService } from '../questions/service.ts';
import type { QuestionWaiters } from '../questions/waiting.ts';
import type { RunService } from '../runs/service.ts';
import type { SignalService } from '../signals/service.ts';
import type { ThreadService } from '../threads/service.ts';
import { answerTool } from './answer.ts';
import { askTool } from './ask.ts';
import { createHold, type HoldTimes } from './hold.ts';
import { inboxTool } from './inbox.ts';
import { agentOf } from './names.ts';
import { createOutcomes } from './outcomes.ts';
import { signalTool } from './signal.ts';
import { statusTool } from './status.ts';
import { type Audience, type Call, shownSchema, type Tool, type ToolAnswer } from './tool.ts';
import { waitTool } from './wait.ts';

export interface ToolDependencies {
  clock: Clock;
  control: Control;
  events: EventLog;
  inbox: Inbox;
  inboxWaiters: InboxWaiters;
  sightings: Sightings;
  questions: QuestionService;
  questionLists: QuestionLists;
  questionWaiters: QuestionWaiters;
  runs: RunService;
  signals: SignalService;
  threads: ThreadService;
  longRequests: LongRequests;
  writes: IdempotentWrites;
  times: HoldTimes;
  /** Compiles a check with the rules for request bodies. */
  validator: (schema: TSchema) => (args: unknown) => ProblemItem[];
}

export type ToolSet = ReturnType<typeof createTools>;

/** The tools of the MCP server, each a call of the services that HTTP calls. */
export function createTools(dependencies: ToolDependencies) {
  const hold = createHold(dependencies);
  const outcomes = createOutcomes({ ...dependencies, hold });
  const parts = { ...dependencies, hold, outcomes };
  const tools = [
    askTool(parts),
    waitTool(parts),
    signalTool(parts),
    statusTool(parts),
    inboxTool(parts),
    answerTool(parts),
  ].map(tool => ({ tool, listed: listed(tool), check: dependencies.validator(tool.input) }));

  const seenBy = (audience: Audience) => tools.filter(({ tool }) => tool.audience.includes(audience));

  return {
    /** The tools of an audience, in an order that never changes, so that clients can cache the list. */
    list: (audience: Audience) => seenBy(audience).map(({ listed }) => listed),

    /**
     * Calls a tool; undefined if the audience has none with this name.
     * @throws Refusal VALIDATION_FAILED about the arguments, and any of the tool
     */
    async call(audience: Audience, name: string, args: unknown, call: Call): Promise<ToolAnswer | undefined> {
      const found = seenBy(audience).find(({ tool }) => tool.name === name);
      if (!found) return undefined;
      const [fault] = found.check(args);
      if (fault) {
        const { pointer, detail } = fault;
        throw new Refusal('VALIDATION_FAILED', `${pointer.slice(1) || 'arguments'}: ${detail}`);
      }
      if (audience === 'agent') dependencies.sightings.note(agentOf(call.request.caller, call.names));
      return found.tool.run(call, args as never);
    },
  };
}

function listed({ name, title, description, input, readOnly, alwaysLoad }: Tool) {
  return {
    name,
    title,
    description,
    inputSchema: { type: 'object' as const, ...shownSchema(input) },
    // Without these two, Codex asks its user before each call.
    annotations: { readOnlyHint: readOnly, destructiveHint: false, idempotentHint: true, openWorldHint: false },
    ...(alwaysLoad && { _meta: { 'anthropic/alwaysLoad': true } }),
  };
}
