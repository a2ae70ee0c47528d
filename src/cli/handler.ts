import { defineProgram } from './program.ts';

export const command = defineProgram('handler', 'Run one handler once, without a service', ['test']);
