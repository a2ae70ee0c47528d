import { DURATION_RULE, durationSeconds } from '../duration.ts';
import { UsageError } from './command.ts';

/** The seconds in the value of an option. @throws UsageError */
export function secondsOf(option: string, text: string): number {
  const seconds = durationSeconds(text);
  if (seconds === undefined) throw new UsageError(`--${option} ${DURATION_RULE}, not ${text}.`);
  return seconds;
}
