import { knownAdmin, readAdminFile } from '../access/admin-file.ts';
import type { TokenParts } from '../access/secret.ts';
import { type Config, isLoopback } from '../config.ts';
import type { Reader, ReadOnlyDatabase } from '../db/database.ts';
import { StartError } from '../errors.ts';
import { callOf } from '../invocation.ts';
import { type Finding, inTime, ok, problem, warning } from './finding.ts';
import { countTokens, firstToExpire } from './repository.ts';

/** Leaves time to replace a token in working hours. Milliseconds. */
const EXPIRING_SOON_MS = 14 * 86_400_000;

/** Checks the file that ADMIN_TOKEN_FILE names. Answers the token in it, if it can be used. */
export async function checkAdminFile({
  ADMIN_TOKEN_FILE: file,
}: Config): Promise<{ findings: Finding[]; parts?: TokenParts }> {
  if (file === '') return { findings: [] };
  try {
    const { parts, isShown } = await readAdminFile(file);
    const finding = `Others can read the file ${file} that ADMIN_TOKEN_FILE names.`;
    return { findings: isShown ? [warning('tokens', finding, 'Take that away with chmod 600.')] : [], parts };
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    return { findings: [problem('tokens', error.message, 'Correct it: until then the service does not start.')] };
  }
}

/**
 * Checks that tokens exist where they are required, are valid, and do not expire soon.
 * @param admin the token that a start registers
 * @param now epoch milliseconds
 */
export async function checkTokens(
  db: ReadOnlyDatabase,
  config: Config,
  admin: TokenParts | undefined,
  now: number,
): Promise<Finding[]> {
  try {
    const known = admin && (await knownAdmin(db.read, admin));
    if (known === 'new') return [ok('tokens', 'The next start registers the token of ADMIN_TOKEN_FILE.')];
    const finding = 'The file that ADMIN_TOKEN_FILE names holds a secret that a rotation has replaced.';
    const outdated = known === 'outdated' ? [warning('tokens', finding, 'Put the new token into it.')] : [];
    return [...outdated, ...(await checkStored(db, config, now))];
  } catch (error) {
    if (!(error instanceof StartError)) throw error;
    return [problem('tokens', error.message, 'Correct it: until then the service does not start.')];
  }
}

async function checkStored(db: ReadOnlyDatabase, config: Config, now: number): Promise<Finding[]> {
  const { HOST, OIDC_ISSUER } = config;
  const { total, valid } = await countTokens(db.read, now);
  if (valid === 0 && OIDC_ISSUER !== '') {
    const finding = 'There are no valid tokens: people can log in, but agents and programs cannot.';
    return [warning('tokens', finding, `Create an admin token with ${callOf('token')}.`)];
  }
  if (total === 0 && isLoopback(HOST)) {
    return [ok('tokens', `There are no tokens; only this machine reaches ${HOST}.`)];
  }
  if (total === 0) {
    const finding = `There are no tokens and HOST is ${HOST}: the service will not start.`;
    return [problem('tokens', finding, `Create an admin token with ${callOf('token')}.`)];
  }
  if (valid === 0) {
    const finding = `All ${total} tokens have expired or been revoked: every request that needs one is refused.`;
    return [problem('tokens', finding, `Create an admin token with ${callOf('token')}.`)];
  }
  const expiring = (await firstToExpire(db.read, now, now + EXPIRING_SOON_MS)).map(({ token_id, role, expires_at }) =>
    warning(
      'tokens',
      `The token ${token_id} (${role}) expires in ${inTime(expires_at - now)}.`,
      `Create a new one with ${callOf('token')} and give it to its user.`,
    ),
  );
  const warnings = [...(await checkPeople(db.read, config, now)), ...expiring];
  return warnings.length > 0 ? warnings : [ok('tokens', `${valid} of ${total} tokens are valid.`)];
}

/** Warns if some tokens are valid, and people can answer with none of them. @param now epoch milliseconds */
export async function checkPeople(reader: Reader, { OIDC_ISSUER }: Config, now: number): Promise<Finding[]> {
  const { valid, answering } = await countTokens(reader, now);
  if (valid === 0 || answering > 0 || OIDC_ISSUER !== '') return [];
  const finding = 'No valid token is of an operator or admin: nobody can answer questions.';
  return [warning('tokens', finding, `Create an admin token with ${callOf('token')}.`)];
}
