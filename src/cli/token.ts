import { defineProgram } from './program.ts';

export const command = defineProgram('token', 'Make, list, rotate and revoke tokens', [
  'create',
  'list',
  'rotate',
  'revoke',
  'generate',
]);
