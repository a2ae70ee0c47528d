import { fileURLToPath } from 'node:url';
import { defineConfig } from 'vitest/config';
import { InTurns } from './test/helpers/sequence.ts';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/helpers/global-setup.ts'],
    // Suites start real processes and databases, and wait half of the time: three at a time keep two cores busy.
    maxWorkers: 3,
    sequence: { sequencer: InTurns },
    // The files of a worker share its modules, which are read and compiled once, and warm: a fifth less to do. So a file that
    // replaces a module takes it back (vi.resetModules), and nothing may go by the state of a module.
    isolate: false,
    alias: {
      'fast-json-stringify': fileURLToPath(new URL('test/helpers/compiled-once.ts', import.meta.url)),
      // Its built form may be missing in a clone, or old.
      'forumbus/handler': fileURLToPath(new URL('src/handler.ts', import.meta.url)),
    },
    testTimeout: 240_000,
    hookTimeout: 120_000,
    // A machine that is busy with something else may take longer than the second that is usual.
    expect: { poll: { timeout: 10_000 } },
  },
});
