/** Whether a topic matches a pattern: `*` matches exactly one segment, a trailing `**` one or more. */
export function topicMatches(pattern: string, topic: string): boolean {
  const wanted = pattern.split('.');
  const given = topic.split('.');
  const open = wanted.at(-1) === '**';
  if (open) wanted.pop();
  if (open ? given.length <= wanted.length : given.length !== wanted.length) return false;
  return wanted.every((segment, index) => segment === '*' || segment === given[index]);
}

/** Whether a value is a well-formed pattern, such as `a.b`, `a.*.c` or `a.**`. `**` may only end it. */
export function isTopicPattern(pattern: unknown): pattern is string {
  return typeof pattern === 'string' && /^([A-Za-z0-9_-]+|\*)(\.([A-Za-z0-9_-]+|\*))*(\.\*\*)?$|^\*\*$/.test(pattern);
}
