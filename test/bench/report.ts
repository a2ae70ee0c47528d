import { type Figure, rounded, spreadOf } from './figures.ts';
import { median } from './median.ts';

/** A figure beside a floor that was measured in the same rounds. */
export interface Comparison {
  floor: string;
  /** The floor's own figure, with its unit. */
  figure: string;
  /** Subject by floor: of each round, or one of all. */
  ratios: readonly number[];
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

/** Prints rows as they come, and in the end what was to be reached. Keeps the figures that charts and documents show. */
export class Report {
  readonly figures: Record<string, Figure> = {};
  readonly #targets: Target[] = [];

  section(title: string): void {
    say(`\n${title}`);
  }

  /** @param figure with its unit */
  row(what: string, figure: string, comparisons: readonly Comparison[] = []): void {
    const [first, ...others] = comparisons.map(({ floor, figure, ratios }) => {
      const digits = median(ratios) < 0.1 ? 3 : 2;
      return `${spreadText(ratios, ratio => ratio.toFixed(digits))} x  ${floor} ${figure}`;
    });
    say(`  ${what.padEnd(44)}${figure.padStart(32)}  ${first ?? ''}`);
    for (const other of others) say(`  ${''.padEnd(78)}${other}`);
  }

  note(text: string): void {
    say(`  ${text}`);
  }

  /**
   * Keeps a figure, unless it is unknown on this system.
   * @param name begins with the section, such as `a.`
   * @param values one of each round
   */
  record(name: string, values: readonly number[], unit: string): void {
    const { median, least, most } = spreadOf(values);
    if (!Number.isFinite(median)) return;
    this.figures[name] = { median: rounded(median), least: rounded(least), most: rounded(most), unit };
  }

  target(what: string, value: number, bound: Bound, { unit = '', condition = '' } = {}): void {
    this.#targets.push({ what, value, unit, bound, condition });
  }

  summary(): void {
    if (this.#targets.length === 0) return;
    say('\nTargets');
    for (const { what, value, unit, bound, condition } of this.#targets) {
      const reached = isReached(value, bound) ? 'reached' : 'missed ';
      const figure = `${value.toFixed(2)}${unit}`;
      say(`  ${reached}  ${what.padEnd(62)}${figure.padStart(12)}  (${boundText(bound)}${unit})${condition}`);
    }
  }
}

/** The rounds of a subject beside those of its floor, which took turns with it. */
export function beside(
  floor: string,
  floors: readonly number[],
  subject: readonly number[],
  text: (values: readonly number[]) => string,
): Comparison {
  const inTurns = floors.length === subject.length;
  const ratios = inTurns
    ? subject.map((value, at) => value / (floors[at] as number))
    : [median(subject) / median(floors)];
  return { floor, figure: text(floors), ratios };
}

function isReached(value: number, bound: Bound): boolean {
  if ('atLeast' in bound) return value >= bound.atLeast;
  return 'atMost' in bound ? value <= bound.atMost : value < bound.below;
}

function boundText(bound: Bound): string {
  if ('atLeast' in bound) return `at least ${bound.atLeast}`;
  return 'atMost' in bound ? `at most ${bound.atMost}` : `below ${bound.below}`;
}

/** The median, with the least and the most in brackets. */
export function spreadText(values: readonly number[], text: (value: number) => string): string {
  const { median, least, most } = spreadOf(values);
  if (Number.isNaN(median)) return 'unknown';
  return values.length > 1 ? `${text(median)} (${text(least)} to ${text(most)})` : text(median);
}

/** @param values per second */
export function rate(values: readonly number[]): string {
  return `${spreadText(values, value => Math.round(value).toLocaleString('en'))}/s`;
}

/** @param values milliseconds */
export function ms(values: readonly number[]): string {
  return `${spreadText(values, value => value.toFixed(2))} ms`;
}

/** @param values microseconds */
export function us(values: readonly number[]): string {
  return `${spreadText(values, value => value.toFixed(0))} µs`;
}

export function say(text: string): void {
  process.stdout.write(`${text}\n`);
}
