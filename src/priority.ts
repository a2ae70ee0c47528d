/** Most urgent first. Rows store a priority as its index here, so that database indexes sort by urgency. */
export const priorities = ['urgent', 'high', 'normal', 'low'] as const;
export type Priority = (typeof priorities)[number];

export function priorityRank(priority: Priority): number {
  return priorities.indexOf(priority);
}

export function priorityAt(rank: number): Priority {
  return priorities[rank] as Priority;
}
