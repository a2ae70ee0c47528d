import { UsageError } from './command.ts';

/** Says in one sentence what the system refuses, such as to write a file. @throws every other error */
export function faultText(error: unknown): string {
  if (error instanceof UsageError) return error.message;
  const { code, syscall, path } = error as NodeJS.ErrnoException;
  if (syscall === undefined) throw error;
  return `${path ?? 'A file'} cannot be used (${code}); check its permissions, and the room on its disk.`;
}
