import { type ContextManager, context, ProxyTracer, ROOT_CONTEXT } from '@opentelemetry/api';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { handler } from '../helpers/handling.ts';
import { newTraceparent } from '../helpers/traces.ts';

const CHAT = 'forum.integration.chat';

let service: TestApp;
const handled = new Map<string, string | undefined>();
/** A context manager as an SDK brings it, and no tracer provider. */
const contexts = { active: vi.fn(() => ROOT_CONTEXT), with: vi.fn(), bind: vi.fn() };

beforeAll(async () => {
  context.setGlobalContextManager({ ...contexts, enable: vi.fn(), disable: vi.fn() } as unknown as ContextManager);
  const handlers = [handler(CHAT, ({ message_id }, { traceparent }) => void handled.set(message_id, traceparent))];
  service = await startApp('sqlite', { config: { ROLE: 'all' }, overrides: { handlers } });
});
afterAll(async () => {
  await service.close();
  context.disable();
});

it('nothing of OpenTelemetry is called, and what is traced passes through', async () => {
  const spans = vi.spyOn(ProxyTracer.prototype, 'startSpan');
  const traceparent = newTraceparent();
  for (const headers of [{}, { traceparent }]) {
    const { body } = await service.send('POST', '/outbox', { topic: CHAT, payload: null }, headers);
    await expect.poll(() => handled.has(body.message_id), { interval: 5 }).toBe(true);
    expect(handled.get(body.message_id)).toBe('traceparent' in headers ? traceparent : undefined);
  }
  for (const called of [...Object.values(contexts), spans]) expect(called).not.toHaveBeenCalled();
});
