/** `problem`: something does not work, or will not at the next start. `warning`: somebody should look at it some time. */
type Level = 'ok' | 'warning' | 'problem';

/** What one check has found. */
export interface Finding {
  level: Level;
  /** Names the check; one word. */
  check: string;
  /** What was found; a sentence. */
  finding: string;
  /** What to do about it; null if there is nothing to do. */
  advice: string | null;
}

export function ok(check: string, finding: string): Finding {
  return { level: 'ok', check, finding, advice: null };
}

export function warning(check: string, finding: string, advice: string): Finding {
  return { level: 'warning', check, finding, advice };
}

export function problem(check: string, finding: string, advice: string): Finding {
  return { level: 'problem', check, finding, advice };
}

/** `412 MB`; decimal units, as file managers and disks have them. */
export function inBytes(bytes: number): string {
  const units = ['bytes', 'kB', 'MB', 'GB'];
  const power = Math.min(Math.max(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), 0), units.length - 1);
  const value = bytes / 1000 ** power;
  return `${value < 10 && power > 0 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

/** `5 minutes`, in the largest unit that there are at least two of. */
export function inTime(milliseconds: number): string {
  const units: [string, number][] = [
    ['days', 86_400_000],
    ['hours', 3_600_000],
    ['minutes', 60_000],
  ];
  const [name, length] = units.find(([, unit]) => milliseconds >= 2 * unit) ?? ['seconds', 1000];
  return `${Math.round(milliseconds / length)} ${name}`;
}
