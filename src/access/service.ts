import { actorText, parseActor } from '../actor.ts';
import { type Clock, toTimestamp, toTimestampOrNull } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import { type Page, readPage } from '../db/cursors.ts';
import type { Database, Tx } from '../db/database.ts';
import { Refusal, StartError } from '../errors.ts';
import { Caller } from './caller.ts';
import { endedAmong, findToken, hasTokens, insertToken, listTokens, setRevoked, type TokenRow } from './repository.ts';
import type { IssuedToken, NewToken, Token, TokenQuery } from './schemas.ts';
import { isSameHash, newToken, parseToken, type TokenParts } from './secret.ts';

export type Access = ReturnType<typeof createAccess>;

interface Dependencies {
  db: Database;
  clock: Clock;
  commits: CommitNotifier;
}

/** Tokens: who may come in, and as whom. */
export function createAccess({ db, clock, commits }: Dependencies) {
  async function store(tx: Tx, { token_id, secret_hash }: TokenParts, wanted: NewToken, by: string): Promise<TokenRow> {
    assertComplete(wanted);
    const created_at = clock.now();
    const { role, actor, runs = null, agents = null, expires_in_seconds } = wanted;
    const row: TokenRow = {
      token_id,
      secret_hash,
      role,
      actor: actor ? actorText(actor) : null,
      runs,
      agents,
      created_at,
      created_by: by,
      expires_at: expires_in_seconds === undefined ? null : created_at + expires_in_seconds * 1000,
      revoked_at: null,
    };
    await insertToken(tx, row);
    tx.afterCommit(() => commits.notify('token'));
    return row;
  }

  return {
    /** Whether anybody may come in: as long as no token has ever been made. */
    isOpen: async (): Promise<boolean> => !(await hasTokens(db.read)),

    /**
     * The caller whose `Authorization` header this is (RFC 6750). Asks the database each time, so that a token that is
     * revoked, by whatever process, is refused from the next request on.
     * @throws Refusal UNAUTHORIZED
     */
    async authenticate(authorization: string | undefined): Promise<Caller> {
      const [, text] = /^Bearer +(\S+) *$/i.exec(authorization ?? '') ?? [];
      if (text === undefined) {
        throw new Refusal('UNAUTHORIZED', 'Send a token, with the header Authorization: Bearer fbt_….');
      }
      const parts = parseToken(text);
      const row = parts && (await findToken(db.read, parts.token_id));
      if (!row || !isSameHash(row.secret_hash, parts.secret_hash)) {
        throw new Refusal('UNAUTHORIZED', 'The token is not one of this service.');
      }
      if (row.revoked_at !== null) throw new Refusal('UNAUTHORIZED', `The token ${row.token_id} has been revoked.`);
      if (row.expires_at !== null && row.expires_at <= clock.now()) {
        throw new Refusal('UNAUTHORIZED', `The token ${row.token_id} has expired.`);
      }
      const { token_id, role, actor, runs, agents } = row;
      return new Caller({ token_id, role, actor: actor === null ? null : parseActor(actor), runs, agents });
    },

    /** Those of these tokens that have been revoked or have expired. */
    ended: (tokenIds: string[]): Promise<string[]> => endedAmong(db.read, tokenIds, clock.now()),

    /** @throws Refusal VALIDATION_FAILED if the role needs what is not there, or has no use for what is */
    async issue(tx: Tx, wanted: NewToken, by: string): Promise<IssuedToken> {
      const { token, ...parts } = newToken();
      return { ...toToken(await store(tx, parts, wanted, by)), token };
    },

    /**
     * Makes a given text an admin's token, unless it is one already: the first token of a container comes in a file.
     * @throws StartError if it is no token, another one has its id, or it is one of another role
     */
    async adopt(tx: Tx, text: string): Promise<void> {
      const parts = parseToken(text);
      if (!parts)
        throw new StartError(
          'The file that ADMIN_TOKEN_FILE names does not hold a token (`npm run token -- generate` prints one).',
        );
      const known = await findToken(tx, parts.token_id);
      if (!known) {
        await store(tx, parts, { role: 'admin', actor: { type: 'operator', name: 'admin' } }, 'file');
      } else if (!isSameHash(known.secret_hash, parts.secret_hash)) {
        throw new StartError('The file that ADMIN_TOKEN_FILE names holds another secret than the token of its id has.');
      } else if (known.role !== 'admin') {
        throw new StartError(
          `The file that ADMIN_TOKEN_FILE names holds a token of the role ${known.role}, not admin.`,
        );
      }
    },

    /** Oldest first. @throws Refusal INVALID_CURSOR */
    async list({ limit = 50, cursor }: TokenQuery): Promise<Page<Token>> {
      return readPage({
        list: 'tokens',
        cursor,
        shape: [0, ''],
        limit,
        read: (from, count) => listTokens(db.read, from, count),
        keyOf: row => [row.created_at, row.token_id],
        views: rows => rows.map(toToken),
      });
    },

    /** From its commit on the token opens nothing, on any process. Revoking it again changes nothing. @throws Refusal TOKEN_NOT_FOUND */
    async revoke(tx: Tx, tokenId: string): Promise<Token> {
      const row = await findToken(tx, tokenId);
      // Not by its name: who gives the token itself in the place of its id must not find the secret in the log.
      if (!row) throw new Refusal('TOKEN_NOT_FOUND', 'No token has this id (the 16 characters after fbt_).');
      if (row.revoked_at !== null) return toToken(row);
      const revoked_at = clock.now();
      await setRevoked(tx, tokenId, revoked_at);
      tx.afterCommit(() => commits.notify('token'));
      return toToken({ ...row, revoked_at });
    },
  };
}

function toToken({ secret_hash: _hash, actor, created_at, expires_at, revoked_at, ...row }: TokenRow): Token {
  return {
    ...row,
    actor: actor === null ? null : parseActor(actor),
    created_at: toTimestamp(created_at),
    expires_at: toTimestampOrNull(expires_at),
    revoked_at: toTimestampOrNull(revoked_at),
  };
}

/** An agent's token says which runs and agents, any other whom it acts for. */
function assertComplete({ role, ...given }: NewToken): void {
  const wanted = role === 'agent' ? (['runs', 'agents'] as const) : (['actor'] as const);
  const useless = role === 'agent' ? (['actor'] as const) : (['runs', 'agents'] as const);
  const errors = [
    ...wanted
      .filter(name => given[name] === undefined)
      .map(name => fault(name, 'REQUIRED', `is required for the role ${role}`)),
    ...useless
      .filter(name => given[name] !== undefined)
      .map(name => fault(name, 'UNKNOWN_FIELD', `has no meaning for the role ${role}`)),
    ...(given.actor?.type === 'agent'
      ? [fault('actor/type', 'UNKNOWN_VALUE', 'must not be agent: that is what the role agent is for')]
      : []),
  ];
  const [first] = errors;
  if (first) throw new Refusal('VALIDATION_FAILED', `body${first.pointer}: ${first.detail}`, { errors });
}

function fault(name: string, code: string, detail: string) {
  return { in: 'body', pointer: `/${name}`, code, detail } as const;
}
