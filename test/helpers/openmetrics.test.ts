import { describe, expect, it } from 'vitest';
import { readOpenMetrics } from './openmetrics.ts';

const text = (...lines: string[]) => [...lines, '# EOF', ''].join('\n');
const counter = ['# HELP a A counter.', '# TYPE a counter'];
const gauge = ['# HELP g A gauge.', '# TYPE g gauge'];
const histogram = ['# HELP h A histogram.', '# TYPE h histogram'];
const sound = [
  ...counter,
  'a_total{x="1",y="a \\"b\\" \\\\ \\n c, d=\\"e\\"}"} 3',
  ...gauge,
  'g -1.5e-3',
  ...histogram,
  'h_bucket{le="0.5"} 1',
  'h_bucket{le="1.0"} 1',
  'h_bucket{le="+Inf"} 2',
  'h_sum 3.5',
  'h_count 2',
];

describe('the reader of OpenMetrics', () => {
  it('reads what is sound', () => {
    const families = readOpenMetrics(text(...sound));
    expect(families.get('a')).toEqual({
      name: 'a',
      type: 'counter',
      help: 'A counter.',
      samples: [{ name: 'a_total', labels: { x: '1', y: 'a "b" \\ \n c, d="e"}' }, value: 3 }],
    });
    expect(families.get('g')?.samples[0]?.value).toBe(-0.0015);
    expect(families.get('h')?.samples).toHaveLength(5);
  });

  it.each<[what: string, lines: string]>([
    ['no end', [...counter, 'a_total 1', ''].join('\n')],
    ['something behind the end', `${text(...counter, 'a_total 1')}a_total 2\n`],
    ['an end in between', text('# EOF', ...counter, 'a_total 1')],
    ['an empty line', text(...counter, '', 'a_total 1')],
    ['a carriage return', text(...counter, 'a_total 1\r')],
    ['a sample without a family', text('a_total 1')],
    ['a sample of another family', text(...counter, 'b_total 1')],
    ['a counter without its suffix', text(...counter, 'a 1')],
    ['a gauge with a suffix', text(...gauge, 'g_total 1')],
    ['a gauge that is named as a counter', text('# HELP g_total G.', '# TYPE g_total gauge', 'g_total 1')],
    ['no type', text('# HELP a A.', 'a_total 1')],
    ['no help', text('# TYPE a counter', 'a_total 1')],
    ['an unknown type', text('# HELP a A.', '# TYPE a number', 'a_total 1')],
    ['a type behind a sample', text('# HELP g G.', '# TYPE g gauge', 'g 1', '# TYPE g gauge')],
    ['two types', text(...counter, '# TYPE a counter', 'a_total 1')],
    ['a family in two places', text(...counter, 'a_total 1', ...gauge, 'g 1', ...counter)],
    ['help with a bare quote', text('# HELP a "A".', '# TYPE a counter', 'a_total 1')],
    ['a bad name', text('# HELP 1a A.', '# TYPE 1a counter', '1a_total 1')],
    ['a bad label name', text(...counter, 'a_total{1x="1"} 1')],
    ['a reserved label name', text(...counter, 'a_total{__x="1"} 1')],
    ['a label without quotes', text(...counter, 'a_total{x=1} 1')],
    ['a label twice', text(...counter, 'a_total{x="1",x="2"} 1')],
    ['a label that escapes too much', text(...counter, 'a_total{x="\\d"} 1')],
    ['labels without an end', text(...counter, 'a_total{x="1" 1')],
    ['a comma behind the last label', text(...counter, 'a_total{x="1",} 1')],
    ['no value', text(...counter, 'a_total')],
    ['a value that is no number', text(...counter, 'a_total one')],
    ['a time', text(...counter, 'a_total 1 1600000000')],
    ['a negative counter', text(...counter, 'a_total -1')],
    ['a counter that is no number', text(...counter, 'a_total NaN')],
    ['a series twice', text(...counter, 'a_total{x="1",y="2"} 1', 'a_total{y="2",x="1"} 1')],
    ['no last bucket', text(...histogram, 'h_bucket{le="1.0"} 1', 'h_sum 1', 'h_count 1')],
    ['bounds that do not rise', text(...histogram, ...buckets(['2.0', 1], ['1.0', 1], ['+Inf', 1]))],
    ['a bound written otherwise', text(...histogram, ...buckets(['1', 1], ['+Inf', 1]))],
    ['buckets that are not cumulative', text(...histogram, ...buckets(['1.0', 3], ['+Inf', 1]))],
    ['another count', text(...histogram, 'h_bucket{le="+Inf"} 2', 'h_sum 1', 'h_count 1')],
    ['no count', text(...histogram, 'h_bucket{le="+Inf"} 2', 'h_sum 1')],
    ['no sum', text(...histogram, 'h_bucket{le="+Inf"} 2', 'h_count 2')],
  ])('refuses %s', (_what, lines) => {
    expect(() => readOpenMetrics(lines)).toThrow();
  });
});

function buckets(...counts: [le: string, count: number][]): string[] {
  return [...counts.map(([le, count]) => `h_bucket{le="${le}"} ${count}`), 'h_sum 1', `h_count ${counts.at(-1)?.[1]}`];
}
