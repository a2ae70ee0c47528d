import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import dashboard from '../../operations/dashboard.json' with { type: 'json' };
import { createInstruments } from '../../src/metrics/instruments.ts';
import { startApp, type TestApp } from '../helpers/app.ts';
import { handler } from '../helpers/handling.ts';
import { Scrape, toPrometheusText } from '../helpers/openmetrics.ts';
import { signal } from '../helpers/signals.ts';

const root = join(import.meta.dirname, '../..');
const read = (file: string) => readFileSync(join(root, file), 'utf8');
const operations = read('docs/operations.md');
const alertsFile = read('operations/alerts.yaml');

/** Prometheus's own linter, where it is installed. */
const promtool = spawnSync('promtool', ['--version']).status === 0;
const linted = promtool ? '(says promtool, too)' : '(promtool is not on PATH, so it was not asked)';
const lint = (args: string[], input?: string) => {
  if (!promtool) return;
  const { status, stdout, stderr } = spawnSync('promtool', args, { input, encoding: 'utf8' });
  expect(status, stdout + stderr).toBe(0);
};

interface Alert {
  name: string;
  expr: string;
  duration: string;
  severity: string;
  summary: string;
  description: string;
  runbook: string;
}

/** No YAML library is at hand; this reads the one form in which the file is written. */
function readAlerts(yaml: string): Alert[] {
  const [head = '', ...blocks] = yaml.split(/^ {6}- alert: /m);
  expect(head).toMatch(/^(#.*\n)*groups:\n {2}- name: forumbus\n {4}rules:\n$/);
  const form = new RegExp(
    [
      /^(?<name>\w+)\n {8}expr: [>|]-\n(?<expr>(?: {10}.+\n)+)/,
      / {8}for: (?<duration>\d+[smh])\n {8}labels:\n {10}severity: (?<severity>\w+)\n {8}annotations:\n/,
      / {10}summary: "(?<summary>[^"\n]+)"\n {10}description: >-\n(?<description>(?: {12}.+\n)+)/,
      / {10}runbook_url: (?<runbook>\S+)\n$/,
    ]
      .map(part => part.source)
      .join(''),
  );
  return blocks.map(block => {
    const groups = form.exec(block)?.groups;
    if (!groups) throw new Error(`This is no alert:\n${block}`);
    return groups as unknown as Alert;
  });
}

const alerts = readAlerts(alertsFile);

/** Every metric that a PromQL expression names, with its suffix. */
function metricsIn(expr: string): string[] {
  const bare = expr
    .replaceAll(/"[^"]*"/g, '')
    .replaceAll(/\{[^}]*\}|\b(by|on|without|ignoring) ?\([^)]*\)|\[[^\]]*\]/g, '');
  return bare.match(/\b(forumbus|process|nodejs)_\w+/g) ?? [];
}

/** The labels that an expression narrows down or groups by. */
function labelsIn(expr: string): string[] {
  const grouped = [...expr.matchAll(/\b(?:by|on) ?\(([^)]*)\)/g)].flatMap(([, list = '']) => list.split(/,\s*/));
  const matched = [...expr.matchAll(/[{,]\s*(\w+)=~?"/g)].map(([, name = '']) => name);
  return [...grouped, ...matched];
}

interface Panel {
  type: string;
  title: string;
  targets?: { expr: string }[];
  gridPos: { x: number; y: number; w: number; h: number };
}
const panels: Panel[] = dashboard.panels;
const queries = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));

describe('the metrics that are written about', () => {
  let service: TestApp;
  let scrape: Scrape;
  let text: string;

  beforeAll(async () => {
    const handlers = [handler('a', () => {})];
    service = await startApp('sqlite', { config: { ROLE: 'all' }, overrides: { handlers } });
    await service.send('POST', '/control-signals', signal('guidance_request'));
    await service.send('POST', '/outbox', { topic: 'a', payload: 1 });
    const looked = async () => {
      text = (await service.send('GET', '/metrics')).body;
      scrape = new Scrape(text);
      return [
        scrape.value('forumbus_dispatch_duration_seconds_count', { outcome: 'sent' }),
        (scrape.value('forumbus_event_loop_delay_seconds_count') ?? 0) > 0,
      ];
    };
    await vi.waitFor(async () => expect(await looked()).toEqual([1, true]));
  });
  afterAll(() => service.close());

  const names = () => new Set(scrape.samples.map(({ name }) => name));
  const labels = () => new Set(['job', 'instance', ...scrape.samples.flatMap(({ labels: all }) => Object.keys(all))]);

  it(`are said in good form ${linted}`, () => {
    expect(scrape.samples.length).toBeGreaterThan(100);
    lint(['check', 'metrics'], toPrometheusText(text));
  });

  it('stand in docs/operations.md, each with its type, labels and help', () => {
    const { registry } = createInstruments();
    const documented = operations.split('\n').filter(line => /^\| `(forumbus|process|nodejs)_/.test(line));
    const made = registry.getMetricsAsArray().map(metric => {
      // The library keeps them, and has no types for them.
      const { name, type, labelNames, help } = metric as unknown as Record<'name' | 'type' | 'help', string> & {
        labelNames: string[];
      };
      const list = labelNames.map(label => `\`${label}\``).join(', ') || '(none)';
      return `| \`${name}\` | ${type} | ${list} | ${help} |`;
    });
    expect(documented).toEqual(made);
  });

  it('are all in a scrape if docs/operations.md, the dashboard or an alert names them', () => {
    const documented = [...operations.matchAll(/^\| `(\w+)` \| (\w+)/gm)]
      .filter(([, name = '']) => /^(forumbus|process|nodejs)_/.test(name))
      .map(([, name = '', type]) => (type === 'histogram' ? `${name}_count` : name));
    expect(documented.length).toBeGreaterThan(35);
    const asked = [...queries, ...alerts.map(({ expr }) => expr)].flatMap(metricsIn);
    expect(asked.length).toBeGreaterThan(60);
    expect([...documented, ...asked].filter(name => !names().has(name))).toEqual([]);
  });

  it('are asked for by labels that they have', () => {
    const asked = [...queries, ...alerts.map(({ expr }) => expr)].flatMap(labelsIn);
    expect(asked.length).toBeGreaterThan(60);
    expect(asked.filter(label => !labels().has(label))).toEqual([]);
  });

  it('are all on the dashboard', () => {
    const shown = queries.flatMap(metricsIn).map(name => name.replace(/_(bucket|sum|count)$/, ''));
    const families = [...scrape.families.values()].map(({ name, type }) =>
      type === 'counter' ? `${name}_total` : name,
    );
    expect(families.filter(name => !shown.includes(name))).toEqual([]);
  });
});

