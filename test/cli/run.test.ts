import { once } from 'node:events';
import { statSync } from 'node:fs';
import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { commands } from '../../src/cli/commands.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { cliMain, commandLine, spawnCli } from '../helpers/cli.ts';
import { freePort } from '../helpers/ports.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';
import { makeReadOnly, smallDisk } from '../helpers/small-disk.ts';
import { listen } from '../helpers/socket.ts';
import { people, withTokens } from '../helpers/tokens.ts';

let service: TestApp;
let url: string;
let folder: string;
let agent: ReturnType<typeof commandLine>;
let person: ReturnType<typeof commandLine>;

beforeAll(async () => {
  service = await startApp('sqlite', { config: { ROLE: 'all' } });
  url = `http://127.0.0.1:${await listen(service.app)}`;
  return () => service.close();
});

let runs = 0;
beforeEach(async () => {
  folder = (await forThisTest(scratchFolder())).path;
  runs += 1;
  const env = { XDG_STATE_HOME: join(folder, 'state'), FORUMBUS_URL: url, FORUMBUS_RUN: `run-${runs}` };
  person = commandLine({ env, cwd: folder });
  agent = commandLine({ env: { ...env, FORUMBUS_AGENT: 'builder' }, cwd: folder });
});

const region = ['ask', 'Which region?', '-o', 'eu-west-1: Where staging runs.', '-o', 'us-east-1'];
const questions = async (query = '') => (await service.send('GET', `/questions?run_id=run-${runs}${query}`)).body.items;
/** As tokens are estimated. Characters. */
const TOKEN = 4;

