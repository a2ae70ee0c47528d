import { BaseSequencer, type TestSpecification } from 'vitest/node';

/** Files that mostly wait: for processes to start and end, or for time to pass. */
const WAITING = /\/(e2e|verify)\/|\/events\/stream-heartbeat/;

/**
 * Takes files that wait and files that compute in turns, each kind in the runner's own order (the longest first, as far
 * as it knows). So there is always something to compute meanwhile, and what is left at the end is short.
 */
export class InTurns extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const { waiting = [], computing = [] } = Object.groupBy(await super.sort(files), ({ moduleId }) =>
      WAITING.test(moduleId) ? 'waiting' : 'computing',
    );
    const turns = Math.max(waiting.length, computing.length);
    return Array.from({ length: turns }, (_, turn) => [waiting[turn], computing[turn]])
      .flat()
      .filter(file => file !== undefined);
  }
}
