import { describe, expect, it, onTestFinished } from 'vitest';
import { migrations } from '../../migrations/index.ts';
import { startApp } from '../helpers/app.ts';
import { emptyDatabase, engines } from '../helpers/engines.ts';
import { loadPreviousRelease, previousTokens } from '../helpers/previous-release.ts';
import { bearer } from '../helpers/tokens.ts';
import { migrateTo } from '../helpers/versions.ts';

const BEFORE = Object.keys(migrations).indexOf('017-approvals');

describe.each(engines)('the migration for questions of two people on %s', engine => {
  it('leaves all questions to one person', async () => {
    const database = await emptyDatabase(engine);
    onTestFinished(database.drop);
    const { url } = database;
    await loadPreviousRelease(url);
    await migrateTo(BEFORE, engine, url);
    const service = await startApp(engine, { database: { url, drop: async () => {} } });
    onTestFinished(() => service.close());
    const operator = bearer(previousTokens.operator);
    const all = (await service.send('GET', '/questions?limit=200', undefined, operator)).body.items;
    expect(all.length).toBeGreaterThan(2);
    for (const question of all) expect(question).toMatchObject({ approvals_required: 1, approvals: [] });
    const { question_id } = all.find(({ state }: { state: string }) => state === 'open');
    const answered = await service.send('PUT', `/questions/${question_id}/answer`, { answer: 'Yes.' }, operator);
    expect(answered.body).toMatchObject({ state: 'answered', approvals: [] });
  });
});
