/*
 * A strict reader of the OpenMetrics text format (OpenMetrics 1.0, November 2020), for what a service of ours may say. It
 * refuses what the standard forbids, and what it allows and we never do (timestamps, exemplars).
 */

type Type = 'counter' | 'gauge' | 'histogram';

export interface Sample {
  /** With its suffix. */
  name: string;
  labels: Record<string, string>;
  value: number;
}

export interface Family {
  name: string;
  type: Type;
  help: string;
  samples: Sample[];
}

/** The suffixes of the samples of each type; every one of them may stand at the end of a name. */
const SUFFIXES: Record<Type, string[]> = { counter: ['_total'], gauge: [''], histogram: ['_bucket', '_sum', '_count'] };
const NAME = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
const NUMBER = /^[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d+)?$/i;
/** A bound as OpenMetrics wants it: with a point or an exponent. */
const BOUND = /^(\d+\.\d+|\d+(\.\d+)?e[+-]\d+|\+Inf)$/;

/** All families by name. @throws Error that names the line that is wrong */
export function readOpenMetrics(text: string): Map<string, Family> {
  if (!text.endsWith('\n# EOF\n')) throw new Error('The text does not end with # EOF and a line break.');
  const families = new Map<string, Family>();
  const seen = new Set<string>();
  let open: (Partial<Family> & { name: string; samples: Sample[] }) | undefined;

  const close = () => {
    if (!open) return;
    const { name, type, help, samples } = open;
    if (type === undefined || help === undefined) throw new Error(`${name} has no ${type ? 'HELP' : 'TYPE'}.`);
    if (type !== 'counter' && name.endsWith('_total')) throw new Error(`${name} is no counter.`);
    const family = { name, type, help, samples };
    if (type === 'histogram') checkHistogram(family);
    families.set(name, family);
  };

  for (const line of text.slice(0, -'# EOF\n'.length).split('\n').slice(0, -1)) {
    try {
      const [, keyword, about = '', rest = ''] = /^# (\w+) (\S+) (.*)$/.exec(line) ?? [];
      if (line.startsWith('#')) {
        if (open?.name !== about) {
          close();
          if (families.has(about)) throw new Error('The family was there before.');
          if (!NAME.test(about)) throw new Error('This is no name.');
          open = { name: about, samples: [] };
        }
        if (open.samples.length > 0) throw new Error('It stands behind samples of its family.');
        if (keyword === 'TYPE' && open.type === undefined && rest in SUFFIXES) open.type = rest as Type;
        else if (keyword === 'HELP' && open.help === undefined) open.help = unescaped(rest);
        else throw new Error('This is no description, or the second one.');
      } else {
        const sample = readSample(line);
        const suffixes = SUFFIXES[open?.type as Type] ?? [];
        if (!open || !suffixes.some(suffix => sample.name === `${open?.name}${suffix}`)) {
          throw new Error('The sample belongs to no family that is open here.');
        }
        const series = keyOf(sample.name, sample.labels);
        if (seen.has(series)) throw new Error('The series was there before.');
        seen.add(series);
        if (open.type !== 'gauge' && !(sample.value >= 0 && sample.value < Number.POSITIVE_INFINITY)) {
          throw new Error('A count is negative or no number.');
        }
        open.samples.push(sample);
      }
    } catch (error) {
      throw new Error(`${(error as Error).message} ${JSON.stringify(line)}`);
    }
  }
  close();
  return families;
}

