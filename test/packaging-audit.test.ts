import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { expect, it, onTestFinished } from 'vitest';
import { audit } from '../release/audit.ts';
import { freePort } from './helpers/ports.ts';
import { forThisTest } from './helpers/process.ts';
import { scratchFolder } from './helpers/scratch.ts';

const root = join(import.meta.dirname, '..');
const ADVISORIES = '/-/npm/v1/security/advisories/bulk';

/** A registry on loopback that knows these vulnerabilities, by package. */
async function registry(severities: Record<string, string>, status = 200) {
  const asked: string[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk);
    const { url = '' } = request;
    response.writeHead(status, { 'content-type': 'application/json' });
    if (url !== ADVISORIES) {
      const name = decodeURIComponent(url.slice(1));
      return response.end(JSON.stringify({ name, versions: {}, 'dist-tags': {} }));
    }
    asked.push(...Object.keys(JSON.parse(gunzipSync(Buffer.concat(chunks)).toString())));
    const known = Object.entries(severities).map(([name, severity]) => {
      const advisory = { id: 1, url: 'https://example.org/1', title: 'It breaks', severity, vulnerable_versions: '*' };
      return [name, [{ ...advisory, cwe: [], cvss: { score: 0, vectorString: null } }]];
    });
    response.end(JSON.stringify(Object.fromEntries(known)));
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { asked, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

/** Nothing that npm has kept answers in the place of the registry. */
async function audited(url: string) {
  const { path } = await forThisTest(scratchFolder());
  return audit(root, ['--registry', url, '--cache', path]);
}

it('a known vulnerability is found if it is high and gets installed beside the service', {
  timeout: 60_000,
}, async () => {
  const { url, asked } = await registry({
    fastify: 'high',
    'openid-client': 'critical',
    pg: 'moderate',
    vitest: 'high',
  });
  const { faults, unchecked } = await audited(url);
  expect(unchecked).toBeUndefined();
  expect(faults.filter(fault => /^(fastify|openid-client|pg|vitest) /.test(fault)).toSorted()).toEqual([
    'fastify (high): It breaks https://example.org/1',
    'openid-client (critical): It breaks https://example.org/1',
  ]);
  expect(asked).toContain('fastify');
});

it('nothing is found where nothing is known', { timeout: 60_000 }, async () => {
  expect(await audited((await registry({})).url)).toEqual({ faults: [] });
});

it.each([
  ['is away', async () => `http://127.0.0.1:${await freePort()}`],
  ['knows nothing of vulnerabilities', async () => (await registry({}, 405)).url],
])('a registry that %s is no obstacle, and the check says so', { timeout: 60_000 }, async (_case, start) => {
  const unchecked = 'not checked: the registry did not answer';
  expect(await audited(await start())).toEqual({ faults: [], unchecked });
});

// The one test that asks beyond this machine.
it.runIf(process.env.CI)('in CI, no known vulnerability is in what gets installed', { timeout: 60_000 }, async () => {
  const { faults, unchecked } = await audit(root);
  if (unchecked !== undefined) process.stdout.write(`known vulnerabilities: ${unchecked}\n`);
  expect(faults).toEqual([]);
});
