import { expect, it } from 'vitest';
import { permissions } from '../../src/access/permissions.ts';
import { settings } from '../../src/config.ts';
import { problemTable } from '../../src/errors.ts';
import { eventSchemas } from '../../src/events/event-types.ts';
import { formatFields } from '../../src/webhooks/schemas.ts';
import { pageOf, tableOf } from './markdown.ts';

it('docs/configuration.md lists every setting with its default and meaning', () => {
  expect(tableOf(pageOf('docs/configuration.md'), ['Name', 'Default', 'Meaning'])).toEqual(
    settings.map(({ name, default: fallback, description }) => [
      `\`${name}\``,
      fallback === '' ? '(none)' : `\`${fallback}\``,
      description,
    ]),
  );
});

it('docs/errors.md lists every code with its status and title', () => {
  expect(tableOf(pageOf('docs/errors.md'), ['Code', 'Status', 'Title'])).toEqual(
    Object.entries(problemTable).map(([code, { status, title }]) => [`\`${code}\``, String(status), title]),
  );
});

it('docs/access.md lists what each role may do', () => {
  const said = (allowed: boolean) => (allowed ? 'yes' : 'no');
  const head = ['Operation', 'agent', 'viewer', 'operator', 'with `--runs`', 'admin', 'without a token'];
  expect(tableOf(pageOf('docs/access.md'), head)).toEqual(
    Object.entries(permissions).map(([operation, rule]) => [
      `\`${operation}\``,
      ...(rule === 'anybody'
        ? ['yes', 'yes', 'yes', 'yes', 'yes', 'yes']
        : [rule.agent, said(rule.viewer), said(rule.operator), rule.ofRuns ? 'its runs' : 'no', 'yes', 'no']),
    ]),
  );
});

it('docs/webhooks.md lists the settings of every channel', () => {
  const head = [
    ...['`format`', '`url` if it is left out', 'Needs `settings`', 'Takes `settings`', 'Buttons'],
    'When the question has ended',
  ];
  const namesIn = (cell = '') => [...cell.matchAll(/`([^`]+)`/g)].map(([, name]) => name);
  const rows = tableOf(pageOf('docs/webhooks.md'), head).map(cells => cells.slice(0, 4).map(namesIn));
  const { standard: _, ...channels } = formatFields;
  expect(rows).toEqual(
    Object.entries(channels).map(([format, { url, needs, takes }]) => [[format], url ? [url] : [], needs, takes]),
  );
});

it('docs/api.md lists every event type with the fields of its payload', () => {
  const namesIn = (cell = '') => [...cell.matchAll(/`([\w.]+)`/g)].map(([, name]) => name);
  const rows = tableOf(pageOf('docs/api.md'), ['Event', 'Its `payload`']);
  const listed = rows.flatMap(([types, fields]) => namesIn(types).map(type => [type, namesIn(fields).toSorted()]));
  // A signal is described elsewhere, and what is cut or erased below the table.
  const described = eventSchemas.map(({ properties: { event_type, payload } }) => {
    const fields = 'properties' in payload ? Object.keys(payload.properties) : [];
    return [event_type.const, fields.filter(name => name !== 'erased' && !name.endsWith('_truncated')).toSorted()];
  });
  expect(Object.fromEntries(listed)).toEqual(Object.fromEntries(described));
});
