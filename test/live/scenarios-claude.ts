import { randomUUID } from 'node:crypto';
import { fileURLToPath } from 'node:url';
import type { Step } from './model.ts';
import type { Scenario, Stage } from './stage.ts';

const PLUGIN = fileURLToPath(new URL('../../plugin', import.meta.url));

const labels = ['eu-west-1', 'us-east-1'];
const options = labels.map(label => ({ label, description: 'A region.' }));
const asks: Step = {
  tool: 'AskUserQuestion',
  input: { questions: [{ question: 'Which region?', header: 'Region', multiSelect: false, options }] },
};
/** What the model is told when the tool returns. */
const result = '"Which region?"="eu-west-1"';
const command: Step = {
  tool: 'Bash',
  input: { command: 'forumbus ask "Which region?" -o eu-west-1 -o us-east-1', description: 'Ask a person' },
};
const mcpAsk = (tool = 'mcp__forumbus__ask'): Step => ({ tool, input: { question: 'Which region?', options: labels } });
const done: Step = { text: 'Then I go on.' };

const print = ['--output-format', 'json'];
/** Without a prompt tool, print mode does not offer the tool that asks. This one refuses whatever our hook leaves to it. */
const promptTool = ['--permission-prompt-tool', 'stdio'];
const mcpConfig = (server: object) => ['--mcp-config', JSON.stringify({ mcpServers: { forumbus: server } })];
/** The hook that waits behind an ended turn. */
const wakes = /--wake$/;
/** Claude Code moves a call to the background after 120 s. Milliseconds. */
const HELD_MS = 125_000;
/** The dialog of the terminal. */
const dialog = /1\. eu-west-1/;

/** Asks in print mode, answers from another shell, and checks what the model was told. */
async function printed(stage: Stage, step: Step, told: string, more: string[] = []): Promise<void> {
  stage.model.play(step, done);
  const printing = stage.print(['-p', 'Deploy.', ...print, ...more]);
  const { question_id } = await stage.asked();
  stage.answer(question_id, 'eu-west-1');
  await printing.ended;
  await stage.toldOnce(told);
}

/** The same in the terminal, for a call that shows no dialog. */
async function shown(stage: Stage, step: Step, more: string[] = []): Promise<void> {
  stage.install('--project');
  stage.model.play(step, done);
  const terminal = stage.terminal(['Deploy.', ...more]);
  stage.answer((await stage.asked()).question_id, 'eu-west-1');
  await terminal.shows(/Then I go on/);
  await stage.toldOnce('eu-west-1');
}

