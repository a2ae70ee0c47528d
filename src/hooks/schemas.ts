import { type Static, Type } from 'typebox';
import { Name, Strict } from '../http/schemas.ts';

export const HookQuery = Strict({
  run: Type.Optional(Type.String({ ...Name, description: 'The run; that of the token if left out.' })),
  agent: Type.Optional(
    Type.String({ ...Name, description: 'The agent; that of the token if left out, or else `claude`.' }),
  ),
});

export const ClaudeHookInput = Type.Object(
  { hook_event_name: Type.String({ maxLength: 100 }), session_id: Type.String({ maxLength: 500 }) },
  {
    $id: 'ClaudeHookInput',
    additionalProperties: true,
    description: 'An event of Claude Code, as it hands it to hooks.',
    examples: [{ hook_event_name: 'UserPromptSubmit', session_id: '6f1c2a', cwd: '/home/ana/shop', prompt: 'Go on.' }],
  },
);

export const HookReply = Type.Object(
  { hookSpecificOutput: Type.Object({ hookEventName: Type.String() }, { additionalProperties: true }) },
  {
    $id: 'HookReply',
    description: 'What Claude Code does with the event.',
    examples: [
      {
        hookSpecificOutput: {
          hookEventName: 'UserPromptSubmit',
          additionalContext: 'Answer to q_12 by ana: eu-west-1 (question: Which region?)',
        },
      },
    ],
  },
);
export type HookReply = Static<typeof HookReply>;
