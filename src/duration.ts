const SECONDS = { s: 1, m: 60, h: 3600, d: 86_400 } as const;

/** Completes "--wait …". */
export const DURATION_RULE = 'takes a time such as 90s, 9m or 8h';

/** The seconds in `90`, `90s`, `9m`, `8h` or `2d`; undefined for other texts. */
export function durationSeconds(text: string): number | undefined {
  const [, count, unit = 's'] = /^(\d{1,9})([smhd])?$/.exec(text) ?? [];
  return count === undefined ? undefined : Number(count) * SECONDS[unit as keyof typeof SECONDS];
}
