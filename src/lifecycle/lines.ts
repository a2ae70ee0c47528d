import { createReadStream } from 'node:fs';
import { pipeline } from 'node:stream';
import { createGunzip } from 'node:zlib';
import { type Static, type TSchema, Type } from 'typebox';
import { Actor } from '../actor.ts';
import * as control from '../control/schemas.ts';
import { errorCode } from '../db/errors.ts';
import { StartError } from '../errors.ts';
import { eventSchemas } from '../events/event-types.ts';
import * as events from '../events/schemas.ts';
import { Ref } from '../http/schemas.ts';
import { bodyValidator } from '../http/validation.ts';
import * as questions from '../questions/schemas.ts';
import * as runs from '../runs/schemas.ts';
import * as threads from '../threads/schemas.ts';
import { FORMAT_VERSION } from './export.ts';

/** Sequences of exports stay below this, so that new events find room above them. */
const LARGEST = 2 ** 47;
/** Lines that an import handles together. */
export const BATCH = 200;
/** A longer line is none of an export. Characters. */
const LONGEST_LINE = 16 * 1024 * 1024;

const Run = Type.Object({
  type: Type.Literal('run'),
  format_version: Type.Integer(),
  up_to: Type.Integer({ minimum: 0, maximum: LARGEST }),
  run: Ref(runs.Run),
});
const Agent = Type.Object({ type: Type.Literal('agent'), agent: Ref(control.ControlState) });
const Thread = Type.Object({ type: Type.Literal('thread'), thread: Ref(threads.Thread) });
const Post = Type.Object({ type: Type.Literal('post'), post: Ref(threads.Post) });
const Question = Type.Object({ type: Type.Literal('question'), question: Ref(questions.Question) });
const Event = Type.Object({ type: Type.Literal('event'), event: Ref(events.Event) });
const End = Type.Object({ type: Type.Literal('end'), lines: Type.Integer() });

/** The types of lines, in the order in which an export has them. */
const schemas = { run: Run, agent: Agent, thread: Thread, post: Post, question: Question, event: Event, end: End };
type LineType = keyof typeof schemas;
const order = Object.keys(schemas) as LineType[];

/** A line of an export. */
export type ExportLine = { [T in LineType]: Static<(typeof schemas)[T]> }[LineType];
/** Its number in the file, from 1, and its size in characters. */
export type Numbered = { number: number; size: number } & ExportLine;

const components = [Actor, ...[events, threads, control, questions, runs].flatMap(room => Object.values(room))].filter(
  (schema): schema is TSchema => typeof schema === 'object' && '$id' in schema,
);
const validator = bodyValidator(components);
const lineErrors = new Map(order.map(type => [type, validator(schemas[type])]));
/** By event type. */
const eventErrors = new Map(
  eventSchemas.map(schema => [(schema.properties.event_type as { const: string }).const, validator(schema)]),
);

/** A fault of a file, in one sentence with the place. */
export function faultOf(file: string, number: number, detail: string): StartError {
  return new StartError(`${file}, line ${number}: ${detail}.`);
}

/**
 * Reads the lines of an export, gzipped if its name says so, and checks each one and that all are there.
 * @param options.advance gets the bytes of the file that were read so far
 * @throws StartError with file and line, or the reason of `options.signal`
 */
export async function* readExport(
  file: string,
  { signal, advance }: { signal: AbortSignal; advance: (bytes: number) => void },
): AsyncGenerator<Numbered, void, undefined> {
  let number = 0;
  let last: LineType | undefined;
  for await (const text of linesOf(file, signal, advance)) {
    number += 1;
    const fault = (detail: string) => faultOf(file, number, detail);
    if (last === 'end') throw fault('something follows the end of the export');
    const line = parsed(text, fault);
    if (order.indexOf(line.type) < order.indexOf(last ?? 'run') || (line.type === 'run') !== (number === 1))
      throw fault(
        last ? `a line of the type ${line.type} cannot follow one of the type ${last}` : 'it is not that of a run',
      );
    if (line.type === 'end' && line.lines !== number - 1)
      throw fault(`the export had ${line.lines} lines before its end, here are ${number - 1}`);
    last = line.type;
    yield { ...line, number, size: text.length };
  }
  if (last !== 'end') throw new StartError(`${file}: the export was cut after line ${number}, it has no end.`);
}

/** @throws StartError made by `fault` */
function parsed(text: string, fault: (detail: string) => StartError): ExportLine {
  let line: ExportLine;
  try {
    line = JSON.parse(text);
  } catch {
    throw fault('it is no JSON');
  }
  const errorsOf = lineErrors.get(line?.type);
  if (!errorsOf) throw fault('it has none of the types of an export');
  if (line.type === 'run' && line.format_version !== FORMAT_VERSION)
    throw fault(`its format_version is ${line.format_version}, this version of Forumbus reads ${FORMAT_VERSION}`);
  assertFits(errorsOf(line), fault);
  if (line.type !== 'event') return line;
  const ofType = eventErrors.get(line.event.event_type);
  if (!ofType) throw fault(`the event type ${line.event.event_type} is unknown to this version of Forumbus`);
  assertFits(ofType(line.event), fault);
  if (line.event.sequence > LARGEST) throw fault(`the sequence ${line.event.sequence} is too large`);
  return line;
}

function assertFits([first]: { pointer: string; detail: string }[], fault: (detail: string) => StartError): void {
  if (first) throw fault(`${first.pointer || 'it'} ${first.detail}`);
}

/** The lines of a file as texts. @throws StartError, or the reason of `signal` */
async function* linesOf(
  file: string,
  signal: AbortSignal,
  advance: (bytes: number) => void,
): AsyncGenerator<string, void, undefined> {
  const source = createReadStream(file);
  // A failed source destroys the one that unpacks it, with its error.
  const bytes = file.endsWith('.gz') ? pipeline(source, createGunzip(), () => {}) : source;
  const decoder = new TextDecoder('utf-8', { fatal: true });
  let rest = '';
  try {
    for await (const chunk of bytes as AsyncIterable<Buffer>) {
      signal.throwIfAborted();
      advance(source.bytesRead);
      const texts = `${rest}${decoder.decode(chunk, { stream: true })}`.split('\n');
      rest = texts.pop() ?? '';
      if (rest.length > LONGEST_LINE) throw new StartError(`${file}: a line is too long for an export.`);
      yield* texts;
    }
    rest += decoder.decode();
  } catch (error) {
    throw readError(file, error);
  } finally {
    source.destroy();
  }
  if (rest !== '') yield rest;
}

/** Maps an error of reading a file to a StartError; answers an unknown error unchanged. */
function readError(file: string, error: unknown): unknown {
  const code = errorCode(error) ?? '';
  if (code === 'Z_BUF_ERROR') return new StartError(`${file}: the file was cut, its compression has no end.`);
  if (code.startsWith('Z_')) return new StartError(`${file}: the file is not compressed with gzip, or is damaged.`);
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return new StartError(`${file}: the file is not in UTF-8.`);
  if (/^E[A-Z]+$/.test(code)) return new StartError(`The file ${file} cannot be read (${code}).`);
  return error;
}
