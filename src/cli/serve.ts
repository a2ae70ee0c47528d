import { defineCommand } from './command.ts';
import { become } from './service.ts';

export const command = defineCommand({
  name: 'serve',
  summary: 'Run the service here, until it is stopped (what `forumbus` alone does)',
  usage: '',
  counts: { least: 0, most: 0 },
  options: {},
  help: `Settings are environment variables: see docs/configuration.md. Without DATABASE_URL, the database is a SQLite file in
the user's state folder (~/.local/state/forumbus).`,
  run: context => become(context, 'main'),
});
