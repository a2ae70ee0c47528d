import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Bench } from './bench.ts';

const FOLDER = fileURLToPath(new URL('./peers', import.meta.url));

/** What another job queue does on the same work. */
export interface Peer {
  peer: string;
  version: string;
  enqueues_per_s: number;
  dispatches_per_s: number;
  /** Whether what it has taken survives a power cut. */
  durable: boolean;
}

export const peersHint = 'Other job queues are not installed: (cd test/bench/peers && npm ci)';

export function peersAreInstalled(): boolean {
  return existsSync(`${FOLDER}/node_modules`) && existsSync(`${FOLDER}/run.mjs`);
}

/** @param postgresUrl the server on which they make their databases; without it they start one */
export async function peerRound(
  { processes }: Bench,
  only: string[],
  messages: number,
  postgresUrl?: string,
): Promise<Peer[]> {
  const args = ['--json', `--only=${only.join(',')}`, `--messages=${messages}`];
  const output = await processes.program(
    `${FOLDER}/run.mjs`,
    args,
    postgresUrl ? { PEERS_DATABASE_URL: postgresUrl } : {},
  );
  return output
    .split('\n')
    .filter(line => line.startsWith('{'))
    .map(line => JSON.parse(line));
}
