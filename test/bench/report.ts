/** A figure beside a floor that was measured in the same rounds. */
export interface Comparison {
  floor: string;
  /** The floor's own figure, with its unit. */
  figure: string;
  /** Subject by floor. */
  ratio: number;
}

interface Target {
  what: string;
  value: number;
  unit: string;
  bound: Bound;
  /** What it takes for the figure to mean anything. */
  condition: string;
}

type Bound = { atLeast: number } | { atMost: number } | { below: number };

/** Prints rows as they come, and in the end what was to be reached. */
export class Report {
  readonly #targets: Target[] = [];

  section(title: string): void {
    say(`\n${title}`);
  }

  /** @param figure with its unit */
  row(what: string, figure: string, comparisons: Comparison[] = []): void {
    const [first, ...others] = comparisons.map(
      ({ floor, figure, ratio }) => `${ratio.toFixed(ratio < 0.1 ? 3 : 2).padStart(6)} x  ${floor} ${figure}`,
    );
    say(`  ${what.padEnd(46)}${figure.padStart(22)}  ${first ?? ''}`);
    for (const other of others) say(`  ${''.padEnd(70)}${other}`);
  }

  note(text: string): void {
    say(`  ${text}`);
  }

  target(what: string, value: number, bound: Bound, { unit = '', condition = '' } = {}): void {
    this.#targets.push({ what, value, unit, bound, condition });
  }

  summary(): void {
    say('\nTargets');
    for (const { what, value, unit, bound, condition } of this.#targets) {
      const reached = isReached(value, bound) ? 'reached' : 'missed ';
      const figure = `${value.toFixed(2)}${unit}`;
      say(`  ${reached}  ${what.padEnd(62)}${figure.padStart(12)}  (${boundText(bound)}${unit})${condition}`);
    }
  }
}

function isReached(value: number, bound: Bound): boolean {
  if ('atLeast' in bound) return value >= bound.atLeast;
  return 'atMost' in bound ? value <= bound.atMost : value < bound.below;
}

function boundText(bound: Bound): string {
  if ('atLeast' in bound) return `at least ${bound.atLeast}`;
  return 'atMost' in bound ? `at most ${bound.atMost}` : `below ${bound.below}`;
}

export function rate(perSecond: number): string {
  return `${Math.round(perSecond).toLocaleString('en')}/s`;
}

/** @param value milliseconds */
export function ms(value: number): string {
  return `${value.toFixed(2)} ms`;
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