describe('ask and answer', () => {
  it('print the answer in at most 40 tokens, once and for all', async () => {
    const asking = agent([...region, '--wait', '30s']);
    await expect.poll(() => questions()).toHaveLength(1);
    expect((await person(['inbox', '--run', `run-${runs}`])).out).toBe(
      `1  builder in run-${runs}, 0m: Which region?  [eu-west-1 | us-east-1]`,
    );
    expect(await person(['answer', '1', '1'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Answered q_\w+ "Which region\?": eu-west-1$/),
    });
    const { code, out, err } = await asking;
    expect({ code, out, err }).toEqual({ code: 0, out: 'eu-west-1', err: '' });
    expect(out.length).toBeLessThanOrEqual(40 * TOKEN);
    expect(await agent(region)).toMatchObject({ code: 0, out: 'eu-west-1' });
    const [question] = await questions();
    expect(question).toMatchObject({ acknowledged_at: expect.any(String), answered_in: 'cli' });
  });

  it('are the same question as long as they are the same command', async () => {
    const first = await agent([...region, '--wait', '0']);
    expect(first).toMatchObject({
      code: 75,
      out: expect.stringMatching(/^open: nobody has answered q_\w+ yet; repeat/),
    });
    expect(first.out.length).toBeLessThanOrEqual(40 * TOKEN);
    expect(await agent([...region, '--wait', '1', '--context', 'In a hurry.'])).toEqual(first);
    expect(await questions()).toHaveLength(1);
  });

  it('name the session that asks, and are the same question in another session', async () => {
    const sessionEnv = (id: string) => ({ env: { CLAUDECODE: '1', CLAUDE_CODE_SESSION_ID: id } });
    expect(await agent([...region, '--wait', '0'], sessionEnv('s-1'))).toMatchObject({ code: 75 });
    const [{ question_id, source }] = await questions();
    expect(source).toEqual({ host: 'claude', session_id: 's-1', cwd: folder });
    const again = agent([...region, '--wait', '30s'], sessionEnv('s-2'));
    await person(['answer', question_id, '2']);
    expect(await again).toMatchObject({ code: 0, out: 'us-east-1', err: '' });
    expect(await agent(region)).toMatchObject({ code: 0, out: 'us-east-1' });
    expect(await questions()).toMatchObject([{ question_id, source: { session_id: 's-1' } }]);
  });

  it('take a label in any case, a text, several options, and a text that is a number', async () => {
    const answered = async (ask: string[], ...answer: string[]) => {
      await agent([...ask, '--wait', '0']);
      await person(['inbox', '--run', `run-${runs}`]);
      expect(await person(['answer', '1', ...answer])).toMatchObject({ code: 0 });
      return (await agent(ask)).out;
    };
    expect(await answered(['ask', 'A?', '-o', 'Yes', '-o', 'No'], 'no')).toBe('No');
    expect(await answered(['ask', 'B?', '-o', 'Yes', '-o', 'No'], 'Neither of them.')).toBe('Neither of them.');
    expect(await answered(['ask', 'C?', '-o', 'a', '-o', 'b', '-o', 'c', '--multi'], '1', 'C')).toBe('a, c');
    expect(await answered(['ask', 'D?', '-o', 'Yes', '-o', 'No'], '1', '--text', 'But later.')).toBe(
      'Yes (But later.)',
    );
    expect(await answered(['ask', 'E?'], '42')).toBe('42');
    expect(await answered(['ask', 'F?'], 'line 1\nline\t2 \x1b[31mred \u202e')).toBe(
      'line 1\\nline\\t2 \\u{1b}[31mred \\u{202e}',
    );
  });

  it('mean by a number what this terminal has shown, whatever others list meanwhile', async () => {
    const inbox = ['inbox', '--run', `run-${runs}`];
    const place = { env: { XDG_STATE_HOME: join(folder, 'state'), FORUMBUS_URL: url }, cwd: folder };
    await agent(['ask', 'Tidy up?', '--wait', '0']);
    await person(inbox);
    await agent(['ask', 'Drop the database?', '--priority', 'urgent', '--wait', '0']);
    // Another program runs this one.
    expect((await spawnCli(inbox, place).ended).out).toMatch(/^1 .*Drop the database/);
    expect(await person(['answer', '1', 'yes'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^Answered q_\w+ "Tidy up\?": yes$/),
    });
  });

  it('say what is wrong with an answer', async () => {
    await agent([...region, '--wait', '0']);
    await person(['inbox', '--run', `run-${runs}`]);
    const refusals: [string[], RegExp][] = [
      [['1', '3'], /^The question has 2 options; a text that is a number goes into --text\.$/],
      [['1', '1', '2'], /^Choose one of these options, or give one text: eu-west-1, us-east-1\.$/],
      [['2', '1'], /^There is no number 2 in the last list/],
      [['q_none', 'x'], /^There is no question q_none\. See `forumbus inbox`/],
    ];
    for (const [args, sentence] of refusals) {
      expect(await person(['answer', ...args])).toEqual({ code: 1, out: '', err: expect.stringMatching(sentence) });
    }
    expect(await person(['answer', '1', '--text', '42'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/: 42$/),
    });
    expect(await person(['answer', '1'])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^The answer is missing/),
    });
    expect(await person(['answer', '1', '--text', '42'])).toMatchObject({ code: 0 });
    expect(await person(['answer', '1', '2'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('was answered before'),
    });
  });

  it('go on until two people have given the same answer, and show each of them what the other one said', async () => {
    const asked = [...region, '--approvals', '2'];
    const ana = { actor: { type: 'human', name: 'ana' } };
    const first = await agent([...asked, '--wait', '0']);
    expect(first).toMatchObject({ code: 75, out: expect.stringMatching(/^open: nobody has answered q_\w+ yet/) });
    // For one person it is another question.
    await agent([...region, '--wait', '0']);
    const all = await questions('&order=newest');
    expect(all.map((one: { approvals_required: number }) => one.approvals_required)).toEqual([1, 2]);
    const { question_id } = all[1];
    const { body } = await service.send('PUT', `/questions/${question_id}/answer`, { selected: ['us-east-1'], ...ana });
    expect(body).toMatchObject({ state: 'open' });
    const still = await agent([...asked, '--wait', '0']);
    expect(still).toMatchObject({
      code: 75,
      out: expect.stringMatching(/^open: only 1 of 2 people agree on q_\w+ yet/),
    });
    expect(still.out).not.toContain('us-east-1');
    const standing = '1 of 2: ana answered “us-east-1”; another person must give the same answer';
    expect((await person(['inbox', '--run', `run-${runs}`])).out).toContain(`us-east-1]  (${standing})`);
    const other = await person(['answer', question_id, 'eu-west-1']);
    expect(other.out).toMatch(
      /^Taken for q_\w+ "Which region\?", 1 of 2: ana answered “us-east-1”, \S+ answered “eu-west-1”; another/,
    );
    expect((await person(['answer', question_id, 'us-east-1'])).out).toBe(
      `Answered ${question_id} "Which region?": us-east-1`,
    );
    expect(await agent(asked)).toMatchObject({ code: 0, out: 'us-east-1' });
    expect(JSON.parse((await agent([...asked, '--json'])).out)).toMatchObject({
      ...{ state: 'answered', approvals_required: 2, approvals: [{ answered_by: ana.actor }, {}] },
    });
    expect(await agent(['ask', 'Who?', '--approvals', 'all'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('--approvals is 1 or 2, not all.'),
    });
  });

  it('end with 4 when the question is withdrawn', async () => {
    await agent(['ask', 'Old?', '--wait', '0']);
    const [{ question_id }] = await questions();
    const asking = agent(['ask', 'New?', '--supersedes', question_id, '--wait', '30s']);
    expect(await agent(['wait', question_id])).toMatchObject({ code: 4, out: expect.stringMatching(/^superseded: /) });
    await expect.poll(() => questions('&state=open')).toHaveLength(1);
    const [open] = await questions('&state=open');
    await service.send('POST', `/questions/${open.question_id}/cancel`, {});
    expect(await asking).toMatchObject({ code: 4, out: expect.stringMatching(/^cancelled: /) });
  });

  it('end with 3 when the question expires', async () => {
    expect(await agent(['ask', 'Now?', '--expires', '1s', '--wait', '30s'])).toMatchObject({
      code: 3,
      out: expect.stringMatching(/^expired: nobody answered q_/),
    });
  });

  it('read the context from a file and from standard input, and the question too', async () => {
    await writeFile(join(folder, 'context.md'), 'From a file.');
    await agent(
      ['ask', 'A?', '--context', 'Said.', '--context-file', join(folder, 'context.md'), '--stdin', '--wait', '0'],
      {
        input: 'Piped.',
      },
    );
    await agent(['ask', '--stdin', '--priority', 'urgent', '--wait', '0'], { input: 'Piped?\n' });
    expect(await questions()).toMatchObject([
      { question: 'Piped?\n', context: null, priority: 'urgent' },
      { question: 'A?', context: 'Said.\n\nFrom a file.\n\nPiped.' },
    ]);
  });

  it('print one line of JSON', async () => {
    const asked = JSON.parse((await agent([...region, '--wait', '0', '--json'])).out);
    expect(asked).toMatchObject({ question_id: expect.any(String), state: 'open', answer: null });
    const refused = JSON.parse((await agent(['wait', 'q_none', '--json'])).out);
    expect(refused).toEqual({ error: { code: 'QUESTION_NOT_FOUND', message: expect.any(String) } });
  });
});

