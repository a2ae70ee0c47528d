import type { Evidence } from '../client/index.ts';
import { UsageError } from './command.ts';

/** The option of a report. */
export const evidenceOption = { evidence: { type: 'string', multiple: true, short: 'e' } } as const;

/** Parses `kind:ref`, such as `test_report:reports/unit.xml`. @throws UsageError */
export function evidenceOf(given: readonly string[] = []): { evidence?: Evidence[] } {
  const evidence = given.map(text => {
    const [, kind, ref] = /^([^:]+):(.+)$/s.exec(text) ?? [];
    if (kind === undefined || ref === undefined) {
      throw new UsageError(`--evidence takes kind:ref, such as commit:4f2a91c, not ${text}.`);
    }
    return { kind, ref };
  });
  return evidence.length === 0 ? {} : { evidence };
}
