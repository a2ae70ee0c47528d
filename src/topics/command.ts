import type { Static, TSchema } from 'typebox';
import type { Tx } from '../db/database.ts';
import { type ProblemItem, Refusal } from '../errors.ts';
import { memoize } from '../memoize.ts';
import type { Handler } from '../worker/handler.ts';

/** Compiles a check for payloads, with the rules for request bodies. */
export type Validator = (schema: TSchema) => (payload: unknown) => ProblemItem[];

/** The topics of commands are `forum.commands.` and one of these. */
export const commandNames = [
  'control_signal',
  'open_thread',
  'add_post',
  'assign_thread',
  'change_state',
  'set_priority',
  'close_thread',
] as const;

export type CommandName = (typeof commandNames)[number];

interface Command<T extends TSchema> {
  name: CommandName;
  /** The payload: body and path parameters of the HTTP call. A function picks the schema by the payload. */
  schema: T | ((payload: unknown) => T);
  /** Runs in the transaction that marks the message sent. Its result is stored on the message. */
  run: (tx: Tx, payload: Static<T>) => Promise<Record<string, unknown>>;
}

export const commandTopic = (name: CommandName) => `forum.commands.${name}`;

/** A topic and its handler. */
export type CommandHandler = Pick<Handler, 'handle'> & { topic: string };

/** Compiled schemas that a command keeps: one, or one per schema version. */
const SCHEMAS_CACHED = 100;

/**
 * Runs an HTTP call as a message, exactly once per message. A refusal makes the message dead at once, since no retry can
 * help.
 */
export function command<T extends TSchema>(validator: Validator, { name, schema, run }: Command<T>): CommandHandler {
  const validators = memoize(validator, SCHEMAS_CACHED);
  return {
    topic: commandTopic(name),
    async handle(message, context, tx) {
      try {
        // A copy, since validation normalizes names.
        const payload: unknown = structuredClone(message.payload);
        const faults = validators(typeof schema === 'function' ? schema(payload) : schema)(payload);
        if (faults.length > 0) throw new Refusal('VALIDATION_FAILED', describe(faults));
        context.record(await run(tx as Tx, payload as Static<T>));
      } catch (error) {
        throw error instanceof Refusal ? context.permanent(`${error.code}: ${reasonOf(error)}`) : error;
      }
    },
  };
}

/** Services name the fields of a body; here they are those of the payload. */
function reasonOf({ message, extensions }: Refusal): string {
  return Array.isArray(extensions.errors) ? describe(extensions.errors) : message;
}

function describe(faults: ProblemItem[]): string {
  return `${faults.map(({ pointer, detail }) => `payload${pointer} ${detail.replace(/\.$/, '')}`).join('; ')}.`;
}
