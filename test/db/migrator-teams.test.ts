import { createHash } from 'node:crypto';
import { describe, expect, it, onTestFinished } from 'vitest';
import { migrations } from '../../migrations/index.ts';
import { startApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { emptyDatabase, engines } from '../helpers/engines.ts';
import { loadPreviousRelease, previousTokens } from '../helpers/previous-release.ts';
import { sqlBeside } from '../helpers/sql.ts';
import { bearer } from '../helpers/tokens.ts';
import { migrateTo } from '../helpers/versions.ts';

const HOUR = 3_600_000;
const BEFORE = Object.keys(migrations).indexOf('016-teams');

describe.each(engines)('the migration for teams on %s', engine => {
  it('keeps tokens and logins, which can then be rotated', async () => {
    const database = await emptyDatabase(engine);
    onTestFinished(database.drop);
    const { url } = database;
    await loadPreviousRelease(url);
    await migrateTo(BEFORE, engine, url);
    const clock = new ManualClock();
    const { operator, admin } = previousTokens;
    const [, tokenId = ''] = operator.split('_');
    const hash = createHash('sha256').update('secret of a browser').digest('hex');
    await sqlBeside(
      url,
      `insert into page_logins (secret_hash, kind, token_id, created_at, expires_at)
       values ('${hash}', 'session', '${tokenId}', ${clock.now()}, ${clock.now() + 24 * HOUR})`,
    );

    const service = await startApp(engine, { database: { url, drop: async () => {} }, overrides: { clock } });
    onTestFinished(() => service.close());
    const statusOf = async (headers: Record<string, string>) =>
      (await service.send('GET', '/me', undefined, headers)).status;
    const login = { cookie: 'forumbus_80=secret of a browser' };
    expect([await statusOf(bearer(operator)), await statusOf(login)]).toEqual([200, 200]);
    const rotated = await service.send('POST', `/tokens/${tokenId}/rotate`, {}, bearer(admin));
    expect(rotated.status, JSON.stringify(rotated.body)).toBe(200);
    expect([await statusOf(bearer(operator)), await statusOf(login)]).toEqual([200, 200]);
    expect((await service.send('GET', '/audit', undefined, bearer(admin))).body.items).toMatchObject([
      { operation: 'rotateToken', resources: { token_id: tokenId } },
    ]);
    clock.advance(HOUR);
    expect([await statusOf(bearer(operator)), await statusOf(login)]).toEqual([401, 401]);
    expect(await statusOf(bearer(rotated.body.token))).toBe(200);
  });
});
