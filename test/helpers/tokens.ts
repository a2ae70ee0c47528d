import { pino } from 'pino';
import { expect } from 'vitest';
import type { IssuedToken, NewToken } from '../../src/access/schemas.ts';
import { createAccess, ownAdmin } from '../../src/access/service.ts';
import { CommitNotifier } from '../../src/commit-notifier.ts';
import { openAlongside } from '../../src/db/open.ts';
import type { TestApp } from './app.ts';
import { ManualClock } from './clock.ts';

export const bearer = (token: string): { authorization: string } => ({ authorization: `Bearer ${token}` });

/** Whom the tokens of people act for. */
export const people = {
  viewer: { type: 'human', name: 'vera' },
  operator: { type: 'operator', name: 'ana' },
  admin: { type: 'operator', name: 'root' },
} as const;

/** Makes a token in the database beside the service, as the command does, but without an event. */
export async function firstToken(
  url: string,
  wanted: NewToken = { role: 'admin', actor: people.admin },
): Promise<IssuedToken> {
  const db = await openAlongside(url, pino({ level: 'silent' }));
  const commits = new CommitNotifier();
  const access = createAccess({ db, clock: new ManualClock(), commits, used: () => {}, record: async () => {} });
  try {
    return await db.write(tx => access.issue(tx, wanted, ownAdmin('command')));
  } finally {
    await db.close();
  }
}

/** Makes tokens of a service that has none yet, and sends with them. */
export async function withTokens(service: Pick<TestApp, 'send' | 'url'>) {
  const make = async (wanted: NewToken, headers: Record<string, string>): Promise<IssuedToken> => {
    const { status, body } = await service.send('POST', '/tokens', wanted, headers);
    expect(status, JSON.stringify(body)).toBe(201);
    return body;
  };
  const first = await firstToken(service.url);
  const issue = (wanted: NewToken) => make(wanted, bearer(first.token));
  /** Sends as the bearer of a token. */
  const as =
    (token: string): TestApp['send'] =>
    (method, url, body, headers) =>
      service.send(method, url, body, { ...bearer(token), ...headers });
  const admin = as(first.token);

  return {
    first,
    issue,
    as,
    admin,
    /** Sends as a new one. */
    asPerson: async (role: keyof typeof people) => as((await issue({ role, actor: people[role] })).token),
    asAgent: async (runs: string, agents: string) => as((await issue({ role: 'agent', runs, agents })).token),
    revoke: async ({ token_id }: Pick<IssuedToken, 'token_id'>) => {
      expect((await admin('POST', `/tokens/${token_id}/revoke`)).status).toBe(200);
    },
  };
}

export type Tokens = Awaited<ReturnType<typeof withTokens>>;
