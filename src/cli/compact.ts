import { defineProgram } from './program.ts';

export const command = defineProgram('compact', 'Write the SQLite database anew, without what was erased');
