import { expect } from 'vitest';
import type { TestApp } from './app.ts';

/** Commands as those see them who publish them and look what has become of them. */
export function commands(send: TestApp['send']) {
  return {
    /** Publishes a command and answers its id. */
    async publish(name: string, payload: unknown, fields: object = {}): Promise<string> {
      const { status, body } = await send('POST', '/outbox', { topic: `forum.commands.${name}`, payload, ...fields });
      expect(status, JSON.stringify(body)).toBeLessThan(300);
      return body.message_id;
    },

    message: async (id: string) => (await send('GET', `/outbox/${encodeURIComponent(id)}`)).body,

    /** Handles everything that is due, where no worker runs. */
    async drain(): Promise<void> {
      while ((await send('POST', '/bus/process', { limit: 200 })).body.claimed > 0);
    },
  };
}
