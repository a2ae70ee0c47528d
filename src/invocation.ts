/** The name that the program `forumbus` gives to the processes that it becomes or starts. */
export const PROGRAM = 'forumbus';

/**
 * How an operator's command is called: by the program `forumbus`, which a package has, or as an npm script of a clone.
 * Example: `forumbus token list` or `npm run token -- list`.
 */
export function callOf(name: string, args = ''): string {
  if (process.argv0 === PROGRAM || import.meta.url.endsWith('.js')) return `${PROGRAM} ${name} ${args}`.trim();
  return args === '' ? `npm run ${name}` : `npm run ${name} -- ${args}`;
}
