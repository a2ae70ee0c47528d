import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { startNtfy } from '../helpers/ntfy.ts';
import { toLoopback } from '../helpers/receiver.ts';
import { signal } from '../helpers/signals.ts';

const soon = { timeout: 20_000, interval: 20 };

interface Button {
  label: string;
  url: string;
  body: string;
}

describe.each(engines)('a button of ntfy with a reply topic on %s', engine => {
  async function start() {
    const ntfy = await startNtfy('tk_secret');
    const service = await startApp(engine, { config: toLoopback });
    onTestFinished(() => service.close());
    const settings = { topic: 'alerts', reply_topic: 'replies', token: 'tk_secret' };
    const wanted = { name: 'phone', url: ntfy.url, format: 'ntfy', settings, answer_links: true };
    const created = await service.send('POST', '/webhooks', { ...wanted, event_types: ['forum.question.*'] });
    expect(created.status, JSON.stringify(created.body)).toBe(201);
    let asked = 0;
    /** The id of a new question, and its buttons. */
    const ask = async (fields: object = {}): Promise<{ id: string; buttons: Button[] }> => {
      const before = ntfy.of('alerts').length;
      const body = signal('guidance_request', { agent_name: `agent-${++asked}`, options: ['Yes', 'No'], ...fields });
      const answer = await service.send('POST', '/control-signals', body);
      expect(answer.status, JSON.stringify(answer.body)).toBe(201);
      await vi.waitFor(() => expect(ntfy.of('alerts').length).toBeGreaterThan(before), soon);
      return { id: answer.body.question.question_id, buttons: ntfy.of('alerts').at(-1)?.actions as Button[] };
    };
    /** As a phone does it. */
    const press = ({ url, body }: Button) => fetch(url, { method: 'POST', body });
    const question = async (id: string) => (await service.send('GET', `/questions/${id}`)).body;
    const answered = (id: string, answer: string) =>
      vi.waitFor(async () => expect(await question(id)).toMatchObject({ state: 'answered', answer }), soon);
    return { ntfy, service, ask, press, question, answered };
  }

  it('answers once, without an address of the service', async () => {
    const { ntfy, ask, press, question, answered } = await start();
    const { id, buttons } = await ask();
    expect(buttons.map(({ label, url }) => [label, url])).toEqual([
      ['Yes', `${ntfy.url}replies`],
      ['No', `${ntfy.url}replies`],
    ]);
    const [yes, no] = buttons as [Button, Button];
    await press(yes);
    await answered(id, 'Yes');
    expect(await question(id)).toMatchObject({ answered_in: 'link', answered_by: { type: 'human', name: 'phone' } });
    await press(no);
    await press(yes);
    // One that anybody made up, and a later question, so that all before it were read.
    await press({ ...no, body: 'forged Yes' });
    const next = await ask();
    await press(next.buttons[1] as Button);
    await answered(next.id, 'No');
    expect(await question(id)).toMatchObject({ answer: 'Yes', version: 2 });
  });

  it('answers also when it is pressed while the service is away, or its connection is lost', {
    timeout: 40_000,
  }, async () => {
    const { ntfy, service, ask, press, answered } = await start();
    const [first, second] = [await ask(), await ask()];
    await service.app.close();
    await press(first.buttons[0] as Button);
    await service.restart();
    await answered(first.id, 'Yes');
    ntfy.hangUp();
    await press(second.buttons[1] as Button);
    await answered(second.id, 'No');
  });
});