export const claudeScenarios: Scenario[] = [
  {
    name: 'print-hook',
    shows: 'AskUserQuestion in print mode; the hook waits for the answer',
    async run(stage) {
      stage.install('--project');
      await printed(stage, asks, result, promptTool);
    },
  },
  {
    name: 'print-command',
    shows: '`forumbus ask` from Bash',
    async run(stage) {
      stage.install('--project');
      await printed(stage, command, 'eu-west-1');
    },
  },
  {
    name: 'print-mcp',
    shows: 'the MCP tool over HTTP',
    async run(stage) {
      stage.install('--project');
      await printed(stage, mcpAsk(), 'eu-west-1', mcpConfig({ type: 'http', url: stage.mcpUrl }));
    },
  },
  {
    name: 'print-mcp-stdio',
    shows: 'the MCP tool by `forumbus mcp`',
    async run(stage) {
      stage.install('--project');
      await printed(stage, mcpAsk(), 'eu-west-1', mcpConfig({ command: 'forumbus', args: ['mcp'] }));
    },
  },
  {
    name: 'print-plugin',
    shows: 'the hook and the MCP tool of the plugin, without an installation',
    async run(stage) {
      const more = ['--plugin-dir', PLUGIN];
      await printed(stage, asks, result, [...more, ...promptTool]);
      await printed(stage, mcpAsk('mcp__plugin_forumbus_forumbus__ask'), 'eu-west-1', more);
    },
  },
  {
    name: 'print-hook-killed',
    shows: 'the host is killed while the hook waits; the resumed session is told the answer',
    async run(stage) {
      stage.install('--project');
      const session = randomUUID();
      stage.model.play(asks);
      stage.print(['-p', 'Deploy.', ...print, ...promptTool, '--session-id', session]);
      const { question_id } = await stage.asked();
      stage.kill();
      await stage.nothingRuns();
      stage.answer(question_id, 'eu-west-1');
      stage.model.play(done);
      await stage.print(['-p', 'Go on.', ...print, ...promptTool, '--resume', session]).ended;
      await stage.toldOnce(`Answer to ${question_id}`);
    },
  },
  {
    name: 'print-hook-killed-early',
    shows: 'the host is killed, resumed and asks again; the model is told the answer to its only question',
    async run(stage) {
      stage.install('--project');
      const session = randomUUID();
      stage.model.play(asks);
      stage.print(['-p', 'Deploy.', ...print, ...promptTool, '--session-id', session]);
      const first = await stage.asked();
      stage.kill();
      stage.model.play(asks, done);
      const printing = stage.print(['-p', 'Go on.', ...print, ...promptTool, '--resume', session]);
      await stage.is(first.question_id, { state: 'cancelled' });
      stage.answer((await stage.asked()).question_id, 'eu-west-1');
      await printing.ended;
      await stage.toldOnce(result);
      await stage.neverTold(first.question_id);
    },
  },
  {
    name: 'print-command-killed',
    shows: 'the host is killed while `forumbus ask` waits; repeated, it finds its question',
    async run(stage) {
      stage.install('--project');
      const session = randomUUID();
      stage.model.play(command);
      stage.print(['-p', 'Deploy.', ...print, '--session-id', session]);
      const first = await stage.asked();
      stage.kill();
      stage.model.play(command, done);
      const printing = stage.print(['-p', 'Go on.', ...print, '--resume', session]);
      await stage.played(1);
      stage.answer((await stage.asked()).question_id, 'eu-west-1');
      await printing.ended;
      await stage.toldOnce('eu-west-1');
      await stage.onlyAsked(first.question_id);
    },
  },
  {
    name: 'print-command-other-session',
    shows: 'another session repeats `forumbus ask`, and finds the question of the first one',
    async run(stage) {
      stage.install('--project');
      stage.model.play(command);
      stage.print(['-p', 'Deploy.', ...print]);
      const first = await stage.asked();
      stage.kill();
      stage.model.play(command, done);
      const printing = stage.print(['-p', 'Deploy.', ...print]);
      await stage.played(1);
      stage.answer((await stage.asked()).question_id, 'eu-west-1');
      await printing.ended;
      await stage.toldOnce('eu-west-1');
      await stage.onlyAsked(first.question_id);
    },
  },
  {
    name: 'print-mcp-killed',
    shows: 'the host is killed while the MCP tool waits; the resumed session is told the answer',
    async run(stage) {
      stage.install('--project');
      const session = randomUUID();
      stage.model.play(mcpAsk());
      const more = mcpConfig({ type: 'http', url: stage.mcpUrl });
      stage.print(['-p', 'Deploy.', ...print, ...more, '--session-id', session]);
      const { question_id } = await stage.asked();
      stage.kill();
      stage.answer(question_id, 'eu-west-1');
      stage.model.play(done);
      await stage.print(['-p', 'Go on.', ...print, ...more, '--resume', session]).ended;
      await stage.toldOnce(`Answer to ${question_id}`);
    },
  },
  {
    name: 'print-park',
    shows: 'a parked session ends while its question is open, and is resumed with the answer',
    async run(stage) {
      stage.install('--project');
      const session = randomUUID();
      const env = { FORUMBUS_PARK: '1' };
      stage.model.play(asks);
      await stage.print(['-p', 'Deploy.', ...print, ...promptTool, '--session-id', session], env).ended;
      stage.answer((await stage.asked()).question_id, 'eu-west-1');
      stage.model.play(done);
      await stage.print(['-p', ...print, ...promptTool, '--resume', session], env).ended;
      await stage.toldOnce(result);
    },
  },
  {
    name: 'print-expired',
    shows: 'nobody answers in print mode; the run ends and tells no answer',
    async run(stage) {
      stage.install('--project');
      stage.model.play(asks, done);
      const printing = stage.print(['-p', 'Deploy.', ...print, ...promptTool], { FORUMBUS_EXPIRES: '5s' });
      const { question_id } = await stage.asked();
      await printing.ended;
      await stage.is(question_id, { state: 'expired' });
      await stage.toldOnce(`Question ${question_id} expired`);
      await stage.neverTold('eu-west-1');
    },
  },
  {
    name: 'print-command-expired',
    shows: 'nobody answers `forumbus ask`; its default holds',
    async run(stage) {
      stage.install('--project');
      const expires = 'forumbus ask "Which region?" -o eu-west-1 -o us-east-1 --expires 8s --default us-east-1';
      stage.model.play({ tool: 'Bash', input: { command: expires, description: 'Ask a person' } }, done);
      const printing = stage.print(['-p', 'Deploy.', ...print]);
      const { question_id } = await stage.asked();
      await printing.ended;
      await stage.is(question_id, { state: 'expired' });
      await stage.toldOnce('expired, so the default holds: us-east-1');
    },
  },
  {
    name: 'print-mcp-expired',
    shows: 'nobody answers the MCP tool, which says so',
    async run(stage) {
      stage.install('--project');
      const input = { question: 'Which region?', options: labels, expires_in_seconds: 3 };
      stage.model.play({ tool: 'mcp__forumbus__ask', input }, done);
      const printing = stage.print(['-p', 'Deploy.', ...print, ...mcpConfig({ type: 'http', url: stage.mcpUrl })]);
      const { question_id } = await stage.asked();
      await printing.ended;
      await stage.is(question_id, { state: 'expired' });
      await stage.toldOnce('Expired: nobody answered');
      await stage.neverTold('eu-west-1');
    },
  },
  {
    name: 'terminal-hook',
    shows: 'the terminal shows its dialog, and an answer from another shell closes it',
    async run(stage) {
      stage.install('--project');
      stage.model.play(asks, done);
      const terminal = stage.terminal(['Deploy.']);
      await terminal.shows(dialog);
      stage.answer((await stage.asked()).question_id, 'eu-west-1');
      await terminal.shows(/Then I go on/);
      await stage.toldOnce(result);
    },
  },
  {
    name: 'terminal-command',
    shows: '`forumbus ask` from Bash in the terminal, which waits for the answer from another shell',
    run: stage => shown(stage, command),
  },
  {
    name: 'terminal-mcp',
    shows: 'the MCP tool over HTTP in the terminal',
    run: stage => shown(stage, mcpAsk(), mcpConfig({ type: 'http', url: stage.mcpUrl })),
  },
  {
    name: 'terminal-mcp-held',
    shows: 'nobody answers the MCP tool for two minutes; it says so before the terminal moves it to the background',
    async run(stage) {
      stage.install('--project');
      stage.model.play(mcpAsk(), { tool: 'mcp__forumbus__wait', input: {} }, done);
      const config = mcpConfig({ type: 'http', url: stage.mcpUrl });
      const terminal = stage.terminal(['Deploy.', ...config]);
      const { question_id } = await stage.asked();
      await stage.told(`Pending: nobody has answered ${question_id}`, HELD_MS);
      stage.answer(question_id, 'eu-west-1');
      await terminal.shows(/Then I go on/);
      await stage.toldOnce('eu-west-1');
      await stage.neverTold('background');
    },
  },
  {
    name: 'terminal-http-hook',
    shows: 'the same with an http hook',
    async run(stage) {
      stage.writeHttpHooks();
      stage.model.play(asks, done);
      const terminal = stage.terminal(['Deploy.']);
      await terminal.shows(dialog);
      stage.answer((await stage.asked()).question_id, 'eu-west-1');
      await terminal.shows(/Then I go on/);
      await stage.toldOnce(result);
    },
  },
  {
    name: 'terminal-first',
    shows: 'the terminal answers first; the question here ends with that answer',
    async run(stage) {
      stage.install('--project');
      stage.model.play(asks, done);
      const terminal = stage.terminal(['Deploy.']);
      await terminal.shows(dialog);
      const { question_id } = await stage.asked();
      await terminal.press('Enter');
      await stage.is(question_id, { state: 'answered', answered_in: 'terminal', selected: ['eu-west-1'] });
      await terminal.shows(/Then I go on/);
      await stage.toldOnce(result);
      await stage.nothingRuns(wakes);
    },
  },
  {
    name: 'terminal-escape',
    shows: 'Esc in the terminal; the question here is cancelled, and the model is not told of it',
    async run(stage) {
      stage.install('--project');
      stage.model.play(asks);
      const terminal = stage.terminal(['Deploy.']);
      await terminal.shows(dialog);
      const { question_id } = await stage.asked();
      await terminal.press('Escape');
      await stage.is(question_id, { state: 'cancelled' });
      await stage.nothingRuns(wakes);
      stage.model.play(done);
      await terminal.type('Use any region.');
      await terminal.press('Enter');
      await terminal.shows(/Then I go on/);
      await stage.neverTold(question_id);
    },
  },
  {
    name: 'terminal-expired',
    shows: 'nobody answers here; the dialog stays, and the terminal answers later',
    async run(stage) {
      stage.install('--project');
      stage.model.play(asks, done);
      const terminal = stage.terminal(['Deploy.'], { FORUMBUS_EXPIRES: '5s' });
      await terminal.shows(dialog);
      const { question_id } = await stage.asked();
      await stage.is(question_id, { state: 'expired' });
      await terminal.shows(dialog);
      await terminal.press('Enter');
      await terminal.shows(/Then I go on/);
      await stage.toldOnce(result);
      await stage.toldOnce(`Question ${question_id} expired`);
    },
  },
  {
    name: 'terminal-killed',
    shows: 'the terminal is killed while its dialog is open; the resumed session is told the answer',
    async run(stage) {
      stage.install('--project');
      const session = randomUUID();
      stage.model.play(asks);
      await stage.terminal(['--session-id', session, 'Deploy.']).shows(dialog);
      const { question_id } = await stage.asked();
      stage.kill();
      await stage.nothingRuns();
      stage.answer(question_id, 'eu-west-1');
      stage.model.play(done);
      await stage.terminal(['--resume', session, 'Go on.']).shows(/Then I go on/);
      await stage.toldOnce(`Answer to ${question_id}`);
    },
  },
  {
    name: 'terminal-wakes',
    shows: 'an answer wakes an idle session, outside of the wrapper for what no person has said',
    async run(stage) {
      stage.install('--project');
      const later = 'forumbus ask "Which region?" -o eu-west-1 -o us-east-1 --wait 0';
      stage.model.play({ tool: 'Bash', input: { command: later, description: 'Ask a person' } }, done);
      const terminal = stage.terminal(['Deploy.']);
      const { question_id } = await stage.asked();
      await terminal.shows(/Then I go on/);
      stage.model.play({ text: 'I am awake.' });
      stage.answer(question_id, 'eu-west-1');
      await terminal.shows(/I am awake/);
      await stage.toldOnce(`UserPromptSubmit hook additional context: Answer to ${question_id}`);
      await stage.toldOnce(`Answer to ${question_id}`);
    },
  },
];
