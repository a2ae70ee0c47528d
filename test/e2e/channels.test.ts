import { describe, expect, it, vi } from 'vitest';
import { type Double, startDouble } from '../helpers/channels.ts';
import { emptyDatabase } from '../helpers/engines.ts';
import { forThisTest, type ServiceProcess, startService } from '../helpers/process.ts';
import { toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';

const soon = { timeout: 120_000, interval: 100 };

/** A message as people see it. */
interface Shown {
  id: string;
  text: string;
  buttons: { label: string; data: string }[];
}

interface PressOptions {
  /** Another chat than that of the message. */
  place?: string;
}

/** What all channels have whose buttons answer. */
interface Channel {
  name: string;
  start: () => Promise<Double>;
  webhook: (double: Double) => object;
  /** The messages about questions, the newest last. */
  shown: (double: Double) => Promise<Shown[]>;
  /** What comes of it is seen elsewhere. */
  press: (double: Double, message: Shown, data: string, person: string, options?: PressOptions) => Promise<void>;
  /** What a person was told after a press; undefined if the channel can tell nobody. */
  told: ((double: Double, person: string) => Promise<string[]>) | undefined;
  /** Whether it says who pressed. */
  knowsPeople: boolean;
  /** Whether it keeps presses for a service that is away. */
  keeps: boolean;
  elsewhere?: string;
}

const telegram: Channel = {
  name: 'telegram',
  start: () => startDouble('telegram', ['42:secret', '-1001']),
  webhook: ({ url }) => ({ format: 'telegram', url, settings: { chat_id: '-1001', bot_token: '42:secret' } }),
  async shown(double) {
    const { messages } = await double.seen();
    // biome-ignore lint/suspicious/noExplicitAny: as the double has it
    return messages.map(({ message_id, text, reply_markup }: any) => ({
      ...{ id: String(message_id), text },
      // biome-ignore lint/suspicious/noExplicitAny: as the double has it
      buttons: reply_markup.inline_keyboard.flat().map((one: any) => ({ label: one.text, data: one.callback_data })),
    }));
  },
  async press(double, { id }, data, person, { place } = {}) {
    await double.act('press', { message_id: Number(id), data, person, ...(place && { chat: Number(place) }) });
  },
  async told(double, person) {
    const { told } = await double.seen();
    return told.filter((one: { person: string }) => one.person === person).map(({ text }: { text: string }) => text);
  },
  ...{ knowsPeople: true, keeps: true, elsewhere: '-2002' },
};

const slack: Channel = {
  name: 'slack',
  start: () => startDouble('slack', ['xapp-1', 'xoxb-1', 'C01']),
  webhook: ({ url }) => ({
    ...{ format: 'slack', url: `${url}api/` },
    settings: { app_token: 'xapp-1', bot_token: 'xoxb-1', channel: 'C01' },
  }),
  async shown(double) {
    const { messages } = await double.seen();
    // biome-ignore lint/suspicious/noExplicitAny: as the double has it
    return messages.map(({ ts, blocks }: any) => ({
      id: ts,
      // biome-ignore lint/suspicious/noExplicitAny: as the double has it
      text: blocks.map((block: any) => block.text?.text ?? '').join('\n'),
      buttons: blocks
        // biome-ignore lint/suspicious/noExplicitAny: as the double has it
        .flatMap((block: any) => block.elements ?? [])
        // biome-ignore lint/suspicious/noExplicitAny: as the double has it
        .map((one: any) => ({ label: one.text.text, data: one.value })),
    }));
  },
  async press(double, { id }, value, person, { place } = {}) {
    const { acknowledged } = await double.act('press', { ts: id, value, person, channel: place });
    expect(acknowledged).toBe(true);
  },
  async told(double, person) {
    const { told } = await double.seen();
    return told
      .filter(({ user }: { user: string }) => user === `U-${person}`)
      .map(({ text }: { text: string }) => text);
  },
  ...{ knowsPeople: true, keeps: false, elsewhere: 'C99' },
};

const ntfy: Channel = {
  name: 'ntfy',
  start: () => startDouble('ntfy', ['tk_secret']),
  webhook: ({ url }) => ({
    format: 'ntfy',
    url,
    settings: { topic: 'alerts', reply_topic: 'replies', token: 'tk_secret' },
  }),
  async shown(double) {
    const { messages } = await double.seen();
    const bySequence = new Map<string, Shown>();
    for (const { topic, sequence_id, title, message, actions } of messages) {
      if (topic !== 'alerts') continue;
      // As apps do it: a later message of a sequence replaces an earlier one.
      const buttons = actions.map(({ label, body }: { label: string; body: string }) => ({ label, data: body }));
      bySequence.set(sequence_id, { id: sequence_id, text: `${title}\n${message}`, buttons });
    }
    return [...bySequence.values()];
  },
  async press(double, _message, body) {
    expect((await fetch(`${double.url}replies`, { method: 'POST', body })).status).toBe(200);
  },
  ...{ told: undefined, knowsPeople: false, keeps: true },
};

describe.each([telegram, slack, ntfy])('$name', channel => {
  async function start() {
    const double = await channel.start();
    const settings = { ...toLoopback, DATABASE_URL: (await forThisTest(emptyDatabase('sqlite'))).url };
    let service = await startService(settings);
    const wanted = { name: 'phone', event_types: ['forum.question.*'], answer_links: true, ...channel.webhook(double) };
    const created = await service.send('POST', '/webhooks', wanted);
    expect(created.status, JSON.stringify(created.body)).toBe(201);
    expect(JSON.stringify(created.body)).not.toMatch(/42:secret|xapp-1|xoxb-1|tk_secret|services\/T/);
    await follows();

    /** The service listens, where the channel can say so. */
    async function follows(): Promise<void> {
      await vi.waitFor(async () => {
        const { connections = 1, followers = 1, calls = ['getUpdates'] } = await double.seen();
        expect([connections > 0, followers > 0, calls.includes('getUpdates')]).toEqual([true, true, true]);
      }, soon);
    }

    let asked = 0;
    /** A new question: its id, and its message. */
    async function ask(fields: object = {}) {
      const question = `Question ${++asked}?`;
      const given = { agent_name: `agent-${asked}`, question, options: ['Yes', 'No'], ...fields };
      const answer = await service.send('POST', '/control-signals', signal('guidance_request', given));
      expect(answer.status, JSON.stringify(answer.body)).toBe(201);
      const message = await messageOf(question);
      const [yes, no] = message.buttons.map(({ data }) => data) as [string, string];
      return { id: answer.body.question.question_id as string, question, message, yes, no };
    }
    const messageOf = (question: string): Promise<Shown> =>
      vi.waitFor(async () => {
        const found = (await channel.shown(double)).find(({ text }) => text.includes(question));
        expect(found).toBeDefined();
        return found as Shown;
      }, soon);
    const question = async (id: string) => (await service.send('GET', `/questions/${id}`)).body;
    const answered = (id: string) =>
      vi.waitFor(async () => {
        const found = await question(id);
        expect(found.state).toBe('answered');
        return found;
      }, soon);
    /** The message has lost its buttons, and says this. */
    const closed = (text: string, said: string) =>
      vi.waitFor(async () => {
        const found = await messageOf(text);
        expect(found.text).toContain(said);
        expect(found.buttons).toEqual([]);
      }, soon);
    const toldTo = async (person: string, ...said: string[]) => {
      if (!channel.told) return;
      const { told } = channel;
      await vi.waitFor(async () => expect(await told(double, person)).toEqual(said), soon);
    };
    return {
      ...{ double, ask, question, answered, closed, toldTo, follows },
      send: (...args: Parameters<ServiceProcess['send']>) => service.send(...args),
      async kill() {
        service.kill('SIGKILL');
        await service.exited;
      },
      async restart() {
        service = await startService(settings);
      },
      /** All presses before were taken: so is this one, of another question. */
      async settle() {
        const { id, message, no } = await ask();
        await channel.press(double, message, no, 'zoe');
        await answered(id);
      },
    };
  }
  const by = (person: string) => (channel.knowsPeople ? `${person} via phone` : 'phone');

  it('shows buttons; a press answers once, and the message then says who did', async () => {
    const { double, ask, answered, closed, toldTo } = await start();
    const { id, question, message, yes } = await ask();
    expect(message.buttons.map(({ label }) => label)).toEqual(['Yes', 'No']);
    await channel.press(double, message, yes, 'ana');
    expect(await answered(id)).toMatchObject({
      ...{ answer: 'Yes', selected: ['Yes'], answered_in: channel.name, version: 2 },
      answered_by: { type: 'human', name: by('ana') },
    });
    await closed(question, `Answer: Yes\nAnswered by ${by('ana')}`);
    await toldTo('ana', ...(channel.name === 'telegram' ? [`Answered by ${by('ana')}: Yes`] : []));
  });

  it('takes one of two presses, also of two people at once, and tells the other who was first', async () => {
    const { double, ask, answered, question, settle, toldTo } = await start();
    const { id, message, yes, no } = await ask();
    await Promise.all([
      channel.press(double, message, yes, 'ana'),
      channel.press(double, message, no, 'ben'),
      channel.press(double, message, yes, 'eve'),
    ]);
    const { answer, answered_by } = await answered(id);
    await channel.press(double, message, answer === 'Yes' ? no : yes, 'late');
    await settle();
    expect(await question(id)).toMatchObject({ answer, answered_by, version: 2 });
    await toldTo('late', `Answered by ${answered_by.name}: ${answer}`);
  });

  it('tells nobody twice, and takes no press, once the question has expired', async () => {
    const { double, ask, question, closed, settle, toldTo } = await start();
    const { id, question: text, message, yes } = await ask({ expires_in_seconds: 3 });
    await closed(text, 'expired');
    await channel.press(double, message, yes, 'ana');
    await settle();
    expect(await question(id)).toMatchObject({ state: 'expired', answer: null });
    await toldTo('ana', 'The question is expired.');
  });

  it.runIf(channel.keeps)('takes what was pressed while the service was dead, once', async () => {
    const { double, ask, answered, question, closed, kill, restart, settle } = await start();
    const [first, second] = [await ask(), await ask()];
    await channel.press(double, first.message, first.no, 'ana');
    await answered(first.id);
    await kill();
    await channel.press(double, second.message, second.yes, 'ben');
    await channel.press(double, second.message, second.no, 'ana');
    await channel.press(double, first.message, first.yes, 'ben');
    await restart();
    expect(await answered(second.id)).toMatchObject({ answer: 'Yes', version: 2 });
    await closed(second.question, `Answered by ${by('ben')}`);
    await settle();
    expect(await question(first.id)).toMatchObject({ answer: 'No', version: 2 });
  });

  it('goes on after the service was killed five times in the middle of presses, and answers each question once', async () => {
    const { double, ask, answered, closed, kill, restart, follows } = await start();
    for (let life = 0; life < 5; life += 1) {
      const { id, question, message, yes } = await ask();
      const pressed = channel.press(double, message, yes, 'ana').then(
        () => true,
        () => false,
      );
      await kill();
      const isTaken = await pressed;
      await restart();
      await follows();
      // What a channel has taken is answered by itself; the rest was seen to fail, and is pressed again.
      if (!isTaken) {
        await vi.waitFor(() => channel.press(double, message, yes, 'ana'), soon);
      }
      expect(await answered(id)).toMatchObject({ answer: 'Yes', version: 2 });
      await closed(question, `Answered by ${by('ana')}`);
    }
  });

  it.runIf(channel.knowsPeople)('ends a message of which it never heard that it arrived, too', async () => {
    const { double, ask, answered } = await start();
    await double.act('lose');
    const { id, question, message, yes } = await ask();
    const about = async () => (await channel.shown(double)).filter(({ text }) => text.includes(question));
    await vi.waitFor(async () => expect(await about()).toHaveLength(2), soon);
    await channel.press(double, message, yes, 'ana');
    await answered(id);
    await vi.waitFor(async () => {
      for (const { text, buttons } of await about()) {
        expect(text).toContain(`Answered by ${by('ana')}`);
        expect(buttons).toEqual([]);
      }
    }, soon);
    expect(await about()).toHaveLength(2);
  });

  it('changes nothing by what the service has not sent, or not there', async () => {
    const { double, ask, question, settle } = await start();
    const { id, message, yes, no } = await ask();
    const other = await ask();
    const [head = '', ...rest] = yes.split('.');
    const forged = [
      ...['', 'x', 'forged', `${yes}x`, yes.slice(0, -2), yes.toUpperCase(), `${yes} Yes`],
      // The option of one button with the signature of another one, and another question.
      [head, rest[0], '1', ...rest.slice(2)].join('.'),
      [other.yes.split('.')[0], ...rest].join('.'),
      [...no.split('.').slice(0, -1), yes.split('.').at(-1)].join('.'),
      'a'.repeat(64),
    ].filter(data => data !== yes && data !== no);
    for (const data of forged) await channel.press(double, message, data, 'eve');
    if (channel.elsewhere) await channel.press(double, message, yes, 'eve', { place: channel.elsewhere });
    await settle();
    expect(await question(id)).toMatchObject({ state: 'open', version: 1 });
    await channel.press(double, message, no, 'ana');
    await vi.waitFor(async () => expect(await question(id)).toMatchObject({ state: 'answered', answer: 'No' }), soon);
  });

  it('cuts what is too long, and shows markup as it is', async () => {
    const { ask } = await start();
    const { message } = await ask({
      question: `*Bold* <b>&amp;</b> [x](https://evil.example) Question 1? ${'long '.repeat(3000)}`,
      context: 'c'.repeat(16_000),
      options: ['<i>Yes</i>', 'n'.repeat(200)],
    });
    expect(message.text).toContain('*Bold* <b>&amp;</b> [x](https://evil.example)');
    expect(message.buttons[0]?.label).toBe('<i>Yes</i>');
  });

  it('is told of a replay from the log by what is there, not by more messages', async () => {
    const { double, ask, answered, closed, send } = await start();
    const { id, question, message, yes } = await ask();
    await channel.press(double, message, yes, 'ana');
    await answered(id);
    await closed(question, 'Answer: Yes');
    const before = (await channel.shown(double)).length;
    const replayed = await send('POST', '/webhooks/phone/replay', { since: '2020-01-01T00:00:00.000Z' });
    expect(replayed.status).toBe(200);
    await vi.waitFor(async () => {
      const { items } = (await send('GET', '/webhooks/phone/deliveries')).body;
      const [end, opened] = items;
      expect(end).toMatchObject({ event_type: 'forum.question.answered', status: 'sent' });
      expect(end.attempts.length).toBeGreaterThanOrEqual(2);
      // The question has closed: nobody is paged for it again.
      expect(opened).toMatchObject({ event_type: 'forum.question.opened', status: 'discarded' });
    }, soon);
    await closed(question, 'Answer: Yes');
    expect(await channel.shown(double)).toHaveLength(before);
  });
});

it('another process goes on when the one that follows a bot is killed', async () => {
  const double = await startDouble('telegram', ['42:secret', '-1001']);
  const database = await forThisTest(emptyDatabase('postgres'));
  const settings = { ...toLoopback, DATABASE_URL: database.url };
  const [first, second] = [await startService(settings), await startService(settings)];
  const wanted = { name: 'phone', event_types: ['forum.question.*'], answer_links: true, ...telegram.webhook(double) };
  expect((await first.send('POST', '/webhooks', wanted)).status).toBe(201);
  const ids: string[] = [];
  for (const question of ['Alpha?', 'Beta?']) {
    const given = { agent_name: question, question, options: ['Yes', 'No'] };
    const { body } = await first.send('POST', '/control-signals', signal('guidance_request', given));
    ids.push(body.question.question_id);
  }
  const shown = () =>
    vi.waitFor(async () => {
      const messages = await telegram.shown(double);
      expect(messages).toHaveLength(2);
      return messages as [Shown, Shown];
    }, soon);
  const [alpha, beta] = await shown();
  await vi.waitFor(async () => expect((await double.seen()).calls).toContain('getUpdates'), soon);
  const pressed = telegram.press(double, alpha, alpha.buttons[0]?.data ?? '', 'ana');
  first.kill('SIGKILL');
  await Promise.all([first.exited, pressed]);
  await telegram.press(double, beta, beta.buttons[1]?.data ?? '', 'ben');
  for (const id of ids) {
    await vi.waitFor(async () => {
      const { body } = await second.send('GET', `/questions/${id}`);
      expect(body).toMatchObject({ state: 'answered', version: 2 });
    }, soon);
  }
});
