import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Forumbus } from '../../src/client/index.ts';

/** A service that answers every export with this text. */
async function clientOf(text: string): Promise<Forumbus> {
  const server = createServer((_request, response) => {
    response.writeHead(200, { 'content-type': 'application/x-ndjson' });
    // In pieces, since lines may arrive in any.
    for (const piece of text.match(/.{1,7}|\n/gs) ?? []) response.write(piece);
    response.end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return new Forumbus({ url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` });
}

const run = '{"type":"run","run":{"run_id":"größe"}}\n';
async function linesOf(client: Forumbus) {
  const lines = [];
  for await (const line of client.exportRun('run-7')) lines.push(line);
  return lines;
}

describe('an export', () => {
  it('is read line by line up to its end', async () => {
    const client = await clientOf(`${run}{"type":"end","lines":1}\n`);
    expect(await linesOf(client)).toEqual([
      { type: 'run', run: { run_id: 'größe' } },
      { type: 'end', lines: 1 },
    ]);
  });

  it.each([
    ['without its last line', run],
    ['in the middle of a line', `${run}{"type":"ev`],
    ['with fewer lines than it says', '{"type":"end","lines":1}\n'],
  ])('that comes %s is found out', async (_name, text) => {
    const client = await clientOf(text);
    await expect(linesOf(client)).rejects.toThrow(/cut after/);
  });
});
