import { defineProgram } from './program.ts';

export const command = defineProgram('restore', 'Replace the SQLite database by a backup');
