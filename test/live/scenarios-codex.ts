import { fileURLToPath } from 'node:url';
import type { Step } from './model.ts';
import type { Printing, Scenario, Stage } from './stage.ts';

/** It is a marketplace. */
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

const labels = ['eu-west-1', 'us-east-1'];
const options = labels.map(label => ({ label, description: 'A region.' }));
const asks: Step = {
  tool: 'request_user_input',
  input: { questions: [{ id: 'region', header: 'Region', question: 'Which region?', options }] },
};
const command: Step = {
  tool: 'exec_command',
  input: { cmd: 'forumbus ask "Which region?" -o eu-west-1 -o us-east-1', yield_time_ms: 30_000 },
};
const mcpAsk: Step = {
  tool: 'ask',
  namespace: 'mcp__forumbus',
  input: { question: 'Which region?', options: labels },
};
const done: Step = { text: 'Then I go on.' };

const trust = '--dangerously-bypass-hook-trust';
/** The sandbox keeps commands from the network, loopback included. */
const network = ['-s', 'workspace-write', '-c', 'sandbox_workspace_write.network_access=true'];
const exec = (...more: string[]) => ['exec', '--skip-git-repo-check', '--json', trust, ...network, ...more];

/** Asks in `codex exec`, answers from another shell, and checks what the model was told. */
async function executed(stage: Stage, step: Step, told: (question_id: string) => string): Promise<void> {
  stage.install();
  await asking(stage, step, told);
}

async function asking(stage: Stage, step: Step, told: (question_id: string) => string): Promise<void> {
  stage.model.play(step, done);
  const printing = stage.print(exec('Deploy.'));
  const { question_id } = await stage.asked();
  stage.answer(question_id, 'eu-west-1');
  await printing.ended;
  await stage.toldOnce(told(question_id));
}

/** The same in the terminal. */
async function shown(stage: Stage, step: Step, more: string[] = []): Promise<void> {
  stage.install();
  stage.model.play(step, done);
  const terminal = stage.terminal([trust, ...more, 'Deploy.']);
  stage.answer((await stage.asked()).question_id, 'eu-west-1');
  await terminal.shows(/Then I go on/);
  await stage.toldOnce('eu-west-1');
}

function threadOf({ out }: Printing): string {
  const [, id] = /"thread_id":"([^"]+)"/.exec(out) ?? [];
  if (id === undefined) throw new Error(`The session has no id: ${out}`);
  return id;
}

