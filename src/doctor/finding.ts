/** `problem`: something fails now or at the next start. `warning`: it needs attention, but not at once. */
type Level = 'ok' | 'warning' | 'problem';

/** The result of one check. */
export interface Finding {
  level: Level;
  /** Names the check; one word. */
  check: string;
  /** One sentence. */
  finding: string;
  /** What the operator should do; null if nothing. */
  advice: string | null;
}

/** A finding that needs no action. */
export function ok(check: string, finding: string): Finding {
  return { level: 'ok', check, finding, advice: null };
}

/** A finding that needs attention, but not at once. */
export function warning(check: string, finding: string, advice: string): Finding {
  return { level: 'warning', check, finding, advice };
}

/** A finding of something that fails now or at the next start. */
export function problem(check: string, finding: string, advice: string): Finding {
  return { level: 'problem', check, finding, advice };
}

/** Formats a size in decimal units, such as `412 MB`. */
export function inBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB'];
  const power = Math.min(Math.max(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 0), units.length - 1);
  const value = bytes / 1000 ** power;
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

/** Formats a duration in the largest unit of which it has at least two, such as `90 minutes`. */
export function inTime(milliseconds: number): string {
  const units: [string, number][] = [
    ['days', 86_400_000],
    ['hours', 3_600_000],
    ['minutes', 60_000],
  ];
  const [name, length] = units.find(([, unit]) => milliseconds >= 2 * unit) ?? ['seconds', 1000];
  return `${Math.round(milliseconds / length)} ${name}`;
}
