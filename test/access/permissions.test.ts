import { fastify } from 'fastify';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import openapi from '../../openapi/openapi.json' with { type: 'json' };
import { useAccess } from '../../src/access/hook.ts';
import { permissions, roles } from '../../src/access/permissions.ts';
import type { NewToken } from '../../src/access/schemas.ts';
import { actorText } from '../../src/actor.ts';
import { type Answer, startApp, type TestApp } from '../helpers/app.ts';
import { withoutTrace } from '../helpers/database.ts';
import { type Example, exampleRequests } from '../helpers/operations.ts';
import { deadly } from '../helpers/posts.ts';
import { expectProblem } from '../helpers/problems.ts';
import { bearer, people, withTokens } from '../helpers/tokens.ts';

const documented = Object.values(openapi.paths).flatMap(methods =>
  Object.values(methods as Record<string, { operationId: string; responses: object }>),
);
const operations = documented.map(({ operationId }) => operationId);
/** People whose tokens are for the runs whose names begin with `run-1`. */
const ofRuns = ['viewer of runs', 'operator of runs'] as const;
const callers = ['nobody', ...roles, ...ofRuns] as const;
type CallerName = (typeof callers)[number];

/** Who may do what, said once more and in another way than `permits` does. */
function isAllowed(operation: string, role: CallerName): boolean {
  const rule = permissions[operation];
  if (rule === undefined) throw new Error(`The table has no ${operation}.`);
  if (rule === 'anybody') return true;
  const { viewer, operator, ofRuns } = rule;
  const who = { nobody: false, agent: rule.agent !== 'no', viewer, operator, admin: true };
  return { ...who, 'viewer of runs': viewer && ofRuns, 'operator of runs': operator && ofRuns }[role];
}

describe('the table of permissions', () => {
  it('has every documented operation, and this test an example of each', () => {
    const known = [...new Set(operations)].sort();
    expect(Object.keys(permissions).sort()).toEqual(known);
    const examples = exampleRequests(() => Promise.reject(new Error('nothing is sent here')), '', '');
    expect(Object.keys(examples).sort()).toEqual(known);
  });

  it('lets nothing be served that it does not have', async () => {
    const app = fastify();
    const access = { authenticate: () => Promise.reject(new Error('nobody comes')) };
    const nothing = async () => {};
    const rates = { limitToken: nothing, limitFailures: nothing, limitDocuments: nothing, trust() {} };
    const opening = { isOpen: false, checkOpen: async () => false };
    useAccess(app, { access, opening, origins: [], rates, identified: () => {} });
    const answer = () => 'hello';
    expect(() => app.get('/a', answer)).toThrow(/has no rule for GET \/a/);
    expect(() => app.get('/b', { schema: { summary: 'without an id' } }, answer)).toThrow(/GET \/b/);
    for (const operationId of ['readMinds', 'constructor', '']) {
      expect(() => app.post('/c', { schema: { operationId } as object }, answer)).toThrow(/POST \/c/);
    }
    app.get('/d', { schema: { operationId: 'getStats' } as object }, answer);
    app.get('/e', { schema: { hide: true } as object }, answer);
    await app.close();
  });
});

