import type { Command } from './command.ts';

/** A command, loaded when it is called: a hook must start fast. */
export interface Entry {
  name: string;
  load(): Promise<Command>;
}

const entry = (name: string, load: () => Promise<{ command: Command }>): Entry => ({
  name,
  load: async () => (await load()).command,
});

/** All commands, in the order of the help. */
export const commands: readonly Entry[] = [
  entry('serve', () => import('./serve.ts')),
  entry('up', () => import('./up.ts')),
  entry('down', () => import('./down.ts')),
  entry('ask', () => import('./ask.ts')),
  entry('wait', () => import('./wait.ts')),
  entry('inbox', () => import('./inbox.ts')),
  entry('answer', () => import('./answer.ts')),
  entry('note', () => import('./note.ts')),
  entry('complete', () => import('./complete.ts')),
  entry('validate', () => import('./validate.ts')),
  entry('gate', () => import('./gate.ts')),
  entry('status', () => import('./status.ts')),
  entry('run', () => import('./runs.ts')),
  entry('watch', () => import('./watch.ts')),
  entry('open', () => import('./open.ts')),
  entry('mcp', () => import('./mcp.ts')),
  entry('hook', () => import('./hook.ts')),
  entry('install', () => import('./install.ts')),
  entry('uninstall', () => import('./uninstall.ts')),
  entry('notify', () => import('./notify.ts')),
  entry('token', () => import('./token.ts')),
  entry('backup', () => import('./backup.ts')),
  entry('restore', () => import('./restore.ts')),
  entry('import', () => import('./import.ts')),
  entry('compact', () => import('./compact.ts')),
  entry('doctor', () => import('./doctor.ts')),
  entry('migrate', () => import('./migrate.ts')),
  entry('handler', () => import('./handler.ts')),
  entry('completion', () => import('./completion.ts')),
];
