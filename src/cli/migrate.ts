import { defineProgram } from './program.ts';

export const command = defineProgram('migrate', 'Bring the database up to date');
