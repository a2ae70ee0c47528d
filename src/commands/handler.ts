import { basename, dirname } from 'node:path';
import { readConfig } from '../config.ts';
import { textOf } from '../error-text.ts';
import { StartError } from '../errors.ts';
import { eventTopic } from '../events/envelope.ts';
import { eventTypes, sampleEvent } from '../events/event-types.ts';
import { callOf } from '../invocation.ts';
import { createStderrLogger, logWarnings } from '../logging.ts';
import type { Outcome } from '../outbox/outcome.ts';
import type { Message } from '../outbox/schemas.ts';
import { printable } from '../printable.ts';
import { topicMatches } from '../subscriptions/patterns.ts';
import { defaultPolicy } from '../worker/handler.ts';
import { loadHandlerFile } from '../worker/load-handlers.ts';
import { failOrigin } from '../worker/origin.ts';
import { tryHandler } from '../worker/trial.ts';
import { answerHelp, endWith, readArguments } from './command.ts';

/*
 * `npm run handler -- test`: runs one handler once, without a service, and prints the outcome on stdout. What the handler
 * logs goes to stderr. The command calls process.exit, since a handler may hold a timer open.
 */

const USAGE = callOf('handler', 'test FILE (--event TYPE | --topic TOPIC --payload JSON)');
await answerHelp(
  USAGE,
  'Runs the handler in FILE once, with a sample of an event type or with your message. 0 if handled, 1 if not, 2 for wrong usage.',
);

const log = createStderrLogger('info');
logWarnings(log);
// As in the service, an error that escapes from the handler fails its attempt.
const escaped = (error: unknown) => {
  const origin = failOrigin(error);
  if (origin) log.error({ handler: origin.handler, error: textOf(error) }, 'uncaught error of a handler');
  else endWith(process.stderr, `${textOf(error)}\n`, 1);
};
process.on('uncaughtException', escaped).on('unhandledRejection', escaped);

interface Request {
  file: string;
  message: Pick<Message, 'topic' | 'message_key' | 'payload'>;
}

/** @throws StartError for wrong usage */
function readRequest(): Request {
  const options = { event: { type: 'string' }, topic: { type: 'string' }, payload: { type: 'string' } } as const;
  const { positionals, values } = readArguments(USAGE, 2, options);
  const [command, file] = positionals as [string, string];
  const { event, topic, payload } = values;
  if (command !== 'test') throw new StartError(`The command ${command} is unknown. Usage: ${USAGE}`);
  if (event !== undefined && topic === undefined && payload === undefined) return { file, message: sampleOf(event) };
  if (event === undefined && topic !== undefined && payload !== undefined)
    return { file, message: { topic, message_key: null, payload: parsed(payload) } };
  throw new StartError(`Either --event, or --topic and --payload are needed. Usage: ${USAGE}`);
}

function sampleOf(event: string): Request['message'] {
  const type = eventTypes.find(known => known === event);
  if (!type) throw new StartError(`There is no event type ${event}. The types are ${eventTypes.join(', ')}.`);
  const payload = sampleEvent(type);
  return { topic: eventTopic(type), message_key: payload.thread_id, payload };
}

function parsed(json: string): unknown {
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new StartError(`The --payload is not JSON: ${(error as Error).message}. Usage: ${USAGE}`);
  }
}

/** The outcome in lines for people. @throws StartError if the handler cannot be used, or does not take the topic */
async function outcomeOf({ file, message }: Request): Promise<{ lines: string[]; code: number }> {
  const config = readConfig(process.env);
  const handler = await loadHandlerFile(dirname(file), basename(file), defaultPolicy(config));
  const { name, topics } = handler;
  if (!topics.some(pattern => topicMatches(pattern, message.topic))) {
    throw new StartError(`The handler ${name} does not take ${message.topic}: its topics are ${topics.join(', ')}.`);
  }
  const outcome = await tryHandler({ handler, message, maxAttempts: config.MAX_ATTEMPTS, log });
  return { lines: toLines(outcome), code: outcome.kind === 'sent' ? 0 : 1 };
}

function toLines(outcome: Outcome): string[] {
  switch (outcome.kind) {
    case 'sent':
      return ['sent', ...(outcome.result === undefined ? [] : [`result: ${outcome.result}`])];
    case 'retry':
      return [`retry: ${outcome.error}`, `The next attempt would begin after ${outcome.delayMs} ms.`];
    case 'postponed':
      return [`retryAt ${new Date(outcome.until).toISOString()}: ${outcome.error}`];
    case 'dead':
      return [`permanent: ${outcome.error}`, 'The message would be dead: no attempt would follow.'];
    default:
      throw new Error(`A trial cannot end as ${outcome.kind}.`);
  }
}

let request: Request | undefined;
try {
  request = readRequest();
  const { lines, code } = await outcomeOf(request);
  endWith(process.stdout, lines.map(line => `${printable(line)}\n`).join(''), code);
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  endWith(process.stderr, `${error.message}\n`, request ? 1 : 2);
}
