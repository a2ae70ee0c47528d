import { once } from 'node:events';
import { get, type IncomingMessage } from 'node:http';
import { onTestFinished } from 'vitest';
import type { Event } from '../../src/events/schemas.ts';

/** The fields of one frame of an event stream; what stands behind a colon alone is a comment. */
interface Frame {
  id?: string;
  event?: string;
  data?: string;
  retry?: string;
  comment?: string;
}

/**
 * A reader of GET /events/stream that takes from its socket only what the test asks for. So a test decides how slow it
 * is and when it goes away.
 */
export class StreamReader {
  readonly response: IncomingMessage;
  /** The last id that came, as a client would send it when it comes back. */
  lastId: string | undefined;
  readonly #frames: AsyncGenerator<Frame>;

  constructor(response: IncomingMessage) {
    this.response = response;
    this.#frames = framesOf(response);
  }

  /** The next frame; undefined when the server has ended the stream. */
  async frame(): Promise<Frame | undefined> {
    const { value } = await this.#frames.next();
    if (value?.id !== undefined) this.lastId = value.id;
    return value;
  }

  /** The next frame that carries an event. */
  async eventFrame(): Promise<Frame> {
    for (;;) {
      const frame = await this.frame();
      if (!frame) throw new Error('The stream has ended.');
      if (frame.data !== undefined) return frame;
    }
  }

  async event(): Promise<Event> {
    return JSON.parse((await this.eventFrame()).data as string);
  }

  /** The sequences of the next events. */
  async sequences(count: number): Promise<number[]> {
    const sequences: number[] = [];
    while (sequences.length < count) sequences.push(Number((await this.eventFrame()).id));
    return sequences;
  }

  /** Goes away without a word. */
  leave(): void {
    this.response.destroy();
  }
}

/** Asks for the stream, over a connection of its own. It does not outlive the test. */
export async function openStream(
  origin: string,
  query = '',
  lastEventId?: string,
  more: Record<string, string> = {},
): Promise<StreamReader> {
  const id = lastEventId !== undefined && { 'last-event-id': lastEventId };
  const asking = get(`${origin}/events/stream${query}`, {
    agent: false,
    headers: { connection: 'keep-alive', ...id, ...more },
  });
  const [response] = await once(asking, 'response');
  // A connection that is cut is told to whoever reads; nobody may be reading.
  response.on('error', () => {});
  onTestFinished(() => {
    response.destroy();
  });
  return new StreamReader(response);
}

async function* framesOf(response: IncomingMessage): AsyncGenerator<Frame, undefined> {
  let rest = '';
  for await (const chunk of response.setEncoding('utf8')) {
    const frames = (rest + chunk).split('\n\n');
    rest = frames.pop() ?? '';
    yield* frames.map(parse);
  }
  if (rest !== '') throw new Error(`The stream ended within a frame: ${rest}`);
}

function parse(frame: string): Frame {
  const fields = frame.split('\n').map(line => {
    const colon = line.indexOf(':');
    return [line.slice(0, colon) || 'comment', line.slice(colon + 1).trimStart()];
  });
  return Object.fromEntries(fields);
}