describe('the other commands of an agent', () => {
  it('report, and tell of news that is not read', async () => {
    await agent([...region, '--wait', '0']);
    expect(await agent(['status'])).toMatchObject({
      out: expect.stringMatching(/^builder in run-\d+ at http.*: awaiting_guidance, attempt 1, open questions: q_/),
    });
    expect(await agent(['gate'])).toMatchObject({
      code: 75,
      out: expect.stringMatching(/^blocked: builder waits for/),
    });
    await person(['inbox', '--run', `run-${runs}`]);
    await person(['answer', '1', '2']);
    expect(await agent(['note', 'Tests run.'])).toEqual({ code: 0, out: 'Noted.', err: '' });
    expect(await agent(['complete', 'Done.', '-e', 'commit:4f2a91c', '-e', 'url:https://a.example/b'])).toMatchObject({
      out: 'Completed. 1 unread in `forumbus inbox`.',
    });
    expect(await agent(['inbox'])).toMatchObject({ out: '"Which region?" answered: us-east-1' });
    expect(await agent(['inbox'])).toMatchObject({ out: 'No news.' });
    const { out: before } = await agent(['gate']);
    expect(before).toBe('blocked: The work of builder has not been validated.');
    const waiting = agent(['gate', `run-${runs}`, '--wait', '30s']);
    expect(
      await agent(['validate', 'passed', '--of', 'builder', '--criteria', 'Green.', '--agent', 'tester']),
    ).toMatchObject({
      code: 0,
      out: 'Validated.',
    });
    expect(await waiting).toMatchObject({ code: 0, out: 'ready' });
    const run = (await service.send('GET', `/runs/run-${runs}`)).body;
    expect(run.agents[0]).toMatchObject({
      completion: {
        evidence: [
          { kind: 'commit', ref: '4f2a91c' },
          { kind: 'url', ref: 'https://a.example/b' },
        ],
      },
      validation: { actor: { type: 'agent', name: 'tester' } },
    });
  });

  it('name the agent in the hint to its news where nothing else does, and the reviewer gets none of them', async () => {
    const unnamed = { env: { FORUMBUS_AGENT: '' } };
    await agent(['ask', 'Now?', '--wait', '0'], unnamed);
    const [{ question_id }] = await questions();
    await person(['answer', question_id, 'Yes.']);
    const reviewed = ['validate', 'passed', '--of', 'agent', '--criteria', 'Green.', '--agent', 'tester'];
    expect(await agent(reviewed)).toMatchObject({ code: 0, out: 'Validated.' });
    const { out } = await agent(['complete'], unnamed);
    expect(out).toBe('Completed. 1 unread in `forumbus inbox --agent agent`.');
    expect(await agent(['inbox', '--agent', 'agent'], unnamed)).toMatchObject({ out: '"Now?" answered: Yes.' });
  });

  it('acknowledge its own question however the run is written', async () => {
    const env = { FORUMBUS_RUN: ` run-${runs} Cafe\u0301 ` };
    await agent(['ask', 'Now?', '--wait', '0'], { env });
    const run = `run-${runs} Caf\u00e9`;
    const [{ question_id }] = (await service.send('GET', `/questions?run_id=${encodeURIComponent(run)}`)).body.items;
    await person(['answer', question_id, 'Yes.']);
    expect(await agent(['wait', question_id], { env })).toMatchObject({ out: 'Yes.' });
    expect(await agent(['inbox'], { env })).toMatchObject({ out: 'No news.' });
  });

  it('show an agent what a person says', async () => {
    await agent(['complete']);
    const { thread_id } = (await service.send('GET', `/control-threads/run-${runs}/builder`)).body;
    const news = agent(['inbox', '--wait', '30s']);
    await service.send('POST', `/threads/${thread_id}/posts`, { body: 'Stop!', actor: { type: 'human', name: 'ana' } });
    expect(await news).toMatchObject({ code: 0, out: 'message from ana: Stop!' });
  });

  it('show what is free behind what another reader has claimed, without waiting', async () => {
    await agent(['complete']);
    const path = `/control-threads/run-${runs}/builder`;
    const { thread_id } = (await service.send('GET', path)).body;
    const actor = { type: 'human', name: 'ana' };
    const say = (body: string) => service.send('POST', `/threads/${thread_id}/posts`, { body, actor });
    // More than a page of the list.
    for (let count = 0; count < 60; count += 1) await say(`${count}.`);
    await service.send('POST', `${path}/inbox/claim`, { claimant: 'hook', lease_seconds: 60, limit: 60 });
    await say('The last one.');
    expect(await agent(['inbox', '--wait', '60s'])).toMatchObject({ code: 0, out: 'message from ana: The last one.' });
    const waiting = agent(['inbox', '--wait', '60s']);
    await say('And another one.');
    expect(await waiting).toMatchObject({ code: 0, out: 'message from ana: And another one.' });
  });
});

