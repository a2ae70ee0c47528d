import { claude } from './claude.ts';
import { codex } from './codex.ts';
import { copilot } from './copilot.ts';
import { cursor } from './cursor.ts';
import { gemini } from './gemini.ts';
import type { Hook } from './hook.ts';

/** The hosts that have hooks, by the name of the command line. */
export const hosts = { claude, codex, gemini, cursor, copilot } satisfies Record<string, Hook>;
export type HostName = keyof typeof hosts;
export const hostNames = Object.keys(hosts) as HostName[];
