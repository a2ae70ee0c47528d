import { type Actor, actorText, parseActor } from '../actor.ts';
import { type Clock, toTimestamp, toTimestampOrNull } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import { type Page, readPage } from '../db/cursors.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import { cut } from '../text.ts';
import { knownAdmin } from './admin-file.ts';
import { Caller } from './caller.ts';
import { beginningOf } from './pattern.ts';
import {
  deleteEnded,
  findToken,
  hasTokens,
  insertToken,
  listTokens,
  listTokensById,
  setRevoked,
  setSecrets,
  type TokenRow,
} from './repository.ts';
import { isSecretOver, overlapEnd, rotated, secretNumber } from './rotation.ts';
import type { IssuedToken, NewToken, Token, TokenQuery, TokenRotation } from './schemas.ts';
import { generateToken, parseToken, type TokenParts } from './secret.ts';

export type Access = ReturnType<typeof createAccess>;

interface Dependencies {
  db: Database;
  clock: Clock;
  commits: CommitNotifier;
  /** Called with each authenticated token. */
  used: (row: TokenRow) => void;
  /** Appends an event about a token to the log. */
  record: (tx: Tx, event: TokenEvent) => Promise<void>;
  /** Whether people can log in without a token: the service is then never open. */
  hasSingleSignOn?: boolean;
}

/** An event about a token. */
export interface TokenEvent {
  event_type: 'forum.token.created' | 'forum.token.rotated' | 'forum.token.revoked';
  actor: Actor;
  payload: Record<string, unknown>;
}

/** A secret that a long request or a login stands for. */
export interface HeldSecret {
  token_id: string;
  secret_number: number;
  /** The hash of the login that stands for it, in a browser. */
  login_hash?: string | undefined;
}

/** Who creates, rotates or revokes a token: a token, the `command` or, at the start, the `file`. */
export interface TokenAdmin {
  /** Stored as `created_by`. */
  id: string;
  actor: Actor;
}

/** Admins beside those with tokens. */
export const ownAdmin = (id: 'command' | 'file'): TokenAdmin => ({ id, actor: { type: 'system', name: id } });

/** What `created_by` begins with for a token of single sign-on; the subject at the provider follows. */
const SIGNED_ON = 'oidc:';

/** The admin in whose name single sign-on makes a token. @param sub the subject: visible ASCII and spaces */
export function signedOnAdmin(sub: string): TokenAdmin {
  const id = `${SIGNED_ON}${sub}`;
  return { id, actor: { type: 'system', name: cut(id, 200) } };
}

/** Tokens of single sign-on are listed for so long after their end: each login makes one. Milliseconds. */
const KEPT_SIGNED_ON_MS = 7 * 86_400_000;

/** How long former secrets stay valid unless a rotation says otherwise. */
const OVERLAP_SECONDS = 3600;