describe('an output that nobody can read', () => {
  it('leaves news unread, and the exit code says so', async () => {
    await agent(['ask', 'Now?', '--wait', '0']);
    const [{ question_id }] = await questions();
    await person(['answer', question_id, 'Yes.']);
    const env = {
      ...{ XDG_STATE_HOME: join(folder, 'state'), FORUMBUS_URL: url },
      ...{ FORUMBUS_RUN: `run-${runs}`, FORUMBUS_AGENT: 'builder' },
    };
    const shell = (command: string) =>
      spawnCli([], { env, cwd: folder }, ['sh', '-c', command, process.execPath, cliMain]).ended;
    for (const command of ['ask "Now?"', 'inbox']) {
      expect(await shell(`"$0" "$1" ${command} > /dev/full`)).toEqual({
        code: 1,
        out: '',
        err: 'The output cannot be written (ENOSPC).',
      });
      // The reader has gone when the command starts.
      const gone = `{ read _ < gate; "$0" "$1" ${command}; echo $? >&2; } | { exec <&-; echo > gate; }`;
      expect(await shell(`mkfifo gate; ${gone}; rm gate`)).toMatchObject({
        err: 'The output cannot be written (EPIPE).\n1',
      });
    }
    const inbox = `/control-threads/run-${runs}/builder/inbox`;
    expect((await service.send('GET', inbox)).body.items).toMatchObject([{ kind: 'answered' }]);
  });
});

