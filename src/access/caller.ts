import { createHash } from 'node:crypto';
import { type Actor, parseActor } from '../actor.ts';
import { Refusal } from '../errors.ts';
import { exactName, matchesPattern } from './pattern.ts';
import { type Permission, permits, type Role } from './permissions.ts';
import type { Me } from './schemas.ts';

/**
 * The rights of a token: patterns of run ids and agent names for the role `agent`, an actor for any other role. A viewer or
 * an operator may have a pattern of run ids as well.
 */
export interface Grant {
  token_id: string;
  /** The number of the secret that was shown; see rotation.ts. */
  secret_number: number;
  /** The hash of the login that stands for it, in a browser. */
  login_hash?: string | undefined;
  role: Role;
  actor: Actor | null;
  runs: string | null;
  agents: string | null;
  /** The pattern of further agents, whose work it may validate. */
  validates: string | null;
}

/**
 * The caller of a request. Without a grant (the service has no tokens) it may do everything, as any actor that the
 * request names.
 */
export class Caller {
  readonly grant: Grant | undefined;

  constructor(grant?: Grant) {
    this.grant = grant && {
      ...grant,
      // The names in requests are in this form; those of old tokens may not be.
      actor: grant.actor && { ...grant.actor, name: grant.actor.name.normalize('NFC') },
      runs: grant.runs?.normalize('NFC') ?? null,
      agents: grant.agents?.normalize('NFC') ?? null,
    };
  }

  /** Scopes limits: the token's id, or `anonymous`. */
  get id(): string {
    return this.grant?.token_id ?? 'anonymous';
  }

  /** The token's id; null without a token. */
  get tokenId(): string | null {
    return this.grant?.token_id ?? null;
  }

  /**
   * Scopes idempotency keys: a hash of the rights and the actor that the token stands for, or `anonymous`. So a retry
   * gets the stored answer also with a new token of the same actor.
   */
  get keyOwner(): string {
    if (!this.grant) return 'anonymous';
    const { role, actor, runs, agents } = this.grant;
    const owner = JSON.stringify([role, runs, agents, actor?.type, actor?.name]);
    return createHash('sha256').update(owner).digest('base64url');
  }

  /** The caller as it may know itself. */
  get me(): Me {
    if (!this.grant) {
      const nothing = { token_id: null, name: null, actor: null, runs: null, run_id: null, agents: null };
      return { access: 'open', role: 'admin', ...nothing };
    }
    const { token_id, role, actor, runs, agents } = this.grant;
    const name = actor?.name ?? exactName(agents) ?? null;
    return { access: 'token', role, token_id, name, actor, runs, run_id: exactName(runs) ?? null, agents };
  }

  may(rule: Permission): boolean {
    return this.grant === undefined || permits(rule, this.grant.role, this.isOfRuns);
  }

  get isAgent(): boolean {
    return this.grant?.role === 'agent';
  }

  /** Whether the token is for certain runs and blind to all else, as that of each agent is. */
  get isOfRuns(): boolean {
    return typeof this.grant?.runs === 'string';
  }

  /**
   * The actor of a write: that of the token, which a request may only repeat. A token for several agents lets the
   * request choose one of them. The default is `agentName`, the agent that the request concerns.
   * @param given the actor in the request
   * @returns undefined if neither token nor request names an actor
   * @throws Refusal ACTOR_MISMATCH if the token does not allow the given actor
   */
  actor(given: Actor | undefined, agentName?: string): Actor | undefined {
    if (!this.grant) return given;
    const { actor, agents } = this.grant;
    if (actor) {
      if (given && (given.type !== actor.type || given.name !== actor.name)) throw actorMismatch(given, actor);
      return actor;
    }
    const name = given?.name ?? agentName ?? exactName(agents);
    if (given && given.type !== 'agent') throw actorMismatch(given, { type: 'agent', name: agents ?? '' });
    if (name === undefined) return undefined;
    if (!matchesPattern(agents, name))
      throw actorMismatch({ type: 'agent', name }, { type: 'agent', name: agents ?? '' });
    return { type: 'agent', name };
  }

