import { spawnSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { commands } from '../../src/cli/commands.ts';
import { commandLine } from '../helpers/cli.ts';

const forumbus = commandLine({ env: {}, cwd: '/' });
const script = async (shell: string) => (await forumbus(['completion', shell])).out;

/** What bash would offer for these words, of which the last one is being typed. */
async function offered(...words: string[]): Promise<string[]> {
  const quoted = words.map(word => `'${word}'`).join(' ');
  const line = `${await script('bash')}\nCOMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _forumbus; echo "\${COMPREPLY[*]}"`;
  return spawnSync('bash', ['--norc', '-c', line], { encoding: 'utf8' }).stdout.trim().split(' ');
}

describe('the completion', () => {
  it('in bash offers commands, their first words and their options', async () => {
    expect(await offered('forumbus', '')).toEqual(commands.map(({ name }) => name));
    expect(await offered('forumbus', 'va')).toEqual(['validate']);
    expect(await offered('forumbus', 'validate', 'p')).toEqual(['passed']);
    expect(await offered('forumbus', 'ask', 'A?', '--con')).toEqual(['--context', '--context-file']);
    expect(await offered('forumbus', 'token', '')).toEqual(['create', 'list', 'rotate', 'revoke', 'generate']);
  });

  it.each(['zsh', 'fish'])('in %s names every command and is valid where the shell is installed', async shell => {
    const text = await script(shell);
    for (const { name } of commands) expect(text).toContain(name);
    const checked = spawnSync(shell, ['-n'], { input: text, encoding: 'utf8' });
    expect(checked.error ? 0 : checked.status, checked.stderr).toBe(0);
  });

  it('says which shells there are', async () => {
    expect(await forumbus(['completion', 'tcsh'])).toMatchObject({
      code: 1,
      err: 'The shell is one of bash, zsh, fish, not tcsh.',
    });
  });
});