export const codexScenarios: Scenario[] = [
  {
    name: 'exec-hook',
    shows: 'request_user_input; the hook waits, and refuses the call with the answer',
    run: stage => executed(stage, asks, id => `Answer to ${id}`),
  },
  {
    name: 'exec-command',
    shows: '`forumbus ask` as a command, where the sandbox allows the network',
    run: stage => executed(stage, command, () => 'eu-west-1'),
  },
  {
    name: 'exec-sandboxed',
    shows: '`forumbus ask` in a sandbox without network says what to do',
    async run(stage) {
      stage.install();
      stage.model.play(command, done);
      await stage.print(['exec', '--skip-git-repo-check', '--json', trust, 'Deploy.']).ended;
      await stage.told('network_access');
    },
  },
  {
    name: 'exec-mcp',
    shows: 'the MCP tool, by the entry that `forumbus install codex` writes',
    run: stage => executed(stage, mcpAsk, () => 'eu-west-1'),
  },
  {
    name: 'exec-plugin',
    shows: 'the MCP tool of the plugin, which Codex starts in the folder of the plugin',
    async run(stage) {
      for (const args of [
        ['marketplace', 'add', ROOT],
        ['add', 'forumbus@forumbus'],
      ]) {
        const { code, err } = await stage.print(['plugin', ...args]).ended;
        if (code !== 0) throw new Error(`\`codex plugin ${args.join(' ')}\` fails: ${err}`);
      }
      await asking(stage, mcpAsk, () => 'eu-west-1');
    },
  },
  {
    name: 'exec-hook-killed',
    shows: 'the host is killed while the hook waits; the resumed session is told the answer',
    async run(stage) {
      stage.install();
      stage.model.play(asks);
      const printing = stage.print(exec('Deploy.'));
      const { question_id } = await stage.asked();
      stage.kill();
      await stage.nothingRuns();
      stage.answer(question_id, 'eu-west-1');
      stage.model.play(done);
      await stage.print(exec('resume', threadOf(printing), 'Go on.')).ended;
      await stage.toldOnce(`Answer to ${question_id}`);
    },
  },
  {
    name: 'exec-command-killed',
    shows: 'the host is killed while `forumbus ask` waits; repeated, it finds its question',
    async run(stage) {
      stage.install();
      stage.model.play(command);
      const printing = stage.print(exec('Deploy.'));
      const { question_id } = await stage.asked();
      stage.kill();
      stage.model.play(command, done);
      const resumed = stage.print(exec('resume', threadOf(printing), 'Go on.'));
      await stage.played(1);
      stage.answer(question_id, 'eu-west-1');
      await resumed.ended;
      await stage.toldOnce('eu-west-1');
      await stage.onlyAsked(question_id);
    },
  },
  {
    name: 'exec-mcp-killed',
    shows: 'the host is killed while the MCP tool waits; the resumed session is told the answer',
    async run(stage) {
      stage.install();
      stage.model.play(mcpAsk);
      const printing = stage.print(exec('Deploy.'));
      const { question_id } = await stage.asked();
      stage.kill();
      stage.answer(question_id, 'eu-west-1');
      stage.model.play(done);
      await stage.print(exec('resume', threadOf(printing), 'Go on.')).ended;
      await stage.toldOnce(`Answer to ${question_id}`);
    },
  },
  {
    name: 'exec-expired',
    shows: 'nobody answers; the call fails as without hooks, and the model is told that nobody answered',
    async run(stage) {
      stage.install();
      stage.model.play(asks, done);
      const printing = stage.print(exec('Deploy.'), { FORUMBUS_EXPIRES: '5s' });
      const { question_id } = await stage.asked();
      await printing.ended;
      await stage.is(question_id, { state: 'expired' });
      await stage.toldOnce(`Question ${question_id} expired`);
      await stage.neverTold('eu-west-1');
    },
  },
  {
    name: 'terminal-hook',
    shows: 'in the terminal, the call waits for the answer from another shell',
    async run(stage) {
      stage.install();
      stage.model.play(asks, done);
      const terminal = stage.terminal([trust, 'Deploy.']);
      const { question_id } = await stage.asked();
      stage.answer(question_id, 'eu-west-1');
      await terminal.shows(/Then I go on/);
      await stage.toldOnce(`Answer to ${question_id}`);
    },
  },
  {
    name: 'terminal-command',
    shows: '`forumbus ask` as a command in the terminal',
    run: stage => shown(stage, command, network),
  },
  {
    name: 'terminal-mcp',
    shows: 'the MCP tool in the terminal',
    run: stage => shown(stage, mcpAsk),
  },
  {
    name: 'terminal-killed',
    shows: 'the terminal is killed while the hook waits; the resumed session is told the answer',
    async run(stage) {
      stage.install();
      stage.model.play(asks);
      stage.terminal([trust, 'Deploy.']);
      const { question_id, source } = await stage.asked();
      stage.kill();
      await stage.nothingRuns();
      stage.answer(question_id, 'eu-west-1');
      stage.model.play(done);
      const terminal = stage.terminal(['resume', trust, source?.session_id ?? '', 'Go on.']);
      await terminal.shows(/Then I go on/);
      await stage.toldOnce(`Answer to ${question_id}`);
    },
  },
  {
    name: 'terminal-expired',
    shows:
      'nobody answers in the terminal; the call goes on as without hooks, and the model is told that nobody answered',
    async run(stage) {
      stage.install();
      stage.model.play(asks, done);
      const terminal = stage.terminal([trust, 'Deploy.'], { FORUMBUS_EXPIRES: '5s' });
      const { question_id } = await stage.asked();
      await terminal.shows(/Then I go on/);
      await stage.is(question_id, { state: 'expired' });
      await stage.toldOnce(`Question ${question_id} expired`);
      await stage.neverTold('eu-west-1');
    },
  },
  {
    name: 'terminal-escape',
    shows: 'Esc in the terminal ends the hook; the answer that comes later is told with the next prompt',
    async run(stage) {
      stage.install();
      stage.model.play(asks);
      const terminal = stage.terminal([trust, 'Deploy.']);
      const { question_id } = await stage.asked();
      await terminal.press('Escape');
      // The MCP server belongs to the session.
      await stage.nothingRuns(/^mcp/);
      stage.answer(question_id, 'eu-west-1');
      stage.model.play(done);
      await terminal.type('Go on.');
      await terminal.press('Enter');
      await terminal.shows(/Then I go on/);
      await stage.toldOnce(`Answer to ${question_id}`);
    },
  },
  {
    name: 'terminal-stop',
    shows: 'an answer that comes while the agent works is told at the end of its turn',
    async run(stage) {
      stage.install();
      const later = 'forumbus ask "Which region?" -o eu-west-1 -o us-east-1 --wait 0; forumbus answer 1 eu-west-1';
      const numbered = `forumbus inbox --questions --run ${stage.run_id} > asked.txt`;
      stage.model.play({ tool: 'exec_command', input: { cmd: later.replace('; ', `; ${numbered}; `) } }, done, done);
      const terminal = stage.terminal([trust, ...network, 'Deploy.']);
      await terminal.shows(/Then I go on/);
      await stage.toldOnce('Answer to q_');
    },
  },
];
