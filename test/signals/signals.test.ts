import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { startApp, type TestApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';

describe.each(engines)('control signals on %s', engine => {
  let service: TestApp;
  beforeAll(async () => {
    service = await startApp(engine);
  });
  afterAll(() => service.close());

  it('opens a control thread, an event and a message with the first signal', async () => {
    const { status, body } = await service.send('POST', '/control-signals', signal('completion'));
    expect(status).toBe(201);
    expect(body.control.status).toBe('completed');
  });
});
