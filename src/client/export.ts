import { ForumbusError } from './error.ts';
import { runPath } from './operations.ts';
import type { Transport } from './transport.ts';

/** A line of an export. It has a member that is named after its type, but for the last line. */
export interface ExportLine {
  type: 'run' | 'agent' | 'thread' | 'post' | 'question' | 'event' | 'end';
  [member: string]: unknown;
}

/** Yields the lines of an export. @throws ForumbusError for a refusal, and if the export was cut */
export async function* exportedLines(
  transport: Transport,
  run_id: string,
  signal: AbortSignal | undefined,
): AsyncGenerator<ExportLine, void, undefined> {
  const call = { method: 'GET', path: `${runPath(run_id)}/export`, accept: 'application/x-ndjson' } as const;
  const connection = await transport.open(call, signal);
  let count = 0;
  let rest = '';
  try {
    const decoder = new TextDecoder();
    for await (const chunk of connection.response.body as unknown as AsyncIterable<Uint8Array>) {
      connection.alive();
      const texts = `${rest}${decoder.decode(chunk, { stream: true })}`.split('\n');
      rest = texts.pop() ?? '';
      for (const text of texts) {
        const line: ExportLine = JSON.parse(text);
        yield line;
        if (line.type === 'end' && line.lines === count) return;
        count += 1;
      }
    }
  } catch (error) {
    throw connection.failure(error);
  } finally {
    connection.close();
  }
  throw new ForumbusError('UNREACHABLE', `The export of ${run_id} was cut after ${count} lines.`);
}
