import { describe, expect, it, onTestFinished } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { startApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { handler } from '../helpers/handling.ts';
import { signal } from '../helpers/signals.ts';
import { bearer, firstToken } from '../helpers/tokens.ts';

describe.each(engines)('GET /bus/health on %s', engine => {
  it('shows names of topics to callers with a token only', async () => {
    const service = await startApp(engine);
    onTestFinished(() => service.close());
    const topic = 'forum.integration.secret-project';
    await service.send('POST', '/outbox', { topic, payload: {} });
    while ((await service.send('POST', '/bus/process', { limit: 100 })).body.claimed > 0);
    const health = (headers: Record<string, string> = {}) => service.send('GET', '/bus/health', undefined, headers);
    const open = (await health()).body;
    expect(open).toMatchObject({ access: 'open', status: 'degraded', topics_without_handler: [topic] });

    const { token } = await firstToken(service.url, { role: 'viewer', actor: { type: 'human', name: 'vera' } });
    // A probe waits for no look at the database, so that of a token made beside it learns at the next request or poll.
    expect((await service.send('GET', '/stats')).status).toBe(401);
    for (const headers of [{}, bearer('fbt_1_2'), bearer(`${token.slice(0, -1)}x`), { authorization: 'Basic eDp5' }]) {
      const { status, body } = await health(headers);
      expect(status).toBe(200);
      expect(body).toMatchObject({ access: 'tokens', status: 'degraded', topics_without_handler: null });
      expect(body.reasons.map(({ code }: { code: string }) => code)).toEqual(
        open.reasons.map(({ code }: { code: string }) => code),
      );
      expect(JSON.stringify(body)).not.toContain('secret-project');
    }
    const known = (await health(bearer(token))).body;
    expect(known).toMatchObject({ access: 'tokens', topics_without_handler: [topic] });
    expect(JSON.stringify(known.reasons)).toContain(topic);
  });

  it('counts events without a delivery, and names who serves them not to callers with a token only', async () => {
    const notes = handler('forum.events.control.*', () => {}, { name: 'secret-notes' });
    const service = await startApp(engine, { overrides: { handlers: [notes] } });
    onTestFinished(() => service.close());
    const health = async (headers: Record<string, string> = {}) =>
      (await service.send('GET', '/bus/health', undefined, headers)).body;
    // Nothing waits yet, so that nobody serves it is no reason.
    expect(await health()).toMatchObject({ status: 'ok', outbox: { pending: 0, oldest_pending_at: null } });
    for (let n = 0; n < 3; n += 1) await service.send('POST', '/control-signals', signal('completion'));
    expect((await service.send('GET', '/outbox')).body.items).toEqual([]);
    await expect
      .poll(() => health(), { timeout: 5000 })
      .toMatchObject({
        status: 'degraded',
        reasons: [{ code: 'NOT_SERVED', detail: expect.stringContaining('no process serves: secret-notes.') }],
        outbox: { pending: 3, oldest_pending_at: expect.any(String) },
      });

    const { token } = await firstToken(service.url, { role: 'viewer', actor: { type: 'human', name: 'vera' } });
    expect((await service.send('GET', '/stats')).status).toBe(401);
    const stranger = await health();
    expect(stranger).toMatchObject({ reasons: [{ code: 'NOT_SERVED' }], outbox: { pending: 3 } });
    expect(JSON.stringify(stranger)).not.toContain('secret-notes');
    expect(JSON.stringify((await health(bearer(token))).reasons)).toContain('secret-notes');
  });
});

describe('GET /version', () => {
  it('says which version runs, to everybody', async () => {
    const service = await startApp('sqlite');
    onTestFinished(() => service.close());
    await firstToken(service.url);
    const { status, body } = await service.send('GET', '/version');
    expect(status).toBe(200);
    expect(body).toEqual({ version: packageJson.version, node: process.versions.node });
    expect((await service.send('GET', '/openapi.json')).body.info.version).toBe(body.version);
  });
});
