import { pino } from 'pino';
import { expect, it } from 'vitest';
import { serviceOn } from '../helpers/exports.ts';
import { expectProblem } from '../helpers/problems.ts';
import { aRun } from '../helpers/runs.ts';

it('holds no text of a question, which the answer to its caller may repeat', async () => {
  const lines: string[] = [];
  const { send } = await serviceOn('sqlite', { log: pino({}, { write: line => lines.push(line) }) });
  const question = await aRun(send, 'run-1').ask('builder', { options: [{ label: 'zebra' }, { label: 'quagga' }] });
  const given = { selected: ['okapi'], actor: { type: 'operator', name: 'ana' } };
  const refused = await send('PUT', `/questions/${question}/answer`, given);
  expectProblem(refused, 'INVALID_SELECTION');
  expect(refused.body.detail).toContain('zebra, quagga');
  expect(lines.map(line => JSON.parse(line))).toContainEqual(
    expect.objectContaining({
      ...{ msg: 'request refused', code: 'INVALID_SELECTION' },
      detail: 'The selected options do not fit the question',
    }),
  );
  expect(lines.join('\n')).not.toMatch(/zebra|quagga|okapi/);
});
