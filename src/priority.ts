/** Most urgent first: a priority is stored as its place in this list, so that lists can be read off an index. */
export const priorities = ['urgent', 'high', 'normal', 'low'] as const;
export type Priority = (typeof priorities)[number];

export function priorityRank(priority: Priority): number {
  return priorities.indexOf(priority);
}

export function priorityAt(rank: number): Priority {
  return priorities[rank] as Priority;
}
