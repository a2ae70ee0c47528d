import { expect, it, onTestFinished, vi } from 'vitest';
import { startApp, type TestApp } from '../../helpers/app.ts';
import { type Double, startDouble } from '../../helpers/channels.ts';
import { toLoopback } from '../../helpers/receiver.ts';
import { signal } from '../../helpers/signals.ts';

const soon = { timeout: 120_000, interval: 50 };
const event_types = ['forum.question.*'];

async function start(fields: object): Promise<{ service: TestApp; double: Double }> {
  const double = await startDouble('slack', ['xapp-1', 'xoxb-1', 'C01']);
  const service = await startApp('sqlite', { config: { ...toLoopback, PUBLIC_URL: 'https://forum.example' } });
  onTestFinished(() => service.close());
  const url = 'settings' in fields ? `${double.url}api/` : `${double.url}services/T0/B0/secret`;
  const wanted = { name: 'team', format: 'slack', url, event_types, answer_links: true, ...fields };
  expect((await service.send('POST', '/webhooks', wanted)).status).toBe(201);
  return { service, double };
}

async function ask(service: TestApp, question: string): Promise<string> {
  const given = signal('guidance_request', { agent_name: question, question, options: ['Yes', 'No'] });
  const { status, body } = await service.send('POST', '/control-signals', given);
  expect(status, JSON.stringify(body)).toBe(201);
  return body.question.question_id;
}

const app = { settings: { app_token: 'xapp-1', bot_token: 'xoxb-1', channel: 'C01' } };

/** Presses the first button of the message about a question. @returns whether Slack saw it acknowledged */
async function press(double: Double, question: string, person: string): Promise<boolean> {
  const message = await vi.waitFor(async () => {
    const found = (await double.seen()).messages.find((one: object) => JSON.stringify(one).includes(question));
    expect(found).toBeDefined();
    return found;
  }, soon);
  const { value } = message.blocks.at(-1).elements[0];
  return (await double.act('press', { ts: message.ts, value, person })).acknowledged;
}

const connected = (double: Double, count: number) =>
  vi.waitFor(async () => expect(await double.seen()).toMatchObject({ connections: 1, opened: count }), soon);

it('an incoming webhook gets the question with a link, and another message about its end', async () => {
  const { service, double } = await start({});
  const id = await ask(service, 'Alpha?');
  const sent = (count: number) =>
    vi.waitFor(async () => {
      const { incoming } = await double.seen();
      expect(incoming).toHaveLength(count);
      return JSON.stringify(incoming.at(-1));
    }, soon);
  expect(await sent(1)).toContain('https://forum.example/a/');
  await service.send('PUT', `/questions/${id}/answer`, { answer: 'Yes', actor: { type: 'operator', name: 'ana' } });
  expect(await sent(2)).toContain('Answered by ana');
});

it('Socket Mode opens another connection before Slack ends one, so that no press is missed', async () => {
  const { service, double } = await start(app);
  await connected(double, 1);
  const ids = [await ask(service, 'Alpha?'), await ask(service, 'Beta?'), await ask(service, 'Gamma?')];
  await double.act('refresh');
  // For a second there are two.
  await vi.waitFor(async () => expect((await double.seen()).connections).toBe(2), soon);
  expect(await press(double, 'Alpha?', 'ana')).toBe(true);
  await connected(double, 2);
  expect(await press(double, 'Beta?', 'ana')).toBe(true);
  // Without a word before.
  await double.act('drop');
  await connected(double, 3);
  expect(await press(double, 'Gamma?', 'ana')).toBe(true);
  // What is acknowledged was stored before.
  for (const id of ids) {
    expect((await service.send('GET', `/questions/${id}`)).body).toMatchObject({
      ...{ state: 'answered', answer: 'Yes', answered_by: { type: 'human', name: 'ana via team' } },
    });
  }
});

it('the message of an app that was deleted is followed by another one about the end', async () => {
  const { service, double } = await start(app);
  const id = await ask(service, 'Alpha?');
  await vi.waitFor(async () => expect((await double.seen()).messages).toHaveLength(1), soon);
  await vi.waitFor(async () => {
    expect((await service.send('GET', '/webhooks/team/deliveries')).body.items).toMatchObject([{ status: 'sent' }]);
  }, soon);
  await double.act('delete');
  await service.send('PUT', `/questions/${id}/answer`, { answer: 'Yes', actor: { type: 'operator', name: 'ana' } });
  await vi.waitFor(async () => {
    const [message] = (await double.seen()).messages;
    expect(JSON.stringify(message)).toContain('Answered by ana');
  }, soon);
});

it('what Slack refuses has failed, although its status is 200', async () => {
  const { service } = await start({ settings: { ...app.settings, channel: 'C99' } });
  expect((await service.send('POST', '/webhooks/team/ping')).body).toMatchObject({
    ...{ ok: false, status: 200, error: 'Slack: channel_not_found' },
  });
  expect((await service.send('PATCH', '/webhooks/team', app)).status).toBe(200);
  expect((await service.send('POST', '/webhooks/team/ping')).body).toMatchObject({ ok: true, error: null });
});
