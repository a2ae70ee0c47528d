import { readdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import packageJson from '../../package.json' with { type: 'json' };
import { eventTypes } from '../../src/events/event-types.ts';
import { handlersFolder } from '../helpers/handlers.ts';
import { runCommand } from '../helpers/process.ts';

/** Tries a handler with this source. */
async function attempt(source: string, args: string[], name = 'chat.mjs') {
  const file = join(await handlersFolder({ [name]: source }), name);
  const command = await runCommand('handler', ['test', file, ...args], {});
  const logs = command.stderr.split('\n').filter(line => line.startsWith('{'));
  return { ...command, log: logs.map(line => JSON.parse(line)) };
}

const handler = (body: string, topic = 'forum.events.**') =>
  `export const topic = '${topic}'; export async function handle(message, context) { ${body} }`;

const opened = ['--event', 'forum.question.opened'];

describe('npm run handler -- test', () => {
  it('hands a sample of the event type to the handler, and prints its result', async () => {
    expect(packageJson.scripts.handler).toMatch(/^exec node .* src\/commands\/handler\.ts$/);
    const { code, strays, log } = await attempt(
      `import { defineHandler } from 'forumbus/handler';
      setInterval(() => {}, 1000);
      export default defineHandler({
        topic: 'forum.events.question.*',
        async handle({ topic, payload: event }, { record, log, attempt, signal, idempotency_key }) {
          log.info({ aborted: signal.aborted, keyed: idempotency_key.startsWith('msg_') }, 'thinking');
          record({ topic, type: event.event_type, told: event.payload.question, attempt });
        },
      });`,
      opened,
      'chat.ts',
    );
    const result = { topic: 'forum.events.question.opened', type: 'forum.question.opened', told: 'Which region?' };
    expect(strays).toEqual(['sent', `result: ${JSON.stringify({ ...result, attempt: 1 })}`]);
    expect(log).toEqual([expect.objectContaining({ msg: 'thinking', aborted: false, keyed: true })]);
    expect(code).toBe(0);
  });

  it('hands a message of your own to the handler', async () => {
    const source = handler('context.record(message.payload);', 'forum.integration.*');
    const args = ['--topic', 'forum.integration.chat', '--payload', '{"text":"Hi"}'];
    expect(await attempt(source, args)).toMatchObject({ code: 0, strays: ['sent', 'result: {"text":"Hi"}'] });
  });

  it.each<[string, string, RegExp]>([
    ['an error', `throw new Error('the bell\\nis broken');`, /^retry: the bell\\u\{a\}is broken$/],
    [
      'an error that escapes',
      `setTimeout(() => { throw new Error('late') }); await new Promise(() => {});`,
      /^retry: late$/,
    ],
    [
      'a time-out',
      `await new Promise(() => {}); } export const policy = { timeout_ms: 50 }; {`,
      /^retry: .*within 50 ms/,
    ],
    ['a permanent error', `throw context.permanent('nothing to say');`, /^permanent: nothing to say$/],
    ['a time', `throw context.retryAt('2100-01-01');`, /^retryAt 2100-01-01T00:00:00\.000Z: /],
    ['a result that is none', `context.record([]);`, /^retry: record was given something/],
  ])('prints %s as the outcome, and ends with 1', async (_name, body, line) => {
    const { code, strays } = await attempt(handler(body), opened);
    expect(strays[0]).toMatch(line);
    expect(code).toBe(1);
  });

  it('gives a transactional handler a database of its own', async () => {
    const before = await readdir(tmpdir());
    const body = `const rows = await context.tx.selectFrom('events').selectAll().execute();
      context.record({ rows: rows.length });`;
    const source = `${handler(body)} export const transactional = true;`;
    expect(await attempt(source, opened)).toMatchObject({ code: 0, strays: ['sent', 'result: {"rows":0}'] });
    const failing = `${handler(`await context.tx.selectFrom('nothing').execute();`)} export const transactional = true;`;
    expect(await attempt(failing, opened)).toMatchObject({
      code: 1,
      strays: [expect.stringMatching(/^retry: /), expect.any(String)],
    });
    const left = (await readdir(tmpdir())).filter(
      name => name.startsWith('forumbus-handler-') && !before.includes(name),
    );
    expect(left).toEqual([]);
  });

  it.each<[number, RegExp, string[]]>([
    [
      1,
      /^The handler \S+ does not take forum\.events\.run\.closed: its topics are a\.b\.\n$/,
      ['--event', 'forum.run.closed'],
    ],
    [
      2,
      new RegExp(`^There is no event type forum\\.run\\. The types are ${eventTypes.join(', ')}\\.\n$`),
      ['--event', 'forum.run'],
    ],
    [2, /^Either --event, or --topic and --payload are needed\. Usage: npm run handler/, []],
    [2, /^Either --event, or --topic and --payload are needed\./, ['--topic', 'a.b']],
    [2, /^Either --event, or --topic and --payload are needed\./, [...opened, '--payload', '{}']],
    [2, /^The --payload is not JSON: /, ['--topic', 'a.b', '--payload', '{']],
    [2, /^Unknown option '--events'/, ['--events', 'x']],
    [2, /^Arguments expected: 2, given: 3/, ['more']],
  ])('ends with %i and one sentence: %s', async (code, sentence, args) => {
    const command = await attempt(handler('', 'a.b'), args);
    expect(command.stderr).toMatch(sentence);
    expect(command.strays).toEqual([]);
    expect(command.code).toBe(code);
  });

  it('ends with 1 for a file that is no handler, and with 2 for a command that does not exist', async () => {
    const broken = await attempt('export const a = 1;', opened);
    expect([broken.code, broken.stderr]).toEqual([
      1,
      expect.stringMatching(/chat\.mjs cannot be used: it must export/),
    ]);
    const absent = await runCommand('handler', ['test', '/absent.mjs', ...opened], {});
    expect([absent.code, absent.stderr]).toEqual([1, expect.stringMatching(/cannot be used: Cannot find module/)]);
    const unknown = await runCommand('handler', ['run', '/absent.mjs'], {});
    expect([unknown.code, unknown.stderr]).toEqual([2, expect.stringMatching(/^The command run is unknown\. Usage/)]);
  });
});
