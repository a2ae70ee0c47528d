import { defineCommand, exits, sharedOptions, UsageError } from './command.ts';
import { commands } from './commands.ts';
import { written } from './output.ts';

const shells = ['bash', 'zsh', 'fish'] as const;

interface Words {
  name: string;
  summary: string;
  words: readonly string[];
}

export const command = defineCommand({
  name: 'completion',
  summary: 'Print the completion for a shell',
  usage: 'bash|zsh|fish',
  counts: { least: 1, most: 1 },
  words: shells,
  options: {},
  help: `bash: eval "$(forumbus completion bash)" in ~/.bashrc; zsh: the same with zsh in ~/.zshrc, after compinit;
fish: forumbus completion fish > ~/.config/fish/completions/forumbus.fish`,
  async run(context, [given]) {
    const shell = shells.find(known => known === given);
    if (!shell) throw new UsageError(`The shell is one of ${shells.join(', ')}, not ${given}.`);
    const all: Words[] = [];
    for (const { load } of commands) {
      const { name, summary, words = [], options, ownArguments } = await load();
      const flags = Object.keys(ownArguments ? {} : { ...options, ...sharedOptions }).map(option => `--${option}`);
      all.push({ name, summary, words: [...words, ...flags] });
    }
    const script = { bash, zsh, fish }[shell](all);
    await written(context.stdout, script);
    return exits.done;
  },
});

function cases(all: readonly Words[]): string {
  return all.map(({ name, words }) => `    ${name}) words="${words.join(' ')}" ;;\n`).join('');
}

function bash(all: readonly Words[]): string {
  return `_forumbus() {
  local words
  case "\${COMP_WORDS[1]}" in
${cases(all)}  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words="${all.map(({ name }) => name).join(' ')}"; fi
  COMPREPLY=($(compgen -W "$words" -- "\${COMP_WORDS[COMP_CWORD]}"))
}
complete -o default -F _forumbus forumbus
`;
}

function zsh(all: readonly Words[]): string {
  const described = all.map(({ name, summary }) => `    '${name}:${summary.replaceAll("'", "'\\''")}'\n`).join('');
  const arrays = all.map(({ name, words }) => `    ${name}) candidates=(${words.join(' ')}) ;;\n`).join('');
  return `#compdef forumbus
_forumbus() {
  local -a commands candidates
  commands=(
${described}  )
  if (( CURRENT == 2 )); then _describe command commands; return; fi
  case "$words[2]" in
${arrays}  esac
  compadd -a candidates
  _files
}
compdef _forumbus forumbus
`;
}

function fish(all: readonly Words[]): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "\\'")}'`;
  const lines = all.flatMap(({ name, summary, words }) => [
    `complete -c forumbus -f -n __fish_use_subcommand -a ${name} -d ${quoted(summary)}`,
    `complete -c forumbus -n '__fish_seen_subcommand_from ${name}' -a ${quoted(words.join(' '))}`,
  ]);
  return `${lines.join('\n')}\n`;
}
