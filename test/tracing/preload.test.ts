import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { scratchDatabase } from '../helpers/engines.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import type { EndedSpan } from '../helpers/otel.ts';
import { forThisTest, startService } from '../helpers/process.ts';

/** Says which span is active while it runs: the one that its own child would have as its parent. */
const handler = `
export const topic = 'forum.integration.chat';
export async function handle(_message, { log, traceparent }) {
  await new Promise(resolve => setImmediate(resolve));
  log.info({ traceparent }, 'handled');
}
`;

it('an SDK that is loaded before the service records its spans', async () => {
  const { url: DATABASE_URL } = await forThisTest(scratchDatabase('sqlite'));
  const HANDLERS_DIR = await handlersFolder({ 'chat.mjs': handler });
  const preload = fileURLToPath(new URL('../helpers/otel-preload.ts', import.meta.url));
  const service = await startService({ DATABASE_URL, HANDLERS_DIR, NODE_OPTIONS: `--import=${preload}` });
  await service.send('POST', '/outbox', { topic: 'forum.integration.chat', payload: null });
  const request = (await service.line('span POST /outbox')).span as EndedSpan;
  const processing = (await service.line('span process forum.integration.chat')).span as EndedSpan;
  expect(request).toMatchObject({ kind: 'SERVER', attributes: { 'http.response.status_code': 201 } });
  expect(processing).toMatchObject({ kind: 'CONSUMER', trace_id: request.trace_id, parent: request.span_id });
  expect(await service.line('handled')).toMatchObject({
    trace_id: request.trace_id,
    traceparent: `00-${request.trace_id}-${processing.span_id}-01`,
  });
  expect(await service.line('incoming request')).toMatchObject({ trace_id: request.trace_id });
});
