import { expect, it, onTestFinished, vi } from 'vitest';
import { startApp } from '../../helpers/app.ts';
import { startDouble } from '../../helpers/channels.ts';
import { toLoopback } from '../../helpers/receiver.ts';
import { signal } from '../../helpers/signals.ts';
import { withTokens } from '../../helpers/tokens.ts';

interface Button {
  url: string;
  headers: Record<string, string>;
  body: string;
}

it('without a reply topic a button answers by its link, once; others and later presses change nothing', async () => {
  const service = await startApp('sqlite', { config: { ...toLoopback, PUBLIC_URL: 'http://forum.example' } });
  onTestFinished(() => service.close());
  const { admin } = await withTokens(service);
  const ntfy = await startDouble('ntfy', ['tk_secret']);
  const wanted = { name: 'phone', url: ntfy.url, format: 'ntfy', settings: { topic: 'alerts', token: 'tk_secret' } };
  const event_types = ['forum.question.*'];
  expect((await admin('POST', '/webhooks', { ...wanted, event_types, answer_links: true })).status).toBe(201);
  expect((await admin('POST', '/webhooks/phone/ping')).body).toMatchObject({ ok: true });
  const asked = await admin('POST', '/control-signals', signal('guidance_request', { options: ['Yes', 'No'] }));
  const messages = await vi.waitFor(
    async () => {
      const { messages } = await ntfy.seen();
      expect(messages).toHaveLength(2);
      return messages;
    },
    { timeout: 20_000 },
  );
  const [yes, no] = messages[1].actions as [Button, Button];
  // As a phone does it, which gets along without a token.
  const press = ({ url, headers, body }: Button) =>
    service.app.inject({ method: 'POST', url: new URL(url).pathname, headers, payload: body });
  const statuses = (await Promise.all([press(no), press(yes), press(yes)])).map(({ statusCode }) => statusCode);
  expect(statuses.sort()).toEqual([200, 412, 412]);
  expect((await press(yes)).statusCode).toBe(412);
  const { body } = await admin('GET', `/questions/${asked.body.question.question_id}`);
  expect(body).toMatchObject({ state: 'answered', answered_in: 'link', answered_by: { type: 'human', name: 'phone' } });
});
