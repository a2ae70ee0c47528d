import { mkdir, writeFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { DEFAULT_URL, identityOf, sourceOf } from '../../src/cli/identity.ts';
import { forThisTest } from '../helpers/process.ts';
import { scratchFolder } from '../helpers/scratch.ts';

const scratch = async () => (await forThisTest(scratchFolder())).path;

/** A folder with a `.git` whose HEAD is this. */
async function repository(head: string): Promise<string> {
  const folder = join(await scratch(), 'shop');
  await mkdir(join(folder, '.git'), { recursive: true });
  await writeFile(join(folder, '.git', 'HEAD'), `${head}\n`);
  return folder;
}

const runOf = (cwd: string) => identityOf({}, {}, cwd).run_id;

describe('the run', () => {
  it('is the folder and the branch, from any folder below', async () => {
    const folder = await repository('ref: refs/heads/feature/eu');
    await mkdir(join(folder, 'src', 'deep'), { recursive: true });
    expect(runOf(folder)).toBe('shop@feature/eu');
    expect(runOf(join(folder, 'src', 'deep'))).toBe('shop@feature/eu');
    expect(runOf(await repository('4f2a91c0d7e1b2a3c4d5e6f7'))).toBe('shop@4f2a91c0d7e1');
  });

  it('is that of a work tree beside its repository', async () => {
    const folder = await repository('ref: refs/heads/main');
    const state = join(folder, '.git', 'worktrees', 'fix');
    const tree = join(folder, '..', 'fix');
    await mkdir(state, { recursive: true });
    await mkdir(tree);
    await writeFile(join(state, 'HEAD'), 'ref: refs/heads/fix-1\n');
    await writeFile(join(tree, '.git'), `gitdir: ${state}\n`);
    expect(runOf(tree)).toBe('fix@fix-1');
  });

  it('is the folder where there is no repository', async () => {
    const folder = await scratch();
    expect(runOf(folder)).toBe(basename(folder));
  });
});

describe('the agent', () => {
  it.each([
    [{}, 'agent', false],
    [{ CLAUDECODE: '1' }, 'claude', true],
    [{ CODEX_SANDBOX: 'seatbelt', CLAUDECODE: '1' }, 'codex', true],
    [{ CODEX_HOME: '/home/ana/.codex' }, 'agent', false],
    [{ GEMINI_CLI: '1' }, 'gemini', true],
    [{ CURSOR_AGENT: '1' }, 'cursor', true],
    [{ CLAUDECODE: '1', FORUMBUS_AGENT: 'builder' }, 'builder', true],
  ])('in %j is %s', (env, agent_name, isAgent) => {
    expect(identityOf({}, env, '/')).toMatchObject({ agent_name, isAgent });
  });
});

describe('the source of a question', () => {
  it.each([
    [{}, undefined],
    [{ FORUMBUS_AGENT: 'builder' }, undefined],
    [
      { CLAUDECODE: '1', CLAUDE_CODE_SESSION_ID: '6642dc56', AI_AGENT: 'claude-code_2-1-332_agent' },
      { host: 'claude', session_id: '6642dc56', cwd: '/shop' },
    ],
    // What changes with each call is left out: it would make a repeated command another request.
    [
      { CODEX_SESSION_ID: '01a22332', CODEX_THREAD_ID: '01a22332', CODEX_TOOL_CALL_ID: 'call_1' },
      { host: 'codex', session_id: '01a22332', cwd: '/shop' },
    ],
    [{ CODEX_THREAD_ID: '01a22333' }, { host: 'codex', session_id: '01a22333', cwd: '/shop' }],
    [{ GEMINI_CLI: '1' }, { host: 'gemini', cwd: '/shop' }],
  ])('in %j is %j', (env, source) => {
    expect(sourceOf(env, '/shop')).toEqual(source);
  });

  it('is no longer than the service takes', () => {
    const source = sourceOf({ CLAUDECODE: '1', CLAUDE_CODE_SESSION_ID: 's'.repeat(600) }, `/${'d'.repeat(600)}`);
    expect(source).toMatchObject({ session_id: 's'.repeat(500), cwd: `/${'d'.repeat(499)}` });
  });
});

describe('flags and the environment', () => {
  it('come before what the folder shows, flags first', async () => {
    const file = join(await scratch(), 'token');
    await writeFile(file, 'fbt_file\n');
    const env = {
      FORUMBUS_URL: 'http://a.example',
      FORUMBUS_RUN: 'run-7',
      FORUMBUS_AGENT: 'builder',
      FORUMBUS_TOKEN: 'fbt_env',
    };
    const named = { url: 'http://a.example', run_id: 'run-7', agent_name: 'builder', isAgent: true };
    expect(identityOf({}, env, '/')).toEqual({ ...named, token: 'fbt_env' });
    expect(identityOf({ 'token-file': file, run: 'run-8' }, env, '/')).toEqual({
      ...named,
      run_id: 'run-8',
      token: 'fbt_file',
    });
    expect(identityOf({}, { FORUMBUS_TOKEN_FILE: file }, '/')).toMatchObject({ token: 'fbt_file', url: DEFAULT_URL });
    expect(identityOf({}, { FORUMBUS_TOKEN: '', FORUMBUS_URL: '' }, '/')).toMatchObject({
      token: undefined,
      url: DEFAULT_URL,
    });
  });
});
