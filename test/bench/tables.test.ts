import { expect, it } from 'vitest';
import type { Figure } from './figures.ts';
import { tables } from './tables.ts';

const figure = (median: number, unit = ''): Figure => ({ median, least: median, most: median, unit });

/** A row by its first cell. */
function rowOf(table: string, figures: Record<string, Figure>, what: string): string[] {
  const text = tables[table]?.({ measured: {}, figures }) ?? '';
  const line = text.split('\n').find(line => line.startsWith(`| ${what} |`));
  return line?.slice(2, -2).split(' | ').slice(1) ?? [];
}

it('two processes stand beside one that had as much CPU for each', () => {
  const figures = {
    'f.signals.rate': figure(1000, '/s'),
    'f.signals of two processes.rate': figure(900, '/s'),
    'f.signals of two processes.service 2 cpu': figure(300, 'µs'),
    'f.signals, a quarter of a core.rate': figure(300, '/s'),
    'f.signals of two processes, a quarter of a core.rate': figure(540, '/s'),
    'f.signals of two processes, a quarter of a core.idle': figure(45, '%'),
  };
  const row = (what: string) => rowOf('processes', figures, what);
  expect(row('signals/s, every event dispatched')).toEqual(['1,000', '900', '300', '540']);
  expect(row('times those of one')).toEqual(['', '0.9', '', '1.8']);
  expect(row('CPU of a signal in the second service')).toEqual(['', '300 µs', '', '(not measured)']);
  expect(row('of all cores of the machine, idle').at(-1)).toBe('45 %');
});

it('says which of them were not measured, and compares nothing with them', () => {
  const figures = { 'f.signals of two processes, a quarter of a core.rate': figure(540, '/s') };
  const none = '(not measured)';
  expect(rowOf('processes', figures, 'signals/s, every event dispatched')).toEqual([none, none, none, '540']);
  expect(rowOf('processes', figures, 'times those of one')).toEqual(['', '', '', '']);
});

it('signals on PostgreSQL stand beside the jobs that pg-boss takes', () => {
  const figures = { 'f.64 completions.rate': figure(3000, '/s'), 'f.peer pg-boss.enqueues': figure(2500, '/s') };
  expect(rowOf('figures', figures, 'PostgreSQL: signals/s, completions')).toEqual([
    '3,000',
    '1.2 of the jobs that pg-boss takes, 2,500',
  ]);
});
