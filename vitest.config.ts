import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/helpers/global-setup.ts'],
    // Suites start real processes and databases, and wait half of the time: three at a time keep two cores busy.
    maxWorkers: 3,
    // Files share their workers' modules, which takes a fifth off: compiled once, and warm. So no file may leave anything behind
    // in a module, and what must be unique (a run id, a caller) is counted up in its module.
    isolate: false,
    testTimeout: 30_000,
    hookTimeout: 60_000,
  },
});
