import { describe, expect, it } from 'vitest';
import { framesOf } from '../../src/client/sse.ts';

/** The frames of a text that arrives in these pieces. */
async function read(pieces: Iterable<Uint8Array>) {
  const frames = [];
  for await (const frame of framesOf(ReadableStream.from(pieces), () => {})) frames.push(frame);
  return frames;
}

const lines = [
  'retry: 1000',
  '',
  'id: 1',
  'event: x',
  'data: {"a":"ü"}',
  '',
  ': beat',
  'id: 2',
  '',
  'data:b',
  'data: c',
  'id: 3',
  '',
  'data: cut',
];
const frames = [{ id: '1', data: '{"a":"ü"}' }, { id: '2' }, { data: 'b\nc', id: '3' }];

describe.each([
  ['LF', '\n'],
  ['CRLF', '\r\n'],
  ['CR', '\r'],
])('a stream with %s', (_name, end) => {
  const bytes = new TextEncoder().encode(lines.join(end));

  it('is read the same wherever it is cut', async () => {
    for (let at = 0; at <= bytes.length; at += 1)
      expect(await read([bytes.slice(0, at), bytes.slice(at)])).toEqual(frames);
    expect(await read(Array.from(bytes, byte => Uint8Array.of(byte)))).toEqual(frames);
  });
});
