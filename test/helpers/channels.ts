import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { onTestFinished } from 'vitest';
import type { AtEnd } from './process.ts';

/** The double of a channel, which runs as a process of its own. */
export interface Double {
  /** Where the service finds it. */
  url: string;
  /** What people see there. */
  // biome-ignore lint/suspicious/noExplicitAny: each double shows something else
  seen: () => Promise<any>;
  /** Makes something happen there. */
  // biome-ignore lint/suspicious/noExplicitAny: each double answers something else
  act: (name: string, body?: object) => Promise<any>;
}

/** Starts a double. It does not outlive the test. */
export async function startDouble(
  name: 'discord' | 'ntfy' | 'slack' | 'smtp' | 'telegram',
  args: string[] = [],
  atEnd: AtEnd = onTestFinished,
): Promise<Double> {
  const file = fileURLToPath(new URL(`./${name}-process.ts`, import.meta.url));
  const child = spawn(process.execPath, [file, ...args], { stdio: ['pipe', 'pipe', 'inherit'] });
  atEnd(async () => {
    child.kill('SIGKILL');
    if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
  });
  const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
  const [url = '', control = url] = JSON.parse(line) as string[];
  const ask = async (path: string, init?: RequestInit) => {
    const response = await fetch(new URL(`control${path}`, control), init);
    if (!response.ok) throw new Error(`The double of ${name} answered ${response.status}: ${await response.text()}`);
    return response.json();
  };
  return {
    url,
    seen: () => ask(''),
    act: (act, body = {}) => ask(`/${act}`, { method: 'POST', body: JSON.stringify(body) }),
  };
}
