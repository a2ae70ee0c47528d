import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

interface Running {
  pid: number;
  /** The command line, by blanks. */
  command: string;
  /** The file that runs. */
  file: string;
}

/** All processes of the namespace. */
function running(): Running[] {
  const pids = readdirSync('/proc').filter(name => /^\d+$/.test(name));
  return pids.flatMap(pid => {
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      return [{ pid: Number(pid), command, file: readlinkSync(`/proc/${pid}/exe`) }];
    } catch {
      // It has ended meanwhile, or is a zombie.
      return [];
    }
  });
}

/** Kills a host as the kernel does when memory runs out: its hooks and commands live on. @param folder of its programs */
export function killHost(folder: string): void {
  // The host of npm may be a script that starts the real one.
  for (const { pid, file, command } of running()) {
    if (file.startsWith(folder) || command.split(' ')[1]?.startsWith(folder)) end(pid);
  }
}

/** The command lines of `forumbus` that still run, without the service. */
export function commandsLeft(): string[] {
  return running().flatMap(({ command }) => /src\/cli\/main\.ts (.*)/.exec(command)?.[1] ?? []);
}

export function endCommands(): void {
  for (const { pid, command } of running()) if (command.includes('src/cli/main.ts')) end(pid);
}

function end(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}
