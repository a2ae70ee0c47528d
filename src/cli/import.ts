import { defineProgram } from './program.ts';

export const command = defineProgram('import', 'Bring exported runs into an empty database');
