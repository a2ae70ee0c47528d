import { expect, it, onTestFinished } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { startDouble } from '../helpers/channels.ts';
import { commandLine } from '../helpers/cli.ts';
import { forThisTest } from '../helpers/process.ts';
import { startReceiver, toLoopback } from '../helpers/receiver.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { listen } from '../helpers/socket.ts';

it('forumbus notify sets a channel up, tries it, lists it without its secrets, and takes it away', async () => {
  const service = await startApp('sqlite', { config: { ...toLoopback, PUBLIC_URL: 'https://forum.example' } });
  onTestFinished(() => service.close());
  const server = await startReceiver();
  const { path: cwd } = await forThisTest(scratchFolder());
  const url = `http://127.0.0.1:${await listen(service.app)}`;
  const person = commandLine({ env: { XDG_STATE_HOME: cwd, FORUMBUS_URL: url, NTFY_TOKEN: 'tk_secret' }, cwd });

  const add = ['notify', 'add', 'ntfy', 'alerts', '--server', server.url, '--buttons', '--least', 'high'];
  expect(await person(add)).toEqual({ code: 0, out: 'A test was sent to ntfy.', err: '' });
  expect(JSON.parse(server.received[0]?.body ?? '')).toMatchObject({
    topic: 'alerts',
    title: 'A test of the webhook ntfy',
  });
  expect(server.received[0]?.headers.authorization).toBe('Bearer tk_secret');
  expect((await service.send('GET', '/webhooks/ntfy')).body).toMatchObject({
    answer_links: true,
    event_types: expect.arrayContaining(['forum.question.opened', 'forum.question.answered', 'forum.webhook.disabled']),
    filter: { priority_at_least: 'high' },
  });

  for (const channel of ['discord', 'teams']) {
    const count = server.received.length;
    const told = { code: 0, out: `A test was sent to ${channel}.`, err: '' };
    expect(await person(['notify', 'add', channel, `${server.url}hooks/secret`, '--buttons'])).toEqual(told);
    expect(server.received[count]?.body).toContain(`A test of the webhook ${channel}`);
    expect(await person(['notify', 'remove', channel])).toMatchObject({ code: 0, out: `Removed ${channel}.` });
  }

  server.answer = response => void response.writeHead(403).end();
  const secret = `${server.url}services/T0/B0/secret`;
  expect(await person(['notify', 'add', 'slack', secret, '--name', 'team'])).toEqual({
    code: 1,
    out: 'team is set up.',
    err: 'The test failed: the answer was 403',
  });
  const origin = new URL(server.url).origin;
  expect((await person(['notify', 'list'])).out).toBe(`ntfy  ntfy  ${origin}/…  ok\nteam  slack  ${origin}/…  ok`);
  expect(await person(['notify', 'remove', 'team'])).toMatchObject({ code: 0, out: 'Removed team.' });
  expect((await person(['notify', 'test', 'team'])).err).toBe('There is no webhook team.');
  const wrongs = [
    ...[['add', 'pager', 'x'], ['add', 'slack'], ['drop'], ['test']],
    ...[
      ['add', 'telegram', '42'],
      ['add', 'slack', 'C01'],
      ['add', 'email', 'ana@forum.example'],
    ],
  ];
  for (const wrong of wrongs) {
    const { code, err } = await person(['notify', ...wrong]);
    expect({ code, lines: err.split('\n').length }).toEqual({ code: 1, lines: 1 });
  }
});

it('forumbus notify sets channels up whose buttons answer by themselves, and mails', async () => {
  const service = await startApp('sqlite', { config: toLoopback });
  onTestFinished(() => service.close());
  const telegram = await startDouble('telegram', ['42:secret', '-1001']);
  const slack = await startDouble('slack', ['xapp-1', 'xoxb-1', 'C01']);
  const mail = await startDouble('smtp', ['ana:geheim']);
  const { path: cwd } = await forThisTest(scratchFolder());
  const env = {
    ...{ XDG_STATE_HOME: cwd, FORUMBUS_URL: `http://127.0.0.1:${await listen(service.app)}` },
    ...{ TELEGRAM_BOT_TOKEN: '42:secret', SLACK_APP_TOKEN: 'xapp-1', SLACK_BOT_TOKEN: 'xoxb-1' },
    SMTP_URL: mail.url.replace('://', '://ana:geheim@'),
  };
  const person = commandLine({ env, cwd });
  const added = (name: string) => ({ code: 0, out: `A test was sent to ${name}.`, err: '' });
  expect(await person(['notify', 'add', 'telegram', '--server', telegram.url, '--', '-1001'])).toEqual(
    added('telegram'),
  );
  expect(await person(['notify', 'add', 'slack', 'C01', '--server', `${slack.url}api/`])).toEqual(added('slack'));
  const to = 'ben@forum.example,eve@forum.example';
  expect(await person(['notify', 'add', 'email', to, '--from', 'forumbus@forum.example'])).toEqual(added('email'));
  expect((await telegram.seen()).messages).toMatchObject([{ text: 'A test of the webhook telegram' }]);
  expect((await slack.seen()).messages).toMatchObject([{ text: 'A test of the webhook slack' }]);
  expect((await mail.seen()).mails).toMatchObject([{ to: to.split(','), from: 'forumbus@forum.example' }]);
  const { items } = (await service.send('GET', '/webhooks')).body;
  expect(items.map(({ name, answer_links }: Record<string, unknown>) => [name, answer_links])).toEqual([
    ['email', false],
    ['slack', true],
    ['telegram', true],
  ]);
  expect((await person(['notify', 'list', '--json'])).out).not.toMatch(/42:secret|xapp-1|xoxb-1|geheim/);
});