describe('operations/dashboard.json', () => {
  it('asks for its data source, and uses no other', () => {
    const [first] = dashboard.templating.list;
    expect(first).toMatchObject({ name: 'datasource', type: 'datasource', query: 'prometheus' });
    const uids = [...JSON.stringify(dashboard).matchAll(/"uid":"([^"]*)"/g)].map(([, uid]) => uid);
    expect(uids.length).toBeGreaterThan(50);
    for (const uid of uids) expect(uid).toMatch(/^\$\{datasource\}$|^forumbus$/);
    expect(dashboard.schemaVersion).toBeGreaterThanOrEqual(39);
  });

  it('has the rows that it should, and panels that do not overlap', () => {
    const rows = panels.filter(({ type }) => type === 'row').map(({ title }) => title);
    expect(rows).toEqual(['Health', 'Signals', 'Questions', 'Requests', 'Outbox', 'Worker', 'Database', 'Process']);
    const cells = panels.flatMap(({ gridPos: { x, y, w, h } }) =>
      Array.from({ length: w * h }, (_, at) => `${x + (at % w)}:${y + Math.floor(at / w)}`),
    );
    expect(new Set(cells).size).toBe(cells.length);
    for (const { gridPos } of panels) expect(gridPos.x + gridPos.w).toBeLessThanOrEqual(24);
    const ids = dashboard.panels.map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
  });
});

describe('operations/alerts.yaml', () => {
  const [, runbooks = ''] = operations.split('\n## Alerts\n');
  const [own = ''] = runbooks.split('\n## ');

  it(`is what Prometheus takes ${linted}`, () => {
    expect(new Set(alerts.map(({ name }) => name)).size).toBe(alerts.length);
    for (const { expr, severity } of alerts) {
      expect(['critical', 'warning']).toContain(severity);
      for (const [open, close] of ['()', '{}', '[]']) {
        expect(expr.split(open as string).length, expr).toBe(expr.split(close as string).length);
      }
    }
    lint(['check', 'rules', join(root, 'operations/alerts.yaml')]);
  });

  it(`fires when it should, and only then ${linted}`, () => {
    lint(['test', 'rules', join(root, 'test/metrics/alerts.yaml')]);
    // What is tried there: every alert, or nobody knows whether it can fire.
    const tried = [...read('test/metrics/alerts.yaml').matchAll(/alertname="(\w+)", alertstate/g)].map(
      ([, name]) => name,
    );
    expect(new Set(tried)).toEqual(new Set(alerts.map(({ name }) => name)));
  });

  it('has a runbook for every alert, and no other', () => {
    const headings = [...own.matchAll(/^### (\w+)$/gm)].map(([, name]) => name);
    expect(headings).toEqual(alerts.map(({ name }) => name));
    expect(alerts.map(({ runbook }) => runbook)).toEqual(
      headings.map(name => `docs/operations.md#${String(name).toLowerCase()}`),
    );
  });

  it('has runbooks that say what it means, how to look, with commands, and what to do', () => {
    const [, ...texts] = own.split(/^### /m);
    for (const text of texts) {
      expect(text).toMatch(
        /^\w+\n\n\*\*Means\.\*\* [\s\S]+\n\n\*\*Look\.\*\*[\s\S]*\n```sh\n[\s\S]+\n```\n\n\*\*Do\.\*\* /,
      );
    }
  });
});

it('docs/operations.md links only to headings that are there', () => {
  const anchors = [...operations.matchAll(/^#+ (.+)$/gm)].map(([, title = '']) =>
    title
      .toLowerCase()
      .replaceAll(/[^\w\s-]/g, '')
      .replaceAll(' ', '-'),
  );
  const links = [...operations.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor = '']) => anchor);
  expect(links.length).toBeGreaterThan(4);
  expect(links.filter(anchor => !anchors.includes(anchor))).toEqual([]);
});
