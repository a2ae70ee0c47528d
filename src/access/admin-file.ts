import { constants } from 'node:fs';
import { open } from 'node:fs/promises';
import type { Reader } from '../db/database.ts';
import { errorCode } from '../db/errors.ts';
import { StartError } from '../errors.ts';
import { callOf } from '../invocation.ts';
import { findToken } from './repository.ts';
import { secretNumber } from './rotation.ts';
import { parseToken, type TokenParts } from './secret.ts';

/* The file that ADMIN_TOKEN_FILE names: containers get their first token by it. */

/** Why a start warns of a file that others can read. */
export const READ_BY_OTHERS = 'others can read the file that ADMIN_TOKEN_FILE names: chmod 600 it';
/** Why a start warns of an old secret. */
export const OUTDATED =
  'the file that ADMIN_TOKEN_FILE names holds a secret that a rotation has replaced: put the new token into it';

/** The token in the file. */
export interface AdminFile {
  parts: TokenParts;
  /** Whether others than its owner can read the file. */
  isShown: boolean;
}

/**
 * Reads the file.
 * @throws StartError if it is no regular file, cannot be read or holds no token, or if others than its owner can write
 *   it, since they could make admins
 */
export async function readAdminFile(file: string): Promise<AdminFile> {
  try {
    // Opening a pipe would otherwise wait for a writer, and nothing could end that.
    const handle = await open(file, constants.O_RDONLY | constants.O_NONBLOCK);
    try {
      const stat = await handle.stat();
      if (!stat.isFile()) throw new StartError(`The file ${file} that ADMIN_TOKEN_FILE names is no regular file.`);
      // Windows has no such modes.
      const mode = process.platform === 'win32' ? 0 : stat.mode;
      if (mode & 0o022) {
        throw new StartError(`The file ${file} that ADMIN_TOKEN_FILE names can be written by others: chmod 600 it.`);
      }
      const parts = parseToken((await handle.readFile('utf8')).trim());
      if (parts) return { parts, isShown: (mode & 0o044) !== 0 };
    } finally {
      await handle.close();
    }
  } catch (error) {
    if (error instanceof StartError) throw error;
    throw new StartError(`The file ${file} that ADMIN_TOKEN_FILE names cannot be read (${errorCode(error)}).`);
  }
  throw new StartError(
    `The file named by ADMIN_TOKEN_FILE holds no token (\`${callOf('token', 'generate')}\` prints one).`,
  );
}

/**
 * What is known of the token in the file. A secret that a rotation has replaced gets no power back. It stops no start,
 * since the service works without it.
 * @throws StartError if its id has another secret and was never rotated, or if it has another role
 */
export async function knownAdmin(
  reader: Reader,
  { token_id, secret_hash }: TokenParts,
): Promise<'new' | 'known' | 'outdated'> {
  const known = await findToken(reader, token_id);
  if (!known) return 'new';
  const number = secretNumber(known, secret_hash);
  if (number === undefined && known.rotations === 0) {
    throw new StartError('The file named by ADMIN_TOKEN_FILE holds a known token id with a different secret.');
  }
  if (known.role !== 'admin') {
    throw new StartError(`The file named by ADMIN_TOKEN_FILE holds a token of the role ${known.role}, not admin.`);
  }
  return number === known.rotations ? 'known' : 'outdated';
}
