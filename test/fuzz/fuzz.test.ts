import { describe, expect, it } from 'vitest';
import { engines } from '../helpers/engines.ts';
import { fuzz } from './fuzz.ts';
import { startTarget } from './service.ts';

/*
 * Requests made of the OpenAPI document: right ones, wrong ones and strange ones, from every role and from nobody. No
 * answer may be a 5xx or one that is not documented, and no refused request may change anything. `npm run fuzz` sends
 * many more of them than `npm test`.
 */

const REQUESTS = Number(process.env.FUZZ_REQUESTS ?? 1500);
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1_000_000);

describe.each(engines)('any request, on %s', engine => {
  it.each([
    { name: 'to a service with tokens', open: false, count: REQUESTS },
    { name: 'to a service without tokens', open: true, count: Math.ceil(REQUESTS / 5) },
  ])(
    `$name is answered as documented (seed ${SEED})`,
    async ({ open, count }) => {
      const target = await startTarget(engine, { open });
      try {
        const { sent, statuses, faults, longestTurn } = await fuzz(target, count, SEED);
        process.stdout.write(
          `${engine}: sent ${JSON.stringify(sent)}, answered ${JSON.stringify(statuses)}, longest turn ${Math.round(longestTurn)} ms\n`,
        );
        expect(faults).toEqual([]);
        for (const caller of Object.keys(target.tokens)) expect(sent[caller]).toBeGreaterThan(0);
      } finally {
        await target.close();
      }
    },
    60_000 + REQUESTS * 20,
  );
});
