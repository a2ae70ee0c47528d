import { setImmediate as nextTurn } from 'node:timers/promises';
import { describe, expect, it } from 'vitest';
import { startApp } from '../helpers/app.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';
import { sqlBeside } from '../helpers/sql.ts';

describe.each(engines)('a signal whose wait breaks, on %s', engine => {
  it('is answered as stored, so that nobody sends it again', async () => {
    const service = await startApp(engine);
    const waiting = service.send('POST', '/control-signals?wait=20', signal('guidance_request'));
    const ask = () => service.send('GET', '/questions');
    for (let asked = await ask(); asked.body.items.length === 0; asked = await ask()) await nextTurn();
    // Whoever reads the question from now on fails, and the event makes the waiter read it.
    const [{ question_id }] = (await ask()).body.items;
    await sqlBeside(service.url, 'alter table questions rename to gone');
    await sqlBeside(
      service.url,
      `insert into events (event_id, event_type, event_version, occurred_at, actor, correlation_id, payload)
       values ('evt_x', 'forum.question.answered', 1, 0, 'human:ana', 'x', '{"question_id":"${question_id}"}')`,
    );
    const { status, body } = await waiting;
    expect(status).toBe(201);
    expect(body).toMatchObject({ question: { question_id, state: 'open' } });
    await service.close();
  });
});
