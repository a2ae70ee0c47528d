/** What may change in a resource beside its version. */
interface Revised {
  version?: unknown;
  unseen?: boolean;
  erased?: true;
  last_seen_at?: string | null;
  agents?: Revised[];
}

/**
 * Names a state of a resource with a version, such as `3`; undefined for anything else. What changes without the version is
 * part of it: `3-unseen` for a viewer, `3-erased`, `3-1795000000000` for when its agents were last seen.
 */
export function revisionOf(resource: unknown): string | undefined {
  const { version, unseen, erased, ...seen } = (resource ?? {}) as Revised;
  if (typeof version !== 'number') return undefined;
  const sightings = lastSeen(seen);
  return [
    version,
    ...(unseen === undefined ? [] : [unseen ? 'unseen' : 'seen']),
    ...(erased ? ['erased'] : []),
    ...(sightings > 0 ? [sightings] : []),
  ].join('-');
}

/** The sum of the times when agents were last seen, in milliseconds. It rises whenever one of them does. */
function lastSeen({ last_seen_at, agents = [] }: Revised): number {
  return agents.reduce((sum, agent) => sum + lastSeen(agent), last_seen_at ? Date.parse(last_seen_at) : 0);
}
