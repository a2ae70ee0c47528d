import { pino } from 'pino';
import { expect, it, onTestFinished } from 'vitest';
import { CommitNotifier } from '../../src/commit-notifier.ts';
import { readConfig } from '../../src/config.ts';
import { createRedelivery } from '../../src/outbox/redelivery.ts';
import { createServices } from '../../src/services.ts';
import { startApp } from '../helpers/app.ts';
import { engines, scratchDatabase } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';

it.each(engines)('a replay on %s leaves to the fan-out what that has not reached', async engine => {
  const database = await scratchDatabase(engine);
  onTestFinished(() => database.drop());
  const app = await startApp(engine, { database });
  const report = async (summary: string) => {
    expect((await app.send('POST', '/control-signals', signal('completion', { summary }))).status).toBe(201);
  };
  await report('Before the webhook');
  const wanted = { name: 'chat', url: 'https://hooks.example/', event_types: ['forum.control.signal'] };
  expect((await app.send('POST', '/webhooks', wanted)).status).toBe(201);
  await report('Still to come');
  await app.close();

  const config = readConfig({ ROLE: 'http', DATABASE_URL: database.url });
  const services = await createServices(config, pino({ level: 'silent' }));
  onTestFinished(() => services.close());
  const { db, clock, forum, delivery } = services;
  const redelivery = createRedelivery({ db, clock, events: forum.events, commits: new CommitNotifier() });
  const [subscription] = (await delivery.subscriptions.all(db.read)).filter(({ kind }) => kind === 'webhook');
  if (!subscription) throw new Error('The webhook has no subscription.');
  const upTo = await forum.events.latest(db.read);
  for (let time = 0; time < 2; time += 1) {
    expect(await db.write(tx => redelivery.step(tx, subscription, { after: 0, upTo, missing: true }))).toBe(upTo);
  }
  const { items } = await redelivery.list(subscription.subscription_id, { limit: 10 }, {});
  expect(items.map(({ row }) => [row.event_sequence, row.status])).toEqual([[2, 'pending']]);
});
