import { describe, expect, it } from 'vitest';
import { readConfig } from '../../src/config.ts';
import { defaultPolicy } from '../../src/worker/handler.ts';
import { loadHandlers } from '../../src/worker/load-handlers.ts';
import { handlersFolder } from '../helpers/handlers.ts';

const policy = defaultPolicy(readConfig({}));

/** The only handler of a folder with this source. */
async function loaded(source: string) {
  const [handler] = await loadHandlers(await handlersFolder({ 'chat.mjs': source }), policy);
  return handler;
}

const members = `topic: ['a.b', 'a.*'], transactional: true, policy: { dead: 'block' }, from: 'beginning', handle: () => 1`;
const named = `export const { topic, transactional, policy, from, handle } = { ${members} };`;

describe('a handler module', () => {
  it.each([
    ['exports its members', named],
    ['exports them as its default', `export default { ${members} };`],
    ['exports a default that is no object beside them', `${named} export default 'chat';`],
    ['exports a default that counts in their place', `export const topic = 'c'; export default { ${members} };`],
  ])('%s', async (_name, source) => {
    expect(await loaded(source)).toMatchObject({
      topics: ['a.b', 'a.*'],
      transactional: true,
      policy: { ...policy, dead: 'block' },
      from: 'beginning',
      handle: expect.any(Function),
    });
  });

  it('is refused if it has the name of a webhook', async () => {
    const folder = await handlersFolder({ 'webhook:chat.mjs': named });
    await expect(loadHandlers(folder, policy)).rejects.toThrow(
      'webhook:chat.mjs cannot be used: names that begin with webhook: are those of webhooks.',
    );
  });

  it('starts at the head of the log unless it says otherwise', async () => {
    expect(await loaded(`export const topic = 'a'; export function handle() {}`)).not.toHaveProperty('from');
  });

  it.each(['now', 'start', null, true])('is refused if from is %j', async from => {
    const source = `export const topic = 'a'; export const from = ${JSON.stringify(from)}; export function handle() {}`;
    await expect(loaded(source)).rejects.toThrow(/chat\.mjs cannot be used: from must be 'beginning' or left out\.$/);
  });

  it.each(['timeout_ms', 'backoff_base_ms', 'backoff_cap_ms'])('has a %s that a timer can take', async name => {
    const source = (ms: number) =>
      `export const topic = 'a'; export const policy = { ${name}: ${ms} }; export function handle() {}`;
    for (const ms of [0, 1.5, 2 ** 31, Number.MAX_SAFE_INTEGER]) {
      await expect(loaded(source(ms))).rejects.toThrow(
        `chat.mjs cannot be used: policy.${name} must be a whole number of milliseconds, from 1 to 2147483647.`,
      );
    }
    expect((await loaded(source(2 ** 31 - 1)))?.policy).toMatchObject({ [name]: 2 ** 31 - 1 });
  });
});
