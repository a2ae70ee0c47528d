import { createHash, randomBytes } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import type { Caller } from '../access/caller.ts';
import type { Access, HeldSecret } from '../access/service.ts';
import type { Clock } from '../clock.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal } from '../errors.ts';
import { assertOwnPage, cookieSecret, SESSION_MS } from './cookie.ts';
import {
  deleteExpiredLogins,
  deleteLogin,
  findLogin,
  insertLogin,
  type LoginRow,
  listLiveLogins,
} from './repository.ts';

/** How long a link may be used. Milliseconds. */
const LINK_MS = 60_000;
type Kind = LoginRow['kind'];

export type LoginService = ReturnType<typeof createLogins>;

interface Dependencies {
  db: Database;
  clock: Clock;
  access: Pick<Access, 'authenticateById' | 'ended' | 'endOf' | 'endSignedOn'>;
}

/**
 * Logins of browsers. Each stands for a secret of a token, has its rights, and ends with it in any process. Only hashes of their
 * secrets are stored: 256 random bits need no slow hash.
 */
export function createLogins({ db, clock, access }: Dependencies) {
  async function create(tx: Tx, kind: Kind, { token_id, secret_number }: HeldSecret, lifeMs: number) {
    const created_at = clock.now();
    await deleteExpiredLogins(tx, created_at);
    const secret = randomBytes(32).toString('base64url');
    // It ends with its token, and is then deleted before that.
    const expires_at = Math.min(created_at + lifeMs, (await access.endOf(tx, token_id)) ?? Number.POSITIVE_INFINITY);
    await insertLogin(tx, { secret_hash: hashOf(secret), kind, token_id, secret_number, created_at, expires_at });
    return { secret, expires_at };
  }

  async function find(reader: Reader, kind: Kind, secret: string): Promise<LoginRow | undefined> {
    const row = await findLogin(reader, hashOf(secret));
    return row && row.kind === kind && row.expires_at > clock.now() ? row : undefined;
  }

  return {
    /** A secret that {@link redeem} takes once, within a minute. */
    createLink: (tx: Tx, held: HeldSecret) => create(tx, 'link', held, LINK_MS),

    /** The secret of a browser that is logged in from now on. */
    createSession: (tx: Tx, held: HeldSecret) => create(tx, 'session', held, SESSION_MS),

    /**
     * Uses a link up.
     * @returns the secret of the session that it opens, and its caller
     * @throws Refusal UNAUTHORIZED if the link is unknown, used or expired, or its token has ended
     */
    async redeem(tx: Tx, code: string): Promise<{ secret: string; caller: Caller }> {
      const link = await find(tx, 'link', code);
      if (!link) throw new Refusal('UNAUTHORIZED', 'The link has been used or is older than a minute; make another.');
      const caller = await access.authenticateById(tx, link);
      await deleteLogin(tx, link.secret_hash);
      return { secret: (await create(tx, 'session', link, SESSION_MS)).secret, caller };
    },

    /**
     * The caller of a browser that is logged in; undefined without a cookie. Never cached.
     * @throws Refusal UNAUTHORIZED if the session or its token has ended, ORIGIN_NOT_ALLOWED if another page calls
     */
    async authenticate({ method, headers }: Pick<FastifyRequest, 'method' | 'headers'>): Promise<Caller | undefined> {
      const secret = cookieSecret(headers);
      if (secret === undefined) return undefined;
      assertOwnPage(method, headers);
      const session = await find(db.read, 'session', secret);
      if (!session) throw new Refusal('UNAUTHORIZED', 'The login of this browser has ended; log in again.');
      return access.authenticateById(db.read, { ...session, login_hash: session.secret_hash });
    },

    /** Those of these secrets that have ended, by themselves or with the login that stands for them. */
    async ended(held: HeldSecret[]): Promise<HeldSecret[]> {
      const hashes = held.flatMap(({ login_hash }) => login_hash ?? []);
      const live = new Set(hashes.length > 0 ? await listLiveLogins(db.read, hashes, clock.now()) : []);
      const left = held.filter(({ login_hash }) => login_hash !== undefined && !live.has(login_hash));
      return [...left, ...(await access.ended(held))];
    },

    /**
     * Ends a session, and the token that single sign-on has made for it; an unknown one is no error.
     * @returns whether it was one of single sign-on
     */
    async end(tx: Tx, secret: string): Promise<boolean> {
      const session = await find(tx, 'session', secret);
      await deleteLogin(tx, hashOf(secret));
      return session !== undefined && (await access.endSignedOn(tx, session.token_id));
    },
  };
}

function hashOf(secret: string): string {
  return createHash('sha256').update(secret).digest('hex');
}
