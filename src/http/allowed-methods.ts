import type { FastifyInstance } from 'fastify';

/** Learns the routes of an app. @returns the methods that a path takes, by name; none for an unknown path */
export function allowedMethods(app: FastifyInstance): (path: string) => string[] {
  const routes: { url: string[]; methods: string[] }[] = [];
  app.addHook('onRoute', ({ url, method }) => {
    // The preflights of browsers are answered for all paths, known or not.
    const methods = [method].flat().filter(name => name !== 'OPTIONS');
    routes.push({ url: url.split('/'), methods });
  });
  return path => {
    const parts = path.split('/');
    return [...new Set(routes.filter(({ url }) => fits(url, parts)).flatMap(({ methods }) => methods))].sort();
  };
}

/** Whether a path is one of a route, such as `/questions/:question_id` or `/assets/*`. */
function fits(url: string[], parts: string[]): boolean {
  if (url.length !== parts.length && url.at(-1) !== '*') return false;
  return url.every((part, at) => part === parts[at] || (/^[:*]/.test(part) && Boolean(parts[at])));
}
