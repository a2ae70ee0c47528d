import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Bench } from './bench.ts';
import type { Report } from './report.ts';

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

/** Of the peers that were measured. */
export function namesOf(peers: readonly Peer[]): string[] {
  return [...new Set(peers.map(({ peer }) => peer))];
}

/** One of each round. Per second. */
export function ratesOf(peers: readonly Peer[], name: string, column: 'enqueues_per_s' | 'dispatches_per_s'): number[] {
  return peers.filter(({ peer }) => peer === name).map(peer => peer[column]);
}

export function recordPeers(report: Report, section: string, peers: readonly Peer[]): void {
  for (const name of namesOf(peers)) {
    report.record(`${section}.peer ${name}.enqueues`, ratesOf(peers, name, 'enqueues_per_s'), '/s');
    report.record(`${section}.peer ${name}.dispatches`, ratesOf(peers, name, 'dispatches_per_s'), '/s');
  }
}

/**
 * What is skipped is not among the answers; the first round says why.
 * @param postgresUrl the server on which they make their databases; without it they start one
 */
export async function peerRound(
  { processes, report }: Bench,
  only: string[],
  { messages, round, postgresUrl }: { messages: number; round: number; postgresUrl?: string },
): Promise<Peer[]> {
  const args = ['--json', `--only=${only.join(',')}`, `--messages=${messages}`];
  const env = postgresUrl ? { PEERS_DATABASE_URL: postgresUrl } : {};
  const output = await processes.program(`${FOLDER}/run.mjs`, args, env);
  const lines = output.split('\n').filter(line => line.startsWith('{'));
  const rows: (Peer | { peer: string; skipped: string })[] = lines.map(line => JSON.parse(line));
  return rows.flatMap(row => {
    if (!('skipped' in row)) return [row];
    if (round === 0) report.note(`${row.peer} is left out: ${row.skipped}.`);
    return [];
  });
}
