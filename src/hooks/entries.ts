import type { HostName } from './hosts.ts';

/* What a host's file has to hold so that it calls the hooks. The command lines are short and never change: hosts show them to
the model, and Codex trusts a hook by what its file says. */

/** What the file of a host gets. */
export interface Entries {
  /** Lists of handlers, or of groups of handlers, by event. */
  hooks: Record<string, object[]>;
  /** Fields that the file must have beside them. */
  fields: Record<string, unknown>;
}

/** Longer than a person may be away. Seconds. */
const LONG = 345_600;
const SHORT = 10;
const DAY = 86_400;

const questionTools = 'AskUserQuestion|ExitPlanMode';

/** The handlers of a host that groups them by matcher. @param unit how many of the host's units of time a second has */
function grouped(host: HostName, unit = 1) {
  return (timeout: number, more: { matcher?: string; also?: object[] } = {}) => {
    const handler = { type: 'command', command: `forumbus hook ${host}`, timeout: timeout * unit };
    const { matcher, also = [] } = more;
    return [{ ...(matcher !== undefined && { matcher }), hooks: [handler, ...also] }];
  };
}

function claude(): Entries {
  const run = grouped('claude');
  const waiter = { type: 'command', command: 'forumbus hook claude --wake', asyncRewake: true, timeout: DAY };
  return {
    fields: {},
    hooks: {
      SessionStart: run(SHORT, { also: [waiter] }),
      UserPromptSubmit: run(SHORT),
      PreToolUse: run(LONG, { matcher: questionTools }),
      PermissionRequest: run(LONG, { matcher: questionTools }),
      PostToolUse: run(SHORT, { matcher: questionTools }),
      PostToolBatch: run(SHORT),
      Stop: run(SHORT, { also: [waiter] }),
      SessionEnd: run(SHORT),
    },
  };
}

function codex(): Entries {
  const run = grouped('codex');
  return {
    fields: {},
    hooks: {
      SessionStart: run(SHORT),
      UserPromptSubmit: run(SHORT),
      PreToolUse: run(LONG, { matcher: 'request_user_input' }),
      PermissionRequest: run(LONG),
      PostToolUse: run(SHORT),
      Stop: run(SHORT),
    },
  };
}

function gemini(): Entries {
  const run = grouped('gemini', 1000);
  return {
    fields: {},
    hooks: {
      SessionStart: run(SHORT),
      BeforeAgent: run(SHORT),
      BeforeTool: run(LONG, { matcher: 'ask_user' }),
      AfterTool: run(SHORT),
      AfterAgent: run(SHORT),
    },
  };
}

function cursor(): Entries {
  return { fields: { version: 1 }, hooks: { stop: [{ command: 'forumbus hook cursor' }] } };
}

function copilot(): Entries {
  // Its input does not name the event.
  const run = (event: string) => {
    const command = `forumbus hook copilot ${event}`;
    return [{ type: 'command', bash: command, powershell: command, timeoutSec: SHORT }];
  };
  const events = ['sessionStart', 'notification', 'agentStop'];
  return { fields: { version: 1 }, hooks: Object.fromEntries(events.map(event => [event, run(event)])) };
}

export const entries: Record<HostName, () => Entries> = { claude, codex, gemini, cursor, copilot };