  /** As {@link actor}, for requests that must have one. @throws Refusal VALIDATION_FAILED, ACTOR_MISMATCH */
  requiredActor(given: Actor | undefined): Actor {
    const actor = this.actor(given);
    if (actor) return actor;
    const item = { in: 'body', pointer: '/actor', code: 'REQUIRED', detail: 'is required' };
    throw new Refusal('VALIDATION_FAILED', 'body/actor: is required', { errors: [item] });
  }

  /**
   * Lets agents see only their own seen marks: when a person looks at a thread is private.
   * @param viewer `type:name`
   * @throws Refusal ACTOR_MISMATCH if an agent asks for the marks of another actor
   */
  assertMaySeeMarksOf(viewer: string | undefined): void {
    if (viewer !== undefined && this.isAgent) this.actor(parseActor(viewer));
  }

  /** Whether the caller may see resources of this run; null: resources outside of any run. */
  sees(runId: string | null): boolean {
    return !this.isOfRuns || (runId !== null && matchesPattern(this.grant?.runs ?? null, runId));
  }

  /** @throws Refusal FORBIDDEN if the token is not for this run */
  assertRun(runId: string | null): void {
    if (this.sees(runId)) return;
    const detail =
      runId === null ? 'The token is bound to runs: name one in run_id.' : `The token is not for the run ${runId}.`;
    throw new Refusal('FORBIDDEN', detail);
  }

  /** Whether the token is bound to this agent, among others perhaps; always, for other roles. */
  isBoundTo(agentName: string): boolean {
    return !this.isAgent || matchesPattern(this.grant?.agents ?? null, agentName);
  }

  /** @throws Refusal FORBIDDEN if the token is not for this agent in this run; null: outside of any run */
  assertActsFor(runId: string | null, agentName: string): void {
    this.assertRun(runId);
    if (!this.isBoundTo(agentName)) throw new Refusal('FORBIDDEN', `The token is not for the agent ${agentName}.`);
  }

  /**
   * Lets an agent's token validate the agents that its `validates` names, and its own if `selfValidation` is allowed. The
   * token's binding decides, since a token for several agents may act as any of them.
   * @throws Refusal FORBIDDEN, SELF_VALIDATION
   */
  assertValidates(runId: string, agentName: string, selfValidation: boolean): void {
    this.assertRun(runId);
    if (!this.isAgent) return;
    if (this.isBoundTo(agentName)) {
      if (!selfValidation) throw selfValidationRefused(agentName);
    } else if (!matchesPattern(this.grant?.validates ?? null, agentName)) {
      throw new Refusal('FORBIDDEN', `The token may not validate the work of ${agentName}.`);
    }
  }

  /** @param act completes "Only an admin may …" @throws Refusal FORBIDDEN for any other role */
  assertAdmin(act: string): void {
    if (this.grant && this.grant.role !== 'admin') throw new Refusal('FORBIDDEN', `Only an admin may ${act}.`);
  }

  /** @param act completes "An agent cannot …" @throws Refusal FORBIDDEN for an agent */
  assertNoAgent(act: string): void {
    if (this.isAgent) throw new Refusal('FORBIDDEN', `An agent cannot ${act}.`);
  }

  /**
   * Narrows the filter of a list to the caller's run. With a token for several runs the filter must name one.
   * @throws Refusal FORBIDDEN if it names none, or a run of others
   */
  inRun<F extends { run_id?: string | undefined }>(filter: F): F {
    if (!this.isOfRuns) return filter;
    const runs = this.grant?.runs ?? '';
    const run_id = filter.run_id ?? exactName(runs);
    if (run_id === undefined)
      throw new Refusal('FORBIDDEN', `The token is for several runs (${runs}); name one in run_id.`);
    this.assertRun(run_id);
    return { ...filter, run_id };
  }
}

export function selfValidationRefused(agentName: string): Refusal {
  return new Refusal(
    'SELF_VALIDATION',
    `An agent may not validate its own work; somebody else must validate ${agentName}.`,
  );
}

/** The caller of any request while the service has no tokens. */
export const anonymous = new Caller();

export function actorMismatch(given: Actor, own: Actor): Refusal {
  return new Refusal(
    'ACTOR_MISMATCH',
    `The request names the actor ${given.type}:${given.name}, but its token belongs to ${own.type}:${own.name}.`,
  );
}
