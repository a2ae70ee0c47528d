import type { TestProject } from 'vitest/node';
import { startPostgres } from './postgres-server.ts';
import { makeTemplates, type Templates } from './scratch.ts';

declare module 'vitest' {
  interface ProvidedContext {
    templates: Templates;
  }
}

/**
 * What all test files share: one real PostgreSQL, the one that TEST_DATABASE_URL names or one started here, and on each
 * engine a database with all migrations, which scratch databases are copied from.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const given = process.env.TEST_DATABASE_URL;
  const server = given ? { url: given, remove: async () => {} } : await startPostgres({ durable: false });
  const { templates, drop } = await makeTemplates(server.url);
  project.provide('templates', templates);
  return async () => {
    await drop();
    await server.remove();
  };
}
