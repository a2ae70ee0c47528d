import { Type } from 'typebox';
import { Name, Strict } from '../http/schemas.ts';

export const ErasureQuery = Strict({
  up_to: Type.Optional(
    Type.Integer({
      minimum: 0,
      maximum: Number.MAX_SAFE_INTEGER,
      description:
        'Refuses a run that has events after this sequence: the `up_to` of an export, so that nothing goes that is not in it.',
    }),
  ),
});

export const ErasureBegun = Type.Object(
  { run_id: Name, erased: Type.Literal(false) },
  {
    $id: 'ErasureBegun',
    description: 'The texts of the run are not shown any more; a job goes on erasing them.',
    examples: [{ run_id: 'run-7', erased: false }],
  },
);
