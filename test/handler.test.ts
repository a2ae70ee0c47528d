import { defineHandler, type EventByType, type MessageOf } from 'forumbus/handler';
import { describe, expect, it, vi } from 'vitest';
import { scratchDatabase } from './helpers/engines.ts';
import { handlersFolder } from './helpers/handlers.ts';
import { forThisTest, startService } from './helpers/process.ts';
import { signal } from './helpers/signals.ts';

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
/** Compiles only if the type argument is true. */
function check<_T extends true>(): void {}

// tsc checks these, in `npm run check`; nothing runs them.
describe('the payload of a handler has the type of its topic', () => {
  it('an event', () => {
    defineHandler({
      topic: 'forum.events.question.opened',
      handle({ payload: event, message_key }, context) {
        check<Same<typeof event, EventByType['forum.question.opened']>>();
        check<Same<typeof event.payload.question, string | undefined>>();
        check<Same<typeof message_key, string | null>>();
        context.record({ question: event.payload.question });
        // @ts-expect-error: a question that is opened has no answer
        return event.payload.answer;
      },
    });
  });

  it('a signal, by its type', () => {
    defineHandler({
      topic: 'forum.events.control.signal',
      handle({ payload: { payload } }) {
        // @ts-expect-error: only a validation has a status
        if (payload.control_type !== 'validation') return payload.status;
        return check<Same<typeof payload.status, 'passed' | 'failed'>>();
      },
    });
  });

  it('one event of several topics, or of a pattern', () => {
    defineHandler({
      topic: ['forum.events.run.closed', 'forum.events.post.added'],
      handle({ payload: event }) {
        check<Same<typeof event.event_type, 'forum.run.closed' | 'forum.post.added'>>();
        if (event.event_type === 'forum.post.added')
          check<Same<typeof event.payload, { body: string; erased?: true }>>();
      },
    });
    check<
      Same<
        MessageOf<'forum.events.token.*'>['payload']['event_type'],
        'forum.token.created' | 'forum.token.rotated' | 'forum.token.revoked'
      >
    >();
    check<Same<MessageOf<'forum.events.**'>['payload'], EventByType[keyof EventByType]>>();
  });

  it('a command', () => {
    const { body, thread_id } = {} as MessageOf<'forum.commands.add_post'>['payload'];
    check<Same<typeof body | typeof thread_id, string>>();
  });

  it('anything, of other topics', () => {
    check<Same<MessageOf<'forum.integration.chat'>['payload'], unknown>>();
    check<Same<MessageOf<'forum.**'>['payload'], unknown>>();
    check<Same<MessageOf<string>['payload'], unknown>>();
    // @ts-expect-error: the service has no such topic, so there is no such message
    defineHandler({ topic: 'forum.events.question.opend', handle: ({ payload }) => payload.payload });
  });

  it('and the other members are checked', () => {
    const rest = { topic: 'forum.integration.chat', handle() {} };
    defineHandler({ ...rest, policy: { dead: 'block' }, transactional: true, from: 'beginning' });
    // @ts-expect-error: there is no such place
    defineHandler({ ...rest, from: 'end' });
    // @ts-expect-error: there is no such policy
    defineHandler({ ...rest, policy: { retries: 3 } });
    // @ts-expect-error: nothing handles the messages
    defineHandler({ topic: 'forum.integration.chat' });
  });
});

describe('handlers in a folder outside of the package', () => {
  const define = (body: string) =>
    `export default defineHandler({ topic: 'forum.events.question.opened', handle(message, context) { ${body} } });`;
  const told = 'context.record({ told: message.payload.payload.question });';

  it('import forumbus/handler, in each kind of module, and share a helper', async () => {
    const HANDLERS_DIR = await handlersFolder({
      'chat.ts': `import { defineHandler, type Events } from 'forumbus/handler';
        const told = ({ payload }: Events['forum.question.opened']) => ({ told: payload.question });
        export default defineHandler({
          topic: 'forum.events.question.opened',
          handle(message, context) { context.record(told(message.payload)); },
        });`,
      'mail.mjs': `import { defineHandler } from 'forumbus/handler'; ${define(told)}`,
      'pager.js': `const { defineHandler } = require('forumbus/handler');
        ${define(told).replace('export default', 'module.exports =')}`,
      'plain.mjs': `export const topic = 'forum.events.question.opened';
        export function handle(message, context) { ${told} }`,
    });
    const { url: DATABASE_URL } = await forThisTest(scratchDatabase('sqlite'));
    const service = await startService({ DATABASE_URL, HANDLERS_DIR });
    await service.send('POST', '/control-signals', signal('guidance_request', { question: 'Now?' }));
    await vi.waitFor(
      async () => {
        const { body } = await service.send('GET', '/outbox?topic=forum.events.question.opened');
        const results = body.items.filter(({ consumer }: { consumer: string | null }) => consumer !== null);
        expect(results.map(({ result }: { result: unknown }) => result)).toEqual(Array(4).fill({ told: 'Now?' }));
      },
      { timeout: 20_000, interval: 100 },
    );
    expect(service.stderr).toBe('');
  });
});
