import { type Actor, parseActor } from '../actor.ts';
import { Refusal } from '../errors.ts';
import { permits, type Role, type Rule } from './permissions.ts';

/** What a token grants. An agent's has patterns of run ids and agent names, every other one the actor of its writes. */
export interface Grant {
  token_id: string;
  role: Role;
  actor: Actor | null;
  runs: string | null;
  agents: string | null;
}

/**
 * Who makes a request, and what that means for it. Without a grant (a service without tokens) a caller may do everything
 * and is whoever the request says.
 */
export class Caller {
  readonly grant: Grant | undefined;

  constructor(grant?: Grant) {
    this.grant = grant;
  }

  /** What idempotency keys and limits are kept by. */
  get id(): string {
    return this.grant?.token_id ?? 'anonymous';
  }

  may(rule: Rule): boolean {
    return this.grant === undefined || permits(rule, this.grant.role);
  }

  /** An agent's token is bound to runs, and its caller sees nothing else. */
  get isAgent(): boolean {
    return this.grant?.role === 'agent';
  }

  /**
   * The actor of a write: the token's, which a request can only repeat. The token of several agents leaves the choice
   * among them to the request, and `agentName` (whom the request is about) is the one if it does not choose.
   * @throws Refusal ACTOR_MISMATCH
   */
  actor(given: Actor | undefined, agentName?: string): Actor | undefined {
    if (!this.grant) return given;
    const { actor, agents } = this.grant;
    if (actor) {
      if (given && (given.type !== actor.type || given.name !== actor.name)) throw mismatch(given, actor);
      return actor;
    }
    const only = agents?.includes('*') ? undefined : agents;
    const name = given?.name ?? agentName ?? only;
    if (given && given.type !== 'agent') throw mismatch(given, { type: 'agent', name: agents ?? '' });
    if (typeof name !== 'string') return undefined;
    if (!fits(agents, name)) throw mismatch({ type: 'agent', name }, { type: 'agent', name: agents ?? '' });
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
   * What an agent may ask of viewers' marks: those of its own, since when a person looks is no business of an agent.
   * @throws Refusal ACTOR_MISMATCH
   */
  assertMaySeeMarksOf(viewer: string | undefined): void {
    if (viewer !== undefined && this.isAgent) this.actor(parseActor(viewer));
  }

  /** Whether the caller may know of what belongs to this run (null: to none). */
  sees(runId: string | null): boolean {
    return !this.isAgent || (runId !== null && fits(this.grant?.runs ?? null, runId));
  }

  /** @throws Refusal FORBIDDEN if the token is not for this run */
  assertRun(runId: string | null): void {
    if (this.sees(runId)) return;
    const why =
      runId === null ? 'The token is for runs: say which one in run_id.' : `The token is not for the run ${runId}.`;
    throw new Refusal('FORBIDDEN', why);
  }

  /** @throws Refusal FORBIDDEN if the token is not for this agent in this run */
  assertActsFor(runId: string, agentName: string): void {
    this.assertRun(runId);
    if (this.isAgent && !fits(this.grant?.agents ?? null, agentName)) {
      throw new Refusal('FORBIDDEN', `The token is not for the agent ${agentName}.`);
    }
  }

  /** What a token of any other role may not do. @throws Refusal FORBIDDEN */
  assertAdmin(what: string): void {
    if (this.grant && this.grant.role !== 'admin') throw new Refusal('FORBIDDEN', `Only an admin may ${what}.`);
  }

  /** What only people and programs of theirs do. @throws Refusal FORBIDDEN */
  assertNoAgent(what: string): void {
    if (this.isAgent) throw new Refusal('FORBIDDEN', `An agent cannot ${what}.`);
  }

  /**
   * The filter of a list: an agent sees its runs only, and says which one if it has several.
   * @throws Refusal FORBIDDEN
   */
  inRun<F extends { run_id?: string | undefined }>(filter: F): F {
    if (!this.isAgent) return filter;
    const runs = this.grant?.runs ?? '';
    const run_id = filter.run_id ?? (runs.includes('*') ? undefined : runs);
    if (run_id === undefined)
      throw new Refusal('FORBIDDEN', `The token is for several runs (${runs}); say which one in run_id.`);
    this.assertRun(run_id);
    return { ...filter, run_id };
  }
}

/** Where there are no tokens. */
export const anybody = new Caller();

function mismatch(given: Actor, own: Actor): Refusal {
  return new Refusal(
    'ACTOR_MISMATCH',
    `The request says that ${given.type}:${given.name} acts, but its token is that of ${own.type}:${own.name}.`,
  );
}

/** Whether a name fits a pattern, in which `*` stands for any characters, also none. Takes time linear in the name. */
export function fits(pattern: string | null, name: string): boolean {
  if (pattern === null) return false;
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return name === pattern;
  if (name.length < first.length + last.length || !name.startsWith(first) || !name.endsWith(last)) return false;
  let at = first.length;
  const end = name.length - last.length;
  for (const part of rest) {
    const found = name.indexOf(part, at);
    if (found === -1 || found + part.length > end) return false;
    at = found + part.length;
  }
  return true;
}
