import type { Static, TSchema } from 'typebox';
import type { Tx } from '../db/database.ts';
import { type ProblemItem, Refusal } from '../errors.ts';
import type { Handler } from '../worker/handler.ts';

/** Makes the check of a payload, by the rules that hold for the body of a request. */
export type Validator = (schema: TSchema) => (payload: unknown) => ProblemItem[];

interface Command<T extends TSchema> {
  /** The topic is `forum.commands.` and this. */
  name: string;
  /** The payload: what the HTTP call takes in its body and its path. */
  schema: T;
  /** What is to be refused before the schema is asked. */
  precheck?: (payload: unknown) => void;
  /** The effect, in the transaction that marks the message sent. Answers what it has made, to be kept on the message. */
  run: (tx: Tx, payload: Static<T>) => Promise<Record<string, unknown>>;
}

/** A topic and what handles its messages. */
export type CommandHandler = Pick<Handler, 'handle'> & { topic: string };

/**
 * Does what an HTTP call does, exactly once per message. What the call would refuse makes the message dead at once, with
 * the reason: no retry can help.
 */
export function command<T extends TSchema>(
  validator: Validator,
  { name, schema, precheck, run }: Command<T>,
): CommandHandler {
  const faultsOf = validator(schema);
  return {
    topic: `forum.commands.${name}`,
    async handle({ payload }, context, tx) {
      try {
        precheck?.(payload);
        const faults = faultsOf(payload);
        if (faults.length > 0) throw new Refusal('VALIDATION_FAILED', describe(faults));
        context.record(await run(tx as Tx, payload as Static<T>));
      } catch (error) {
        throw error instanceof Refusal ? context.permanent(`${error.code}: ${error.message}`) : error;
      }
    },
  };
}

function describe(faults: ProblemItem[]): string {
  return `${faults.map(({ pointer, detail }) => `payload${pointer} ${detail.replace(/\.$/, '')}`).join('; ')}.`;
}