describe('a valid request', () => {
  let service: TestApp;
  let headers: Record<CallerName, Record<string, string>>;
  let examples: Record<CallerName, Record<string, () => Promise<Example>>>;
  beforeAll(async () => {
    service = await startApp('sqlite', { overrides: { handlers: [deadly] } });
    const { issue, first, admin } = await withTokens(service);
    const made = async (wanted: NewToken) => bearer((await issue(wanted)).token);
    headers = {
      nobody: {},
      agent: await made({ role: 'agent', runs: 'run-1', agents: 'builder' }),
      viewer: await made({ role: 'viewer', actor: people.viewer }),
      operator: await made({ role: 'operator', actor: people.operator }),
      admin: bearer(first.token),
      'viewer of runs': await made({ role: 'viewer', actor: people.viewer, runs: 'run-1*' }),
      'operator of runs': await made({ role: 'operator', actor: people.operator, runs: 'run-1*' }),
    };
    const as = (viewer: string) => exampleRequests(admin, viewer, service.url);
    examples = {
      nobody: as('human:ana'),
      agent: as('agent:builder'),
      viewer: as(actorText(people.viewer)),
      operator: as(actorText(people.operator)),
      admin: as(actorText(people.admin)),
      'viewer of runs': as(actorText(people.viewer)),
      'operator of runs': as(actorText(people.operator)),
    };
  });
  afterAll(() => service.close());

  /** Sends it; of a stream only the head is awaited. */
  async function sent(caller: CallerName, { method, url, body }: Example): Promise<Answer> {
    if (!url.startsWith('/events/stream')) {
      const type = body === undefined ? {} : { 'content-type': 'application/json' };
      const payload = body === undefined ? {} : { payload: JSON.stringify(body) };
      // From several addresses: of one, only so many requests without a token are answered 401.
      const remoteAddress = `127.0.0.${4 + (url.length % 4)}`;
      const response = await service.app.inject({
        ...{ method, url, remoteAddress, headers: { ...type, ...headers[caller] }, ...payload },
      });
      const { statusCode: status, headers: answered, body: text } = response;
      const isJson = /[/+]json\b/.test(String(answered['content-type']));
      return { status, headers: answered, body: isJson ? JSON.parse(text) : text };
    }
    const response = await service.app.inject({ url, headers: headers[caller], payloadAsStream: true });
    const { statusCode: status } = response;
    if (status === 200) response.stream().destroy();
    const text = status === 200 ? [] : await response.stream().setEncoding('utf8').toArray();
    return { status, headers: response.headers, body: text.length > 0 ? JSON.parse(text.join('')) : undefined };
  }

  it.each(documented)(
    'for $operationId is let in or refused, as the table says',
    async ({ operationId, responses }) => {
      const made = async (caller: CallerName) => {
        const example = await examples[caller][operationId]?.();
        if (!example) throw new Error(`There is no example of ${operationId}.`);
        return example;
      };
      const refused: [CallerName, Example][] = [];
      for (const caller of callers) if (!isAllowed(operationId, caller)) refused.push([caller, await made(caller)]);
      await withoutTrace(service.url, async () => {
        for (const [caller, example] of refused) {
          const answer = await sent(caller, example);
          expectProblem(answer, caller === 'nobody' ? 'UNAUTHORIZED' : 'FORBIDDEN');
          const challenge = caller === 'nobody' ? expect.stringMatching(/^Bearer\b/) : undefined;
          expect(answer.headers['www-authenticate']).toEqual(challenge);
        }
      });
      for (const caller of callers) {
        if (!isAllowed(operationId, caller)) continue;
        const { status, body } = await sent(caller, await made(caller));
        expect(status, `${caller}: ${JSON.stringify(body)}`).toBeLessThan(300);
        expect(Object.keys(responses)).toContain(String(status));
      }
    },
  );

  it('by HEAD instead of GET is refused alike', async () => {
    for (const { operationId } of documented) {
      for (const caller of callers) {
        const example = await examples[caller][operationId]?.();
        if (example?.method !== 'GET' || ['streamEvents', 'exportRun'].includes(operationId)) break;
        // From an address of its own: of one, only so many requests without a token are answered 401.
        const options = { method: 'HEAD', url: example.url, headers: headers[caller] } as const;
        const { statusCode: status } = await service.app.inject({ ...options, remoteAddress: '127.0.0.3' });
        const expected = isAllowed(operationId, caller) ? 200 : caller === 'nobody' ? 401 : 403;
        expect(status, `${operationId} by ${caller}`).toBe(expected);
      }
    }
  });

  it('by OPTIONS, over a doubled slash or with another method named in a header gets nobody in', async () => {
    for (const options of [
      { method: 'OPTIONS', url: '/tokens' },
      { method: 'GET', url: '//tokens' },
      { method: 'GET', url: '/./tokens' },
      { method: 'GET', url: '/tokens/' },
      { method: 'GET', url: '/TOKENS' },
      { method: 'GET', url: '/%74okens', headers: { 'x-http-method-override': 'POST' } },
      { method: 'POST', url: '/livez', headers: { 'x-http-method-override': 'GET' } },
      { method: 'GET', url: '/livez/../tokens' },
    ] as const) {
      const { statusCode, body } = await service.app.inject({ ...options, remoteAddress: '127.0.0.2' });
      expect([401, 404, 405], options.url).toContain(statusCode);
      expect(body).not.toContain('token_id');
    }
  });
});
