import type { Command } from './command.ts';
import { become } from './service.ts';

/** A command of operators in src/commands, which reads its own arguments. */
export function defineProgram(name: string, summary: string, words: readonly string[] = []): Command {
  return {
    name,
    summary,
    usage: '…',
    counts: { least: 0, most: 0 },
    options: {},
    words,
    ownArguments: true,
    run: (context, args) => become(context, `commands/${name}`, args),
  };
}
