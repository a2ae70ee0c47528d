import { defineProgram } from './program.ts';

export const command = defineProgram('doctor', 'Check settings, handlers, database, messages and hooks');
