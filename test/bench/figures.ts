import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { median } from './median.ts';

/** The figures of the last full run. The charts and the tables of the documents are made from them. */
export const FIGURES = fileURLToPath(new URL('../../docs/charts/figures.json', import.meta.url));

/** What the rounds came to. */
export interface Spread {
  median: number;
  least: number;
  most: number;
}

export interface Figure extends Spread {
  unit: string;
}

/** When and where a section was measured. */
export interface Origin {
  at: string;
  machine: string;
  /** With --quick: the figure says little. */
  rough: boolean;
}

export interface Figures {
  /** By section. */
  measured: Record<string, Origin>;
  /** By name, which begins with its section: `a.64 mixed.rate`. */
  figures: Record<string, Figure>;
}

/** @param values one of each round */
export function spreadOf(values: readonly number[]): Spread {
  return { median: median(values), least: Math.min(...values), most: Math.max(...values) };
}

export function readFigures(file: string): Figures {
  return existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : { measured: {}, figures: {} };
}

/** Replaces the sections that were measured, and leaves the others. */
export function mergeFigures(before: Figures, now: Figures): Figures {
  const sectionOf = (name: string) => name.slice(0, name.indexOf('.'));
  const kept = Object.entries(before.figures).filter(([name]) => !(sectionOf(name) in now.measured));
  return {
    measured: sorted({ ...before.measured, ...now.measured }),
    figures: sorted({ ...Object.fromEntries(kept), ...now.figures }),
  };
}

export function writeFigures(file: string, figures: Figures): void {
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${JSON.stringify(figures, null, 2)}\n`);
}

/** Four digits: more would only change from run to run. */
export function rounded(value: number): number {
  return Number(value.toPrecision(4));
}

function sorted<T>(entries: Record<string, T>): Record<string, T> {
  return Object.fromEntries(Object.entries(entries).sort(([one], [other]) => (one < other ? -1 : 1)));
}
