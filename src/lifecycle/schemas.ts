import { Type } from 'typebox';
import { Name } from '../http/schemas.ts';

export const ErasureBegun = Type.Object(
  { run_id: Name, erased: Type.Literal(false) },
  {
    $id: 'ErasureBegun',
    description: 'The texts of the run are not shown any more; a job goes on erasing them.',
    examples: [{ run_id: 'run-7', erased: false }],
  },
);