/** Issues, authenticates, lists, rotates and revokes tokens. */
export function createAccess({ db, clock, commits, used, record, hasSingleSignOn = false }: Dependencies) {
  async function store(
    tx: Tx,
    { token_id, secret_hash }: TokenParts,
    wanted: NewToken,
    by: TokenAdmin,
  ): Promise<TokenRow> {
    assertComplete(wanted);
    const created_at = clock.now();
    const { role, actor, runs = null, agents = null, validates = null, expires_in_seconds } = wanted;
    const row: TokenRow = {
      token_id,
      secret_hash,
      role,
      actor: actor ? actorText(actor) : null,
      runs,
      agents,
      validates,
      created_at,
      created_by: by.id,
      expires_at: expires_in_seconds === undefined ? null : created_at + expires_in_seconds * 1000,
      revoked_at: null,
      last_used_at: null,
      rotations: 0,
      rotated_at: null,
      former_secrets: null,
    };
    await insertToken(tx, row);
    await announce(tx, 'forum.token.created', row, by);
    tx.afterCommit(() => commits.notify('token'));
    return row;
  }

  /** Records an event with what the token allows, and without its secret. */
  function announce(tx: Tx, event_type: TokenEvent['event_type'], row: TokenRow, by: TokenAdmin): Promise<void> {
    const { token_id, role, actor, runs, agents, validates, expires_at, overlap_ends_at } = view(row);
    const rotation = event_type === 'forum.token.rotated' ? { overlap_ends_at } : {};
    const payload = { token_id, role, actor, runs, agents, validates, expires_at, ...rotation };
    return record(tx, { event_type, actor: by.actor, payload });
  }

  const view = (row: TokenRow): Token => toToken(row, clock.now());

  /** @throws Refusal TOKEN_NOT_FOUND */
  async function required(reader: Reader, tokenId: string): Promise<TokenRow> {
    const row = await findToken(reader, tokenId);
    // The sentence does not repeat the id: a caller may send the whole token, whose secret must not reach the log.
    if (!row) throw new Refusal('TOKEN_NOT_FOUND', 'No token has this id (the 16 characters after fbt_).');
    return row;
  }

  /** @throws Refusal UNAUTHORIZED if the token, or this secret of it, has ended */
  function callerOf(row: TokenRow, secret_number: number, login_hash?: string): Caller {
    if (row.revoked_at !== null) throw new Refusal('UNAUTHORIZED', `The token ${row.token_id} has been revoked.`);
    if (row.expires_at !== null && row.expires_at <= clock.now()) {
      throw new Refusal('UNAUTHORIZED', `The token ${row.token_id} has expired.`);
    }
    if (isSecretOver(row, secret_number, clock.now())) {
      throw new Refusal('UNAUTHORIZED', `The token ${row.token_id} has another secret by now.`);
    }
    used(row);
    const { token_id, role, runs, agents, validates } = row;
    const actor = row.actor === null ? null : parseActor(row.actor);
    return new Caller({ token_id, secret_number, login_hash, role, actor, runs, agents, validates });
  }

  /**
   * Revokes a token: from the commit on every process refuses it. Revoking it again changes nothing.
   * @throws Refusal TOKEN_NOT_FOUND
   */
  async function revoke(tx: Tx, tokenId: string, by: TokenAdmin): Promise<Token> {
    const row = await required(tx, tokenId);
    if (row.revoked_at !== null) return view(row);
    const revoked_at = clock.now();
    await setRevoked(tx, tokenId, revoked_at);
    await announce(tx, 'forum.token.revoked', row, by);
    tx.afterCommit(() => commits.notify('token'));
    return view({ ...row, revoked_at });
  }

  return {
    /** Whether requests need no token: as long as none has ever been created, and nobody can log in without one. */
    isOpen: async (): Promise<boolean> => !hasSingleSignOn && !(await hasTokens(db.read)),

    /**
     * The caller of an `Authorization` header (RFC 6750). Never cached, so that a token revoked by any process is refused
     * from the next request on.
     * @throws Refusal UNAUTHORIZED
     */
    async authenticate(authorization: string | undefined): Promise<Caller> {
      const [, text] = /^Bearer +(\S+) *$/i.exec(authorization ?? '') ?? [];
      if (text === undefined) {
        throw new Refusal('UNAUTHORIZED', 'Send a token in the header Authorization: Bearer fbt_….');
      }
      const parts = parseToken(text);
      const row = parts && (await findToken(db.read, parts.token_id));
      const number = row && secretNumber(row, parts.secret_hash);
      if (number === undefined) throw new Refusal('UNAUTHORIZED', 'The token is unknown to this service.');
      return callerOf(row as TokenRow, number);
    },

    /** The caller of a login, which stands for this token. Never cached. @throws Refusal UNAUTHORIZED */
    async authenticateById(reader: Reader, { token_id, secret_number, login_hash }: HeldSecret): Promise<Caller> {
      const row = await findToken(reader, token_id);
      if (!row) throw new Refusal('UNAUTHORIZED', `There is no token ${token_id}.`);
      return callerOf(row, secret_number, login_hash);
    },

    /** Those of these secrets whose token is revoked or expired, or that have been rotated away. */
    async ended<H extends HeldSecret>(held: H[]): Promise<H[]> {
      const now = clock.now();
      const rows = await listTokensById(db.read, [...new Set(held.map(({ token_id }) => token_id))]);
      const tokens = new Map(rows.map(row => [row.token_id, row]));
      return held.filter(({ token_id, secret_number }) => {
        const row = tokens.get(token_id);
        if (!row || row.revoked_at !== null || (row.expires_at !== null && row.expires_at <= now)) return true;
        return isSecretOver(row, secret_number, now);
      });
    },

    /**
     * Creates a token.
     * @throws Refusal VALIDATION_FAILED if a field that the role needs is missing, or one that it does not use is present
     */
    async issue(tx: Tx, wanted: NewToken, by: TokenAdmin): Promise<IssuedToken> {
      const { token, ...parts } = generateToken();
      return { ...view(await store(tx, parts, wanted, by)), token };
    },

    /**
     * Registers a given token as an admin token, unless it is known.
     * @returns what was known of it
     * @throws StartError as {@link knownAdmin}
     */
    async adopt(tx: Tx, parts: TokenParts): ReturnType<typeof knownAdmin> {
      const known = await knownAdmin(tx, parts);
      if (known === 'new')
        await store(tx, parts, { role: 'admin', actor: { type: 'operator', name: 'admin' } }, ownAdmin('file'));
      return known;
    },

    /** A page of tokens, oldest first. @throws Refusal INVALID_CURSOR */
    async list({ limit = 50, cursor }: TokenQuery): Promise<Page<Token>> {
      return readPage({
        list: 'tokens',
        cursor,
        shape: [0, ''],
        limit,
        read: (from, count) => listTokens(db.read, from, count),
        keyOf: row => [row.created_at, row.token_id],
        views: rows => rows.map(view),
      });
    },

    /**
     * Gives a token another secret; the rights and the id stay. The former secrets are valid until the overlap ends, an
     * hour if it is left out.
     * @throws Refusal TOKEN_NOT_FOUND, TOKEN_ENDED
     */
    async rotate(
      tx: Tx,
      tokenId: string,
      { overlap_seconds = OVERLAP_SECONDS }: TokenRotation,
      by: TokenAdmin,
    ): Promise<IssuedToken> {
      const row = await required(tx, tokenId);
      const now = clock.now();
      if (row.revoked_at !== null || (row.expires_at !== null && row.expires_at <= now)) {
        throw new Refusal('TOKEN_ENDED', `The token ${tokenId} has ended; create another one.`);
      }
      const { token, secret_hash } = generateToken(tokenId);
      const next = rotated(row, secret_hash, now, overlap_seconds * 1000);
      await setSecrets(tx, next);
      await announce(tx, 'forum.token.rotated', next, by);
      tx.afterCommit(() => commits.notify('token'));
      return { ...view(next), token };
    },

    revoke,

    /** When a token ends at the latest, in epoch milliseconds; null for never. @throws Refusal TOKEN_NOT_FOUND */
    endOf: async (tx: Tx, tokenId: string): Promise<number | null> => (await required(tx, tokenId)).expires_at,

    /** Deletes tokens of single sign-on that have long ended. Their events and entries in the audit trail stay. */
    deleteSignedOn: (tx: Tx): Promise<void> => deleteEnded(tx, SIGNED_ON, clock.now() - KEPT_SIGNED_ON_MS),

    /** Revokes a token that single sign-on has made for a login; any other outlives its logins. */
    async endSignedOn(tx: Tx, tokenId: string): Promise<boolean> {
      const { created_by, actor } = await required(tx, tokenId);
      if (!created_by.startsWith(SIGNED_ON) || actor === null) return false;
      await revoke(tx, tokenId, { id: tokenId, actor: parseActor(actor) });
      return true;
    },
  };
}

