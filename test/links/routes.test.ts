import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { toToken } from '../../src/links/token.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { ManualClock } from '../helpers/clock.ts';
import { dump } from '../helpers/database.ts';
import { engines } from '../helpers/engines.ts';
import { signal } from '../helpers/signals.ts';
import { withTokens } from '../helpers/tokens.ts';

const DAY = 24 * 3_600_000;

describe.each(engines)('an answer link on %s', engine => {
  const clock = new ManualClock();
  let service: TestApp;
  let secret: string;
  let admin: TestApp['send'];
  let agents = 0;
  beforeAll(async () => {
    service = await startApp(engine, { overrides: { clock }, config: { PUBLIC_URL: 'https://forum.example/' } });
    admin = (await withTokens(service)).admin;
    secret = JSON.parse((await dump(service.url)).link_secrets?.[0] ?? '').secret;
  });
  afterAll(() => service.close());

  const ask = async (fields: object = {}) => {
    const agent_name = `agent-${++agents}`;
    const { status, body } = await admin(
      'POST',
      '/control-signals',
      signal('guidance_request', { agent_name, ...fields }),
    );
    expect(status, JSON.stringify(body)).toBe(201);
    return body.question;
  };
  const linkOf = (question: { question_id: string; version: number }, expires_at = clock.now() + DAY) =>
    `/a/${toToken({ question_id: question.question_id, version: question.version, recipient: 'chat', expires_at }, secret)}`;
  const look = (link: string) => service.app.inject({ method: 'GET', url: link });
  const press = (link: string, form: Record<string, string>) =>
    service.app.inject({
      method: 'POST',
      url: link,
      headers: { 'content-type': 'application/x-www-form-urlencoded' },
      payload: new URLSearchParams(form).toString(),
    });
  const questionOf = async (id: string) => (await admin('GET', `/questions/${id}`)).body;

  it('shows the question to whoever has it, and looking changes nothing', async () => {
    const question = await ask({
      question: 'Ship <b>it</b>\u202e?',
      options: ['Yes', 'No & "never"'],
      context: 'Line\nbreak',
    });
    const link = linkOf(question);
    const before = await dump(service.url);
    const page = await look(link);
    expect(page.statusCode).toBe(200);
    expect(page.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
      'referrer-policy': 'no-referrer',
    });
    expect(page.headers['content-security-policy']).toMatch(
      /^default-src 'none'; style-src 'sha256-[^']+'; form-action 'self'/,
    );
    expect(page.body).toContain('Ship &lt;b&gt;it&lt;/b&gt;\\u{202e}?');
    expect(page.body).toContain('value="No &amp; &quot;never&quot;"');
    expect(page.body).not.toMatch(/<b>|<script|https?:/);
    expect((await service.app.inject({ method: 'HEAD', url: link })).statusCode).toBe(200);
    expect(await dump(service.url)).toEqual(before);
  });

  it('answers once, in the name of its recipient', async () => {
    const question = await ask({ options: ['Yes', 'No'] });
    const link = linkOf(question);
    expect(await press(link, { selected: 'Yes', answer: '' })).toMatchObject({
      statusCode: 200,
      body: expect.stringContaining('Answered by chat at'),
    });
    const stored = { state: 'answered', answer: 'Yes', selected: ['Yes'], answered_in: 'link' };
    expect(await questionOf(question.question_id)).toMatchObject({
      ...stored,
      answered_by: { type: 'human', name: 'chat' },
    });
    for (const selected of ['Yes', 'No']) {
      const again = await press(link, { selected });
      expect(again.statusCode).toBe(412);
      expect(again.body).toContain('This came too late, or a second time: nothing has changed.');
      expect(again.body).toMatch(/Answered by chat at [^<]*: Yes/);
      expect(again.body).not.toContain('version');
    }
    expect((await look(link)).body).not.toContain('<form');
    expect(await questionOf(question.question_id)).toMatchObject(stored);
  });

  it('sends each option as it is, also one whose label has a line separator', async () => {
    const label = 'Yes\u2028now\u2029"quick"';
    const question = await ask({ options: [label, 'No'] });
    const link = linkOf(question);
    const page = (await look(link)).body;
    expect(page).toContain('>Yes\\u{2028}now\\u{2029}&quot;quick&quot;</button>');
    const [, value = ''] = /<button name="selected" value="([^"]*)"/.exec(page) ?? [];
    expect((await press(link, { selected: value.replaceAll('&quot;', '"') })).statusCode).toBe(200);
    expect((await questionOf(question.question_id)).selected).toEqual([label]);
  });

  it('takes own words, and nothing that is no answer', async () => {
    const question = await ask();
    const link = linkOf(question);
    expect((await press(link, {})).statusCode).toBe(400);
    expect((await press(link, { answer: '   ' })).statusCode).toBe(400);
    expect((await press(link, { answer: '\u200b\u3164' })).statusCode).toBe(400);
    expect((await press(link, { selected: 'Maybe' })).statusCode).toBe(422);
    expect((await press(link, { answer: 'x'.repeat(16_385) })).statusCode).toBe(400);
    const most = '😀'.repeat(16_384);
    const other = await ask();
    expect((await press(linkOf(other), { answer: most })).statusCode).toBe(200);
    expect((await questionOf(other.question_id)).answer).toBe(most);
    expect((await questionOf(question.question_id)).state).toBe('open');
    expect((await press(link, { answer: 'First line\r\nsecond' })).statusCode).toBe(200);
    expect((await questionOf(question.question_id)).answer).toBe('First line\nsecond');
  });

  it('is dead after its time, when the question has ended, and when a letter of it is another one', async () => {
    const question = await ask();
    const late = linkOf(question, clock.now() - 1);
    expect((await look(late)).body).toContain('This link has expired.');
    expect((await press(late, { answer: 'Late' })).statusCode).toBe(409);
    const link = linkOf(question);
    for (const forged of [
      // The highest bit of the last character counts; the lowest two do not.
      `${link.slice(0, -1)}${/[A-Za-f]$/.test(link) ? '_' : 'A'}`,
      `${link}x`,
      '/a/none',
      '/a/e30.e30',
    ]) {
      expect((await look(forged)).statusCode, forged).toBe(404);
      expect((await press(forged, { answer: 'Forged' })).statusCode).toBe(404);
    }
    expect((await admin('POST', `/questions/${question.question_id}/cancel`)).status).toBe(200);
    expect((await press(link, { answer: 'Too late' })).statusCode).toBeGreaterThanOrEqual(409);
    expect((await look(link)).body).toContain('The question is cancelled.');
  });
});
