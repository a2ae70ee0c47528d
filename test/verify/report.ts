import { stripVTControlCharacters, styleText } from 'node:util';
import type { Proof } from './proof.ts';

const BAR = 30;
/** How often a line says how far the run has come, where there is no terminal. Milliseconds. */
const LINE_EVERY_MS = 2000;
/** Contradictions printed of one proof. */
const FAULTS_SHOWN = 5;
const NAME_WIDTH = 40;

/** Says what happens: one line that is drawn again and again on a terminal, plain lines elsewhere. */
export class Progress {
  readonly #live = process.stdout.isTTY === true;
  #printed = '';
  #printedAt = 0;

  say(line: string): void {
    process.stdout.write(`${this.#live ? '\r\x1b[K' : ''}${line}\n`);
  }

  /** @param share from 0 to 1 */
  show(share: number, text: string): void {
    const full = Math.min(BAR, Math.floor(share * BAR));
    if (this.#live) process.stdout.write(`\r\x1b[K[${'#'.repeat(full)}${'.'.repeat(BAR - full)}] ${text}`);
    else if (text !== this.#printed && Date.now() - this.#printedAt >= LINE_EVERY_MS) {
      this.#printed = text;
      this.#printedAt = Date.now();
      this.say(`${Math.floor(share * 100)}% ${text}`);
    }
  }
}

export function printFigures(figures: Record<string, string | number>): void {
  const lines = Object.entries(figures).map(([name, value]) => `  ${name.padEnd(NAME_WIDTH)} ${value}`);
  process.stdout.write(`\n${lines.join('\n')}\n\n`);
}

/** One line per proof, and what contradicts it. */
export function printProofs(proofs: Proof[]): void {
  for (const { claim, checked, faults } of proofs) {
    const verdict = faults.length === 0 ? colored('green', 'ok    ') : colored('red', 'FAILED');
    process.stdout.write(`  ${verdict} ${claim} (${checked})\n`);
    for (const fault of faults.slice(0, FAULTS_SHOWN)) process.stdout.write(`           ${fault}\n`);
    if (faults.length > FAULTS_SHOWN) process.stdout.write(`           and ${faults.length - FAULTS_SHOWN} more\n`);
  }
}

function colored(color: 'green' | 'red', text: string): string {
  const styled = styleText(color, text);
  return process.stdout.isTTY ? styled : stripVTControlCharacters(styled);
}
