import { defineProgram } from './program.ts';

export const command = defineProgram('token', 'Make, list and revoke tokens', ['create', 'list', 'revoke', 'generate']);
