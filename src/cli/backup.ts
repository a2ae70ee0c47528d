import { defineProgram } from './program.ts';

export const command = defineProgram('backup', 'Copy the SQLite database and verify the copy');
