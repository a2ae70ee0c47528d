import { createHash, randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { AskRequest, CompletionRequest, ValidationRequest } from '../client/index.ts';
import type { Identity } from './identity.ts';
import type { StateFolder } from './state-folder.ts';

/** A request that could not be sent. A question has the key that its text gives it; the others have one of their own. */
export type Spooled = Agent &
  (
    | { act: 'ask'; request: AskRequest }
    | { act: 'note'; text: string; idempotency_key: string }
    | { act: 'complete'; request: CompletionRequest; idempotency_key: string }
    | { act: 'validate'; request: ValidationRequest; idempotency_key: string }
  );

interface Agent {
  run_id: string;
  agent_name: string;
}

interface Stored {
  url: string;
  /** Tells the tokens apart without storing one. */
  token: string;
  /** The agent that has sent it. */
  caller: Agent;
  spooled: Spooled;
}

interface Waiting {
  name: string;
  spooled: Spooled;
}

/** More would fill the disk while an agent tries again and again. */
const MOST = 1000;

/**
 * Requests that wait for the service, oldest first: a file each, so that two processes need no lock. Both may send the same
 * one, which its idempotency key allows.
 */
export class Spool {
  readonly #state: StateFolder;

  constructor(state: StateFolder) {
    this.#state = state;
  }

  get path(): string {
    return join(this.#state.path, 'spool');
  }

  /** Adds a request. The same one is kept once. @returns false if there are too many */
  add(identity: Identity, spooled: Spooled): boolean {
    const name = nameOf(identity, spooled);
    const present = this.#names();
    if (present.some(other => other.endsWith(name))) return true;
    if (present.length >= MOST) return false;
    this.replace(identity, `${String(Date.now()).padStart(14, '0')}-${name}`, spooled);
    return true;
  }

  /** The last request of the agent, if it says the same as `report`: the command has been repeated. */
  repeated<R extends Exclude<Spooled, { act: 'ask' }>>(identity: Identity, report: R): R | undefined {
    const { run_id, agent_name } = report;
    const last = this.list(identity).findLast(({ spooled }) => isSame(spooled, { run_id, agent_name }))?.spooled;
    if (last === undefined || last.act === 'ask') return undefined;
    const asLast = { ...report, idempotency_key: last.idempotency_key };
    return isDeepStrictEqual(asLast, last) ? asLast : undefined;
  }

  /** The requests for this service with this token: sent with another one, they would be somebody else's. */
  list(identity: Identity): Waiting[] {
    return this.#read(({ url, token, spooled }) => {
      return url === identity.url && token === tokenMark(identity) && typeof spooled.act === 'string';
    });
  }

  /** The number of requests of this agent for this service with other tokens, such as one that has expired. */
  countOfOtherTokens(identity: Identity): number {
    return this.#read(({ url, token, caller }) => {
      return url === identity.url && token !== tokenMark(identity) && isSame(caller, identity);
    }).length;
  }

  replace(identity: Identity, name: string, spooled: Spooled): void {
    const { url, run_id, agent_name } = identity;
    this.#write(name, { url, token: tokenMark(identity), caller: { run_id, agent_name }, spooled });
  }

  remove(name: string): void {
    rmSync(this.#path(name), { force: true });
  }

  #read(isMeant: (stored: Stored) => boolean): Waiting[] {
    return this.#names().flatMap(name => {
      try {
        const stored: Stored = JSON.parse(readFileSync(this.#path(name), 'utf8'));
        return isMeant(stored) ? [{ name, spooled: stored.spooled }] : [];
      } catch {
        // Another process has sent it, or it is damaged.
        return [];
      }
    });
  }

  #names(): string[] {
    try {
      return readdirSync(this.path)
        .filter(name => name.endsWith('.json'))
        .sort();
    } catch {
      return [];
    }
  }

  #write(name: string, stored: Stored): void {
    const path = this.#state.file('spool', name);
    const draft = join(dirname(path), `.${randomUUID()}`);
    writeFileSync(draft, JSON.stringify(stored), { mode: 0o600, flush: true });
    renameSync(draft, path);
  }

  #path(name: string): string {
    return join(this.path, name);
  }
}

/** The end of a file's name: the same for the same request to a service. */
function nameOf(identity: Identity, spooled: Spooled): string {
  if (spooled.act !== 'ask') return `${spooled.act}-${spooled.idempotency_key}.json`;
  const { run_id, agent_name, request } = spooled;
  const { question, options, approvals } = request;
  const place = [identity.url, tokenMark(identity), run_id, agent_name];
  return `ask-${hash(JSON.stringify([...place, question, options, approvals]))}.json`;
}

function isSame(one: Agent, other: Agent): boolean {
  return one.run_id === other.run_id && one.agent_name === other.agent_name;
}

/** The public id of the token, which a rotation keeps. */
function tokenMark({ token = '' }: Identity): string {
  const [, id] = /^fbt_([0-9a-f]{16})_/.exec(token) ?? [];
  return id ?? (token && hash(token));
}

function hash(text: string): string {
  return createHash('sha256').update(text).digest('hex').slice(0, 32);
}