describe('a machine that keeps no files', () => {
  it('shows people the questions by their ids', async () => {
    await writeFile(join(folder, 'file'), '');
    const env = { XDG_STATE_HOME: join(folder, 'file') };
    await agent(['ask', 'Now?', '--wait', '0']);
    const [{ question_id }] = await questions();
    expect(await person(['inbox', '--run', `run-${runs}`], { env })).toEqual({
      code: 0,
      out: `${question_id}  builder in run-${runs}, 0m: Now?`,
      err: expect.stringMatching(/^There are ids in the place of numbers: .* cannot be used \(EEXIST\); check/),
    });
    for (const args of [['up'], ['run', 'export', `run-${runs}`, '--out', '/none/x']]) {
      const failed = await person(args, { env });
      expect(failed).toMatchObject({ code: 1, out: '', err: expect.stringMatching(/^\/\S+ cannot be used \(E\w+\)/) });
    }
  });

  it('says so where no folder can be made', async () => {
    await agent(['ask', 'Now?', '--wait', '0']);
    const env = { HOME: '/proc', FORUMBUS_URL: url };
    const inProc = (...args: string[]) => spawnCli(args, { env, cwd: folder }).ended;
    const [inbox, hook, install] = await Promise.all([
      inProc('inbox', '--run', `run-${runs}`),
      inProc('hook', 'claude'),
      inProc('install', 'gemini'),
    ]);
    expect(inbox).toMatchObject({ code: 0, err: expect.stringMatching(/^There are ids .*\/proc\/\S+ cannot be used/) });
    expect(hook).toEqual({ code: 0, out: '', err: '' });
    expect(install).toMatchObject({ code: 1, err: expect.stringMatching(/^\/proc\/\S+ cannot be used \(E\w+\)/) });
  });

  it('does without what waits, and tells of it', async () => {
    const disk = await smallDisk(1_000_000);
    if (disk === undefined) return;
    const env = { XDG_STATE_HOME: disk };
    const nowhere = `http://127.0.0.1:${await freePort()}`;
    await agent(region, { env: { ...env, FORUMBUS_URL: nowhere } });
    const spool = join(disk, 'forumbus', 'spool');
    const [name = ''] = await readdir(spool);
    await writeFile(join(spool, name), (await readFile(join(spool, name), 'utf8')).replaceAll(nowhere, url));
    makeReadOnly(disk);
    expect(await agent(['note', 'Two.'], { env })).toEqual({
      code: 0,
      out: 'Noted.',
      err: expect.stringMatching(/^A request that had to wait \(ask\) is not sent: \S+ cannot be used \(EROFS\)/),
    });
    expect(await person(['install', 'gemini'], { env: { ...env, HOME: disk } })).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^\S+ cannot be used \(E\w+\); check its permissions/),
    });
  });

  it('does without damaged files, and in a folder that has been deleted', async () => {
    const state = join(folder, 'state', 'forumbus');
    await person(['inbox']);
    const [list = ''] = await readdir(join(state, 'lists'));
    await writeFile(join(state, 'lists', list), JSON.stringify({ url }));
    await mkdir(join(state, 'spool'));
    await writeFile(join(state, 'spool', '1-note.json'), JSON.stringify({ url, token: '', spooled: null }));
    expect(await person(['answer', '1', 'yes'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('no number 1'),
    });
    const env = { XDG_STATE_HOME: join(folder, 'state'), FORUMBUS_URL: url };
    const gone = 'mkdir gone; cd gone; rmdir ../gone; exec "$0" "$1"';
    for (const [command, out] of [
      ['hook claude', ''],
      ['status', `agent in gone at ${url}: no signal yet`],
    ]) {
      const program = ['sh', '-c', `${gone} ${command}`, process.execPath, cliMain];
      expect(await spawnCli([], { env, cwd: folder }, program).ended).toEqual({ code: 0, out, err: '' });
    }
  });
});

