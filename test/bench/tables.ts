import { numberText } from './chart.ts';
import type { Figure, Figures } from './figures.ts';

/** A cell of a figure that was not measured. */
const NONE = '(not measured)';
const MILLION = 1e6;
const GIB = 2 ** 30;

/** Tables of the documents, by the name that their place has. */
export const tables: Record<string, (figures: Figures) => string> = {
  origin: originOf,
  figures: figuresTable,
  capacity: capacityTable,
  histories: historiesTable,
  processes: processesTable,
  reads: readsTable,
};

/** When and where each section was measured. */
function originOf({ measured }: Figures): string {
  const groups = Map.groupBy(
    Object.entries(measured),
    ([, { at, machine, rough }]) => `${at.slice(0, 10)}, ${machine}${rough ? ', a short run: rough figures' : ''}`,
  );
  const lines = [...groups].map(([text, entries]) => `- ${entries.map(([name]) => `\`${name}\``).join(', ')}: ${text}`);
  return lines.join('\n');
}

function figuresTable({ figures }: Figures): string {
  const get = (name: string) => figures[name];
  const beside = (name: string, floors: Record<string, string>) => {
    const subject = get(name);
    const parts = Object.entries(floors).flatMap(([floor, text]) => {
      const figure = get(floor);
      return subject && figure ? [`${numberText(subject.median / figure.median)} of ${text}, ${cell(figure)}`] : [];
    });
    return parts.join('; ');
  };
  const ofSignals = (load: string) =>
    beside(`a.${load}.rate`, {
      [`a.${load}.without a store`]: 'the same service without a store',
      [`a.${load}.Fastify alone`]: 'Fastify alone',
      [`a.${load}.bare statements`]: 'the bare statements',
    });
  const signals = {
    '64 mixed': 'signals/s, 64 connections, all four kinds',
    '64 completions': 'signals/s, 64 connections, completions',
    '64 mixed handled': 'the first with a handler of every event, until all are dispatched',
    '1 mixed': 'signals/s, 1 connection',
    '16 mixed': 'signals/s, 16 connections',
    '256 mixed': 'signals/s, 256 connections',
  };
  const rows = Object.entries(signals).map(([load, text]) => [text, cell(get(`a.${load}.rate`)), ofSignals(load)]);
  const more = (text: string, name: string, floors: Record<string, string> = {}) =>
    rows.push([text, cell(get(name)), beside(name, floors)]);
  more('one signal at a time, p50', 'a.1 mixed.p50', {
    'a.1 mixed.p50 of its floors': 'a request without a store and one commit',
  });
  more('CPU of a signal, 64 connections', 'a.64 mixed.cpu', {
    'a.64 mixed.cpu without a store': 'one without a store',
  });
  const peers = { 'b.peer plainjob.dispatches': 'plainjob', 'b.peer graphile-worker.dispatches': 'graphile-worker' };
  more('messages dispatched/s, 10,000 without keys', 'b.10000 messages, 0 keys', peers);
  more('messages dispatched/s, 10,000 of 500 keys', 'b.10000 messages, 500 keys', peers);
  more('from the 201 to the handler, idle, p50', 'c.after the 201.p50');
  more('from the 201 to the handler, idle, p99', 'c.after the 201.p99');
  const onPostgres = {
    '64 completions': 'completions',
    '64 mixed': 'all four kinds',
    signals: 'all four kinds, a handler of every event',
  };
  for (const [load, text] of Object.entries(onPostgres)) {
    more(`PostgreSQL: signals/s, ${text}`, `f.${load}.rate`, {
      'f.peer pg-boss.enqueues': 'the jobs that pg-boss takes',
    });
  }
  more('PostgreSQL: messages dispatched/s', 'f.messages.rate', { 'f.peer pg-boss.dispatches': 'pg-boss' });
  for (const [load, text] of Object.entries(onPostgres)) {
    more(`PostgreSQL: CPU of a signal in the service, ${text}`, `f.${load}.cpu`);
    more(`PostgreSQL: CPU of a signal in the server, ${text}`, `f.${load}.server cpu`);
  }
  more('memory of the package at rest', 'e.package at rest');
  more('memory of the package under load, at most', 'e.package under load');
  more('memory with 2,000 waiters and 1,000 streams, at most', 'e.package with waiters and streams');
  return table(['What', 'Figure', 'Beside'], rows);
}

function capacityTable({ figures }: Figures): string {
  const values = (names: [string, string], text: (figure: Figure) => string) =>
    names.map(name => (figures[name] ? text(figures[name]) : NONE));
  const perCore = ({ median }: Figure) => numberText(MILLION / median);
  const plain = (figure: Figure) => cell(figure);
  const gib = ({ median }: Figure) => `${numberText((median * MILLION) / GIB)} GiB`;
  const kib = ({ median }: Figure) => `${numberText(median / 1024)} KiB`;
  const rows: [string, string[], string][] = [
    [
      'signals/s for a core of the service',
      values(['a.64 mixed.cpu', 'f.64 mixed.cpu'], perCore),
      '1 s ÷ CPU of a signal (`/proc/<pid>/stat`), 64 connections',
    ],
    [
      'signals/s for a core of the database server',
      ['(none)', ...values(['', 'f.64 mixed.server cpu'], perCore).slice(1)],
      'the same, of the server with all its backends',
    ],
    [
      'signals/s for a core of the service, with a handler',
      values(['a.64 mixed handled.cpu', 'f.signals.cpu'], perCore),
      '1 s ÷ CPU of a signal (`/proc/<pid>/stat`), 64 connections',
    ],
    [
      'signals/s for a core of the database server, with a handler',
      ['(none)', ...values(['', 'f.signals.server cpu'], perCore).slice(1)],
      'the same, of the server with all its backends',
    ],
    [
      'signals/s that one process stored and dispatched',
      values(['a.64 mixed handled.rate', 'f.signals.rate'], plain),
      'client, service and server on the cores of this machine',
    ],
    [
      'statements of a signal, with a handler',
      values(['a.counted handled.statements', 'f.counted handled.statements'], ({ median }) => numberText(median)),
      'counted at the driver; one that several signals share counts once',
    ],
    [
      'log written for a signal, with a handler',
      values(['a.counted handled.log', 'f.counted handled.log'], kib),
      'pages of the SQLite log; `pg_stat_wal`',
    ],
    [
      'disk for a million signals, no subscriber',
      values(['a.counted.growth', 'f.counted.growth'], gib),
      'growth of the database ÷ signals',
    ],
    [
      'disk for a million signals, a subscriber of every event',
      values(['a.counted handled.growth', 'f.counted handled.growth'], gib),
      'the same, with deliveries that are kept',
    ],
    ['memory of a waiter', [cell(figures['e.waiter']), 'the same'], 'resident memory before and after 2,000'],
    ['memory of a stream', [cell(figures['e.stream']), 'the same'], 'resident memory before and after 1,000'],
    [
      'memory of a stream of all events while signals come in',
      [cell(figures['e.stream with signals']), 'the same'],
      'the highest resident memory while two connections send signals',
    ],
  ];
  return table(
    ['What', 'SQLite', 'PostgreSQL', 'Measured as'],
    rows.map(([what, cells, how]) => [what, ...cells, how]),
  );
}

function historiesTable({ figures }: Figures): string {
  const rows = {
    'signals, 64 connections': 'signals/s, 64 connections, until every event is dispatched',
    dispatches: 'messages dispatched/s, 10,000 of 500 keys',
    'dispatches behind a failing head': 'the same, behind 100,000 messages whose first fails again and again',
    'speed from the request to the handler': 'speed from the request to the handler, idle, p50',
  };
  const share = (name: string) => cell(figures[`${name}, of an empty database`]);
  return table(
    ['Times that of an empty database', 'SQLite', 'PostgreSQL'],
    Object.entries(rows).map(([name, text]) => [text, share(`d.${name}`), share(`d.postgres ${name}`)]),
  );
}

/** One process and two on PostgreSQL: on all cores, and with a share of a core for each. */
function processesTable({ figures }: Figures): string {
  const columns = {
    'One process': 'f.signals',
    'Two processes': 'f.signals of two processes',
    'One with a quarter of a core': 'f.signals, a quarter of a core',
    'Two with a quarter each': 'f.signals of two processes, a quarter of a core',
  };
  const keys = Object.values(columns);
  const row = (what: string, name: string) => [what, ...keys.map(key => cell(figures[`${key}.${name}`]))];
  const ofOne = keys.map((key, at) => {
    const [one, two] = [figures[`${keys[at - 1]}.rate`], figures[`${key}.rate`]];
    return at % 2 === 1 && one && two ? numberText(two.median / one.median) : '';
  });
  // There is no second service to measure beside one.
  const second = (what: string, name: string) => row(what, name).map((text, at) => (at % 2 === 1 ? '' : text));
  return table(
    ['What', ...Object.keys(columns)],
    [
      row('signals/s, every event dispatched', 'rate'),
      ['times those of one', ...ofOne],
      row('CPU of a signal in the first service', 'service 1 cpu'),
      second('CPU of a signal in the second service', 'service 2 cpu'),
      row('CPU of a signal in the database server', 'server cpu'),
      row('CPU of a signal in the client', 'client cpu'),
      row('cores that the first service used', 'service 1 cores'),
      second('cores that the second service used', 'service 2 cores'),
      row('cores that the database server used', 'server cores'),
      row('of all cores of the machine, idle', 'idle'),
    ],
  );
}

function readsTable({ figures }: Figures): string {
  const names = Object.keys(figures).flatMap(name => /^d\.read (.*)\.p50$/.exec(name)?.[1] ?? []);
  const of = (name: string) => [cell(figures[`${name}.p50`]), cell(figures[`${name}.by a short history`])];
  const rows = names.map(name => [name, ...of(`d.read ${name}`), ...of(`d.postgres read ${name}`)]);
  const times = 'Times that with a short history';
  return table(['Read', 'SQLite, p50', times, 'PostgreSQL, p50', times], rows);
}

function cell(figure: Figure | undefined): string {
  if (!figure) return NONE;
  const unit = figure.unit === '/s' || figure.unit === '' ? '' : ` ${figure.unit}`;
  const range = figure.least === figure.most ? '' : ` (${numberText(figure.least)} to ${numberText(figure.most)})`;
  return `${numberText(figure.median)}${unit}${range}`;
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
