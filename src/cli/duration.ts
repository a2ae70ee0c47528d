import { UsageError } from './command.ts';

const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** Parses `90`, `90s`, `9m`, `8h` or `2d` to seconds. @throws UsageError */
export function secondsOf(option: string, text: string): number {
  const [, count, unit = 's'] = /^(\d{1,9})([smhd])?$/.exec(text) ?? [];
  if (count === undefined) throw new UsageError(`--${option} takes a time such as 90s, 9m or 8h, not ${text}.`);
  return Number(count) * SECONDS[unit as keyof typeof SECONDS];
}