describe('usage', () => {
  it('is explained by --help of each command, and the version is that of the package', async () => {
    const { out } = await person(['--help']);
    for (const { name, load } of commands) {
      expect(out).toContain(`  ${name} `);
      if ((await load()).ownArguments) continue;
      const help = await person([name, '--help']);
      expect(help).toMatchObject({ code: 0, err: '' });
      expect(help.out).toMatch(new RegExp(`^Usage: forumbus ${name}`));
      expect(await person([name, '--version'])).toMatchObject({
        code: 0,
        out: expect.stringMatching(/^\d+\.\d+\.\d+/),
      });
    }
  });

  const wrong: [string[], RegExp][] = [
    [['asks'], /^There is no command asks; `forumbus --help` lists them\.$/],
    [['ask'], /^The question is missing/],
    [['ask', 'a', 'b'], /^These are too many arguments \(quote a text\)\. Usage: forumbus ask/],
    [['ask', 'a', '--bogus'], /^Unknown option '--bogus' \(.* comes last, after --\)\. Usage: forumbus ask/],
    [['ask', '- a?'], /^Unknown option '- ' \(a text that begins with a dash comes last, after --\)\. Usage/],
    [['ask', 'a', '--wait', '-1'], /^Option '--wait' argument is ambiguous \(.* is written --wait=…\)\. Usage/],
    [['ask', 'a', '-o'], /^Option '-o, --option <value>' argument missing\. Usage/],
    [['status', 'a'], /^These are too many arguments \(quote a text\)\. Usage: forumbus status$/],
    [['ask', 'a', '--wait', 'soon'], /^--wait takes a time such as 90s, 9m or 8h, not soon\.$/],
    [['ask', 'a', '--priority', 'top'], /^--priority is one of urgent, high, normal, low, not top\.$/],
    [['ask', 'a', '--context-file', '/none'], /^The file \/none cannot be read \(ENOENT\)/],
    [['ask', 'a', '--url', 'localhost'], /^localhost is no URL/],
    [['ask', 'a', '--url', 'http://127.0.0.1:99999'], /^http:\/\/127.0.0.1:99999 is no URL/],
    [['ask', 'a', '--url', 'http://ana:secret@127.0.0.1'], /^The URL of the service holds a name or a password; leave/],
    [['ask', 'a', '--url', 'ana:secret@127.0.0.1'], /^The URL of the service holds a name or a password; leave/],
    [['ask', 'a', '--token-file', 'package.json'], /^The token holds white space or other characters that none has; /],
    [['mcp', '--token-file', 'package.json'], /^The token holds white space or other characters that none has; /],
    [['ask', 'a', '--token-file', '/none'], /^The token file \/none cannot be read \(ENOENT\)/],
    [['note'], /^Something is missing\. Usage: forumbus note "TEXT"$/],
    [['complete', '-e', 'commit'], /^--evidence takes kind:ref/],
    [['validate', 'good'], /^Say passed or failed/],
    [['validate', 'passed'], /^--criteria is missing/],
    [['wait'], /^The agent has no open question/],
    [['gate', 'none'], /^There is no run none\. Check the name, or set --run\.$/],
    [['ask', 'a', '-o', 'only one'], /^--option must have at least 2 items\.$/],
    [['ask', 'a', '-o', 'x', '-o', 'x'], /^--option must not have the same label twice\.$/],
    [['ask', 'a', '--default', 'x'], /^--expires, in seconds, must be at least 60 if there is a default\.$/],
    [['ask', 'a', '--expires', '400d'], /^--expires, in seconds, must be at most 31536000\.$/],
    [['ask', '20000 letters'], /^The question must have at most 16384 characters\.$/],
    [['note', ''], /^The text must not be empty\.$/],
    [['status', '--run', ''], /^--run must not be empty\.$/],
    [['status', '--url', 'FORUMBUS/elsewhere'], /^There is no GET \/elsewhere\S+\. Check FORUMBUS_URL\.$/],
    [['ask', 'a', '--context', '300000 letters'], /^Request body is too large\. Shorten the texts\.$/],
  ];
  it.each(wrong)('%j is one sentence with the remedy', async (args, sentence) => {
    const meant = (arg: string) =>
      arg.replace('FORUMBUS', url).replace(/^(\d+) letters$/, (_all, count) => 'x'.repeat(Number(count)));
    const { code, out, err } = await agent(args.map(meant));
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(sentence);
    expect(err).not.toContain('\n');
  });
});

