import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';

const TRACE = '0af7651916cd43dd8448eb211c80319c';
const PARENT = 'b7ad6b7169203331';

const accepted: Record<string, [header: string, stored: string]> = {
  sampled: [`00-${TRACE}-${PARENT}-01`, `00-${TRACE}-${PARENT}-01`],
  'not sampled': [`00-${TRACE}-${PARENT}-00`, `00-${TRACE}-${PARENT}-00`],
  'with flags that nobody knows yet': [`00-${TRACE}-${PARENT}-ff`, `00-${TRACE}-${PARENT}-ff`],
  // What version 00 does not know of is left out, and of the flags all but the one that it knows.
  'of a later version': [`cc-${TRACE}-${PARENT}-03`, `00-${TRACE}-${PARENT}-01`],
  'of a later version that has more in it': [`01-${TRACE}-${PARENT}-00-what-comes`, `00-${TRACE}-${PARENT}-00`],
};

const malformed: Record<string, string> = {
  empty: '',
  'any text': 'hello',
  'of the version that is none': `ff-${TRACE}-${PARENT}-01`,
  'without flags': `00-${TRACE}-${PARENT}`,
  'with more behind it than its version has': `00-${TRACE}-${PARENT}-01-extra`,
  'with a hyphen behind it': `00-${TRACE}-${PARENT}-01-`,
  'of a later version that goes on without a hyphen': `cc-${TRACE}-${PARENT}-01.extra`,
  'in capitals': `00-${TRACE.toUpperCase()}-${PARENT}-01`,
  'with a trace id of zeros': `00-${'0'.repeat(32)}-${PARENT}-01`,
  'with a parent id of zeros': `00-${TRACE}-${'0'.repeat(16)}-01`,
  'with a trace id that is too short': `00-${TRACE.slice(1)}-${PARENT}-01`,
  'with a parent id that is too long': `00-${TRACE}-${PARENT}0-01`,
  'with letters that are no digits': `00-${TRACE.replace('0', 'g')}-${PARENT}-01`,
  'with flags that are no digits': `00-${TRACE}-${PARENT}-0x`,
  'with underscores': `00_${TRACE}_${PARENT}_01`,
  twice: `00-${TRACE}-${PARENT}-01, 00-${TRACE}-${PARENT}-01`,
};

describe('a traceparent header', () => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp('sqlite');
  });
  afterAll(() => service.close());

  async function stored(traceparent: string): Promise<unknown> {
    const message = { topic: 'forum.integration.chat', payload: null };
    const { status, body } = await service.send('POST', '/outbox', message, { traceparent });
    expect(status).toBe(201);
    return (await service.send('GET', `/outbox/${body.message_id}`)).body.traceparent;
  }

  it.each(Object.keys(accepted))('%s is stored with the message', async name => {
    const [header, expected] = accepted[name] as [string, string];
    expect(await stored(header)).toBe(expected);
  });

  it.each(Object.keys(malformed))('%s is ignored', async name => {
    expect(await stored(malformed[name] as string)).toBeNull();
  });
});
