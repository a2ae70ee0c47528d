import { rmSync } from 'node:fs';
import { BACKGROUND_FILE, type Background, isAlive, until } from './background.ts';
import { defineCommand, exits, UsageError } from './command.ts';

/** Longer than the service takes to finish what runs. Milliseconds. */
const STOP_MS = 20_000;

export const command = defineCommand({
  name: 'down',
  summary: 'Stop the service that `forumbus up` has started',
  usage: '',
  counts: { least: 0, most: 0 },
  options: {},
  async run({ state, print }) {
    const running = state.read<Background>(BACKGROUND_FILE);
    if (!running || !isAlive(running)) {
      rmSync(state.file(BACKGROUND_FILE), { force: true });
      await print('No service of `forumbus up` runs.', { stopped: false });
      return exits.done;
    }
    process.kill(running.pid, 'SIGTERM');
    if (!(await until(() => !isAlive(running), STOP_MS))) {
      throw new UsageError(`The service (process ${running.pid}) still finishes what runs; try again in a moment.`);
    }
    rmSync(state.file(BACKGROUND_FILE), { force: true });
    await print('Stopped.', { stopped: true, ...running });
    return exits.done;
  },
});
