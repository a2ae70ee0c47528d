import { defineConfig } from 'vitest/config';
export default defineConfig({ test: { include: ['test/**/*.test.ts'], globalSetup: ['test/helpers/postgres-server.ts'], maxWorkers: 3, testTimeout: 120_000, hookTimeout: 120_000, isolate: false, execArgv: ['--cpu-prof','--cpu-prof-dir=/tmp/probe/w','--cpu-prof-interval=1000'] } });
