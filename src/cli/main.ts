#!/usr/bin/env node
import { run } from './run.ts';

/* The program `forumbus`. Nothing else of the command line reads the process's arguments and environment. */

const { argv, stdin, stdout, stderr } = process;
// What cannot be written is an error where it is written.
for (const stream of [stdout, stderr]) stream.on('error', () => {});
const code = await run(argv.slice(2), { env: process.env, cwd: workingFolder(), stdin, stdout, stderr });
// Connections that are kept alive would hold the process.
process.exit(code);

/** One that has been deleted still has its name. */
function workingFolder(): string {
  try {
    return process.cwd();
  } catch {
    return process.env.PWD ?? '/';
  }
}