describe('a service that does not answer', () => {
  it('gets what waited, in order and once, with the next call', async () => {
    const nowhere = { env: { FORUMBUS_URL: url.replace(/\d+$/, String(await freePort())) } };
    const later = commandLine({
      env: {
        XDG_STATE_HOME: join(folder, 'state'),
        ...nowhere.env,
        FORUMBUS_RUN: `run-${runs}`,
        FORUMBUS_AGENT: 'builder',
      },
      cwd: folder,
    });
    // As the table of exit codes says, an agent repeats its commands.
    const [note, complete] = [
      ['note', 'One.'],
      ['complete', 'Two.'],
    ];
    for (const args of [region, note, note, complete, region, complete]) {
      expect(await later(args)).toEqual({
        code: 69,
        out: '',
        err: expect.stringMatching(
          /^Forumbus does not answer at .* \(ECONNREFUSED\)\. The next call sends this request/,
        ),
      });
    }
    expect(await later(['status'])).toMatchObject({
      code: 69,
      err: expect.stringMatching(/`forumbus up` starts the service/),
    });
    const spool = join(folder, 'state', 'forumbus', 'spool');
    const names = (await readdir(spool)).sort();
    expect(names.map(name => name.split('-')[1])).toEqual(['ask', 'note', 'complete']);
    // The same question at another service is another one.
    await later(region, { env: { FORUMBUS_URL: `http://127.0.0.1:${await freePort()}` } });
    expect(await readdir(spool)).toHaveLength(4);
    expect(statSync(join(spool, names[0] as string)).mode & 0o777).toBe(0o600);
    // The service comes back, here at another port.
    for (const name of names) {
      const path = join(spool, name);
      await writeFile(path, (await readFile(path, 'utf8')).replaceAll(nowhere.env.FORUMBUS_URL, url));
    }
    expect(await agent(complete)).toEqual({ code: 0, out: 'Completed.', err: '' });
    expect(await readdir(spool)).toHaveLength(1);
    const { items } = (await service.send('GET', `/events?run_id=run-${runs}`)).body;
    const texts = items.flatMap(
      ({ payload }: { payload: Record<string, string> }) => payload.body ?? payload.summary ?? [],
    );
    expect(texts).toEqual(['One.', 'Two.']);
    expect(await questions()).toHaveLength(1);
  });

  it('gets what waited with the token that it waited under, also once that is rotated, and with no other one', async () => {
    const guarded = await startApp('sqlite', { config: { SELF_VALIDATION: 'forbid' } });
    onTestFinished(guarded.close);
    const { issue, admin } = await withTokens(guarded);
    const at = `http://127.0.0.1:${await listen(guarded.app)}`;
    const nowhere = `http://127.0.0.1:${await freePort()}`;
    const own = await issue({ role: 'agent', runs: `run-${runs}`, agents: 'tester', validates: 'builder' });
    const withToken = (to: string, token: string) => ({
      env: { FORUMBUS_URL: to, FORUMBUS_TOKEN: token, FORUMBUS_AGENT: 'tester' },
    });
    const passed = ['validate', 'passed', '--criteria', 'Green.'];
    for (const args of [['complete', 'Done.'], [...passed, '--of', 'builder'], passed])
      expect(await agent(args, withToken(nowhere, own.token))).toMatchObject({ code: 69 });
    const spool = join(folder, 'state', 'forumbus', 'spool');
    for (const name of await readdir(spool)) {
      const text = await readFile(join(spool, name), 'utf8');
      await writeFile(join(spool, name), text.replaceAll(nowhere, at));
    }
    // Those of a person, of another agent, and a new one of the same agent: each is used in the same folder.
    const others = [
      await issue({ role: 'operator', actor: people.operator }),
      await issue({ role: 'agent', runs: `run-${runs}`, agents: 'writer' }),
      await issue({ role: 'agent', runs: `run-${runs}`, agents: 'tester' }),
    ];
    for (const { token } of others) {
      expect(await agent(['gate'], withToken(at, token))).toMatchObject({
        err: expect.stringMatching(
          /^Not sent \(3\): requests of tester in run-\d+ that wait for another token in \/.*spool\./,
        ),
      });
    }
    expect(await readdir(spool)).toHaveLength(3);
    const rotated = await admin('POST', `/tokens/${own.token_id}/rotate`, { overlap_seconds: 0 });
    expect(await agent(['status'], withToken(at, rotated.body.token))).toMatchObject({
      code: 0,
      err: expect.stringMatching(/^A request that had to wait \(validate\) is dropped: /),
    });
    expect(await readdir(spool)).toEqual([]);
    expect((await admin('GET', `/runs/run-${runs}`)).body.agents).toMatchObject([
      { agent_name: 'builder', validation: { status: 'passed' } },
      { agent_name: 'tester', completion: { summary: 'Done.' }, validation: null },
    ]);
  });

  it('keeps what waits while something else answers in its place', async () => {
    const answers = [
      { status: 404, body: '<html>' },
      { status: 403, body: 'Forbidden' },
      { status: 500, body: '{"code": "Broken"}' },
      { status: 404, body: '{"code": "NoRoute"}' },
      { status: 200, body: '<html>' },
    ];
    const stranger = createServer((_request, response) => {
      const { status, body } = answers[0] as (typeof answers)[number];
      response.writeHead(status).end(body);
    });
    onTestFinished(() => void stranger.close());
    const env = { FORUMBUS_URL: `http://127.0.0.1:${await freePort()}` };
    expect(await agent(['note', 'One.'], { env })).toMatchObject({ code: 69 });
    await once(stranger.listen(Number(new URL(env.FORUMBUS_URL).port), '127.0.0.1'), 'listening');
    for (; answers.length > 0; answers.shift()) {
      expect(await agent(['status'], { env })).toMatchObject({
        code: 1,
        err: expect.stringContaining('check that the URL is that of Forumbus'),
      });
      expect(await readdir(join(folder, 'state', 'forumbus', 'spool'))).toHaveLength(1);
    }
  });

  it('goes on beside a request at which the service itself fails', async () => {
    const failing = createServer(async (incoming, response) => {
      const { method = 'GET', url: path = '' } = incoming;
      if (method === 'POST') {
        const problem = {
          type: 'urn:forumbus:problem:internal-error',
          code: 'INTERNAL_ERROR',
          title: 'x',
          status: 500,
          detail: 'Broken.',
        };
        response.writeHead(500, { 'content-type': 'application/problem+json' }).end(JSON.stringify(problem));
        return;
      }
      const answer = await fetch(new URL(path, url));
      response.writeHead(answer.status, { 'content-type': String(answer.headers.get('content-type')) });
      response.end(await answer.text());
    });
    onTestFinished(() => void failing.close());
    const env = { FORUMBUS_URL: `http://127.0.0.1:${await freePort()}` };
    expect(await agent(['note', 'One.'], { env })).toMatchObject({ code: 69 });
    await once(failing.listen(Number(new URL(env.FORUMBUS_URL).port), '127.0.0.1'), 'listening');
    expect(await agent(['status'], { env })).toMatchObject({
      code: 0,
      err: expect.stringMatching(/^A request that had to wait \(note\) is not sent: Broken\./),
    });
    expect(await readdir(join(folder, 'state', 'forumbus', 'spool'))).toHaveLength(1);
  });

  it('names the sandbox that keeps a command from it, and tells when a request cannot be kept', async () => {
    await writeFile(join(folder, 'file'), '');
    const env = {
      FORUMBUS_URL: `http://127.0.0.1:${await freePort()}`,
      XDG_STATE_HOME: join(folder, 'file'),
      CODEX_SANDBOX_NETWORK_DISABLED: '1',
    };
    expect(await agent(region, { env })).toEqual({
      code: 69,
      out: '',
      err: expect.stringMatching(/lost, since the state folder cannot be written \(EEXIST\)\. .*network_access = true/),
    });
    expect(await agent(['status'], { env })).toMatchObject({ code: 69, err: expect.stringContaining('MCP tool') });
  });

  it('drops what is refused, and keeps what belongs to another service or token', async () => {
    const spool = join(folder, 'state', 'forumbus', 'spool');
    await mkdir(spool, { recursive: true });
    const entry = (at: string, token = '') =>
      JSON.stringify({
        url: at,
        token,
        caller: { run_id: `run-${runs}`, agent_name: token ? 'tester' : 'builder' },
        spooled: { act: 'note', run_id: `run-${runs}`, agent_name: 'builder', text: ' ', idempotency_key: 'k' },
      });
    await writeFile(join(spool, '1-note-a.json'), entry(url));
    await writeFile(join(spool, '2-note-b.json'), entry('http://127.0.0.1:1'));
    await writeFile(join(spool, '3-note-c.json'), entry(url, 'other'));
    await writeFile(join(spool, '4-note-d.json'), '{');
    expect(await agent(['status'])).toMatchObject({
      code: 0,
      err: expect.stringMatching(
        /^A request that had to wait \(note\) is dropped: The text must be: Text with at least one visible/,
      ),
    });
    expect((await readdir(spool)).sort()).toEqual(['2-note-b.json', '3-note-c.json', '4-note-d.json']);
  });
});