/** @param now epoch milliseconds */
function toToken(row: TokenRow, now: number): Token {
  const { secret_hash: _hash, former_secrets: _former, rotations: _number, actor, created_at, ...shown } = row;
  return {
    ...shown,
    actor: actor === null ? null : parseActor(actor),
    created_at: toTimestamp(created_at),
    expires_at: toTimestampOrNull(row.expires_at),
    revoked_at: toTimestampOrNull(row.revoked_at),
    last_used_at: toTimestampOrNull(row.last_used_at),
    rotated_at: toTimestampOrNull(row.rotated_at),
    overlap_ends_at: row.revoked_at === null ? toTimestampOrNull(overlapEnd(row, now)) : null,
  };
}

/** The fields that each role needs, and those that have no meaning for it. */
const fieldsOf = {
  agent: { required: ['runs', 'agents'], unused: ['actor'] },
  viewer: { required: ['actor'], unused: ['agents', 'validates'] },
  operator: { required: ['actor'], unused: ['agents', 'validates'] },
  admin: { required: ['actor'], unused: ['runs', 'agents', 'validates'] },
} as const;

/**
 * Checks that the role `agent` comes with runs and agents, any other role with an actor. The runs of people are a name
 * or the beginning of names. A list of those is one range of an index.
 */
function assertComplete({ role, ...given }: NewToken): void {
  const { required, unused } = fieldsOf[role];
  const errors = [
    ...required
      .filter(name => given[name] === undefined)
      .map(name => fault(name, 'REQUIRED', `is required for the role ${role}`)),
    ...unused
      .filter(name => given[name] !== undefined)
      .map(name => fault(name, 'UNKNOWN_FIELD', `has no meaning for the role ${role}`)),
    ...(given.actor?.type === 'agent'
      ? [fault('actor/type', 'UNKNOWN_VALUE', 'must not be agent: use the role agent for that')]
      : []),
    ...(role !== 'agent' && given.runs !== undefined && beginningOf(given.runs) === undefined
      ? [fault('runs', 'INVALID_FORMAT', `may have * at its end only for the role ${role}`)]
      : []),
  ];
  const [first] = errors;
  if (first) throw new Refusal('VALIDATION_FAILED', `body${first.pointer}: ${first.detail}`, { errors });
}

function fault(name: string, code: string, detail: string) {
  return { in: 'body', pointer: `/${name}`, code, detail } as const;
}
