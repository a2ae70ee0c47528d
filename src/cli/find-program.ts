import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';

/** The path of a program that a shell would find; undefined if it would not. */
export function findProgram(name: string, { PATH = '' }: Record<string, string | undefined>): string | undefined {
  const files = PATH.split(delimiter).flatMap(folder => [name, `${name}.cmd`].map(file => join(folder, file)));
  return files.find(file => {
    try {
      accessSync(file, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
