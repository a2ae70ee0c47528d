import { describe, expect, it, onTestFinished } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { expectProblem } from '../helpers/problems.ts';
import { bearer, people, withTokens } from '../helpers/tokens.ts';

describe.each(engines)('GET /me on %s', engine => {
  it('says what a token stands for, and that there are none', async () => {
    const service = await startApp(engine);
    onTestFinished(() => service.close());
    const me = async (token?: string) => service.send('GET', '/me', undefined, token ? bearer(token) : {});
    const nobody = { token_id: null, name: null, actor: null, runs: null, run_id: null, agents: null };
    expect((await me()).body).toEqual({ access: 'open', role: 'admin', ...nobody });

    const { issue } = await withTokens(service);
    expectProblem(await me(), 'UNAUTHORIZED');
    const viewer = await issue({ role: 'viewer', actor: people.viewer });
    const { token_id } = viewer;
    const wanted = { access: 'token', role: 'viewer', token_id, name: 'vera', actor: people.viewer };
    expect((await me(viewer.token)).body).toEqual({ ...wanted, runs: null, run_id: null, agents: null });
    const one = await issue({ role: 'agent', runs: 'run-*', agents: 'b\\*' });
    expect((await me(one.token)).body).toMatchObject({ role: 'agent', name: 'b*', runs: 'run-*', agents: 'b\\*' });
    const several = await issue({ role: 'agent', runs: 'run-1', agents: 'b*' });
    expect((await me(several.token)).body).toMatchObject({ name: null, runs: 'run-1', agents: 'b*' });
  });
});