function readSample(line: string): Sample {
  const [head = ''] = /^[^{ ]*/.exec(line) ?? [];
  if (!NAME.test(head)) throw new Error('The sample has no name.');
  const labels: Record<string, string> = {};
  let rest = line.slice(head.length);
  if (rest.startsWith('{')) {
    let separator = '{';
    do {
      const [all = '', name = '', value = ''] =
        /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"/.exec(rest.slice(1)) ?? [];
      if (all === '' || name.startsWith('__')) throw new Error('This is no label.');
      if (name in labels) throw new Error(`The label ${name} stands twice.`);
      labels[name] = unescaped(value);
      rest = rest.slice(1 + all.length);
      separator = rest[0] ?? '';
    } while (separator === ',');
    if (separator !== '}') throw new Error('The labels have no end.');
    rest = rest.slice(1);
  }
  const [, value = ''] = /^ (\S+)$/.exec(rest) ?? [];
  return { name: head, labels, value: readNumber(value) };
}

function readNumber(text: string): number {
  if (NUMBER.test(text)) return Number(text);
  const special = { '+inf': Number.POSITIVE_INFINITY, '-inf': Number.NEGATIVE_INFINITY, nan: Number.NaN };
  const found = special[text.toLowerCase() as keyof typeof special];
  if (found === undefined) throw new Error(`${text} is no number.`);
  return found;
}

/** @throws Error if a quote is bare, or something is escaped that need not be */
function unescaped(text: string): string {
  if (!/^([^"\\]|\\["\\n])*$/.test(text)) throw new Error('This is not escaped.');
  return text.replaceAll(/\\(.)/g, (_, character: string) => (character === 'n' ? '\n' : character));
}

/** Each series has rising buckets that end with all, and a sum and a count that fit. */
function checkHistogram({ name, samples }: Family): void {
  const series = Map.groupBy(samples, ({ labels: { le: _, ...labels } }) => keyOf(name, labels));
  for (const [key, all] of series) {
    const fail = (what: string) => {
      throw new Error(`The histogram ${key} ${what}.`);
    };
    const of = (suffix: string) => all.filter(sample => sample.name === name + suffix);
    const buckets = of('_bucket');
    const bounds = buckets.map(({ labels: { le = '' } }) => (BOUND.test(le) ? readNumber(le) : Number.NaN));
    const rising = (values: number[], least: number) =>
      values.every((value, at) => at === 0 || value - (values[at - 1] as number) >= least);
    if (!rising(bounds, Number.MIN_VALUE) || bounds.at(-1) !== Number.POSITIVE_INFINITY)
      fail('has bounds that do not rise');
    const counts = buckets.map(({ value }) => value);
    if (!rising(counts, 0) || !counts.every(Number.isInteger)) fail('has buckets that are not cumulative');
    if (of('_sum').length !== 1 || of('_count').length !== 1) fail('lacks its sum or its count');
    if (of('_count')[0]?.value !== counts.at(-1)) fail('has a count that is not that of its last bucket');
  }
}

function keyOf(name: string, labels: Record<string, string>): string {
  return `${name}${JSON.stringify(Object.entries(labels).sort(([a], [b]) => (a < b ? -1 : 1)))}`;
}

/** What a scrape says, to look things up in. */
export class Scrape {
  readonly families: Map<string, Family>;
  readonly samples: Sample[];

  /** @throws Error if the text is not OpenMetrics */
  constructor(text: string) {
    this.families = readOpenMetrics(text);
    this.samples = [...this.families.values()].flatMap(family => family.samples);
  }

  /** The value of a series; undefined if there is none. Labels that are left out may have any value, and are added up. */
  value(name: string, labels: Record<string, string> = {}): number | undefined {
    const found = this.samples.filter(
      sample =>
        sample.name === name && Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
    );
    return found.length === 0 ? undefined : found.reduce((sum, { value }) => sum + value, 0);
  }

  /** Every series, by its name and labels. */
  get series(): string[] {
    return this.samples.map(({ name, labels }) => keyOf(name, labels));
  }
}

/** The same in the older format of Prometheus, which its linter reads: there a counter's name has its suffix. */
export function toPrometheusText(text: string): string {
  const counters = new Set([...text.matchAll(/^# TYPE (\S+) counter$/gm)].map(([, name]) => name));
  return text
    .replace('# EOF\n', '')
    .replaceAll(/^# (TYPE|HELP) (\S+)/gm, (all, _keyword, name) => (counters.has(name) ? `${all}_total` : all));
}
