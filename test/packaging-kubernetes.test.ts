import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import openapi from '../openapi/openapi.json' with { type: 'json' };
import packageJson from '../package.json' with { type: 'json' };
import { settings } from '../src/config.ts';

/*
 * No cluster is at hand. This reads the manifests as YAML and holds them against the service: probes that exist, ports that
 * are listened on, times that suffice, names that fit together, and a sandbox.
 */

// biome-ignore lint/suspicious/noExplicitAny: what a manifest holds is what this looks at
type Any = any;

const root = join(import.meta.dirname, '..');
const read = (file: string) => readFile(join(root, file), 'utf8');
const dockerfile = await read('Dockerfile');
const settingOf = (name: string) => settings.find(setting => setting.name === name)?.default ?? '';

/** The objects of a manifest by kind; each kind comes once. */
function objectsOf(text: string): Record<string, Any> {
  const documents = parseAllDocuments(text, { strict: true });
  if ('empty' in documents) throw new Error('The manifest is empty.');
  expect(documents.flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual([]);
  const objects = documents.map(document => document.toJS());
  const kinds = Object.fromEntries(objects.map(object => [object.kind, object]));
  expect(Object.keys(kinds)).toHaveLength(objects.length);
  return kinds;
}

/** Everything that is wrong with the deployment of a manifest, a sentence each. */
function faultsOf({ Deployment, Service, PersistentVolumeClaim }: Record<string, Any>): string[] {
  const pod = Deployment.spec.template.spec;
  const [container, ...others] = pod.containers;
  const faults: string[] = [];
  const must = (holds: unknown, sentence: string) => {
    if (holds !== true) faults.push(sentence);
  };
  must(others.length === 0, 'There is one container.');

  const [, exposed] = /^EXPOSE (\d+)$/m.exec(dockerfile) ?? [];
  const ports = new Map<string, number>(container.ports.map(({ name, containerPort }: Any) => [name, containerPort]));
  must(
    String(ports.get('http')) === exposed && exposed === settingOf('PORT'),
    'The port http is the one of the image.',
  );
  must(ports.has(Service.spec.ports[0].targetPort), 'The service names a port of the container.');
  const routes: Record<string, string> = { startupProbe: '/livez', livenessProbe: '/livez', readinessProbe: '/readyz' };
  for (const [probe, route] of Object.entries(routes)) {
    const { path, port } = container[probe]?.httpGet ?? {};
    must(path === route && path in openapi.paths, `The ${probe} asks ${route}.`);
    must(ports.has(port), `The ${probe} names a port of the container.`);
  }

  const { matchLabels } = Deployment.spec.selector;
  const fits = (labels: Any) => JSON.stringify(labels) === JSON.stringify(matchLabels);
  must(fits(Deployment.spec.template.metadata.labels), 'The selector of the deployment finds its pods.');
  must(fits(Service.spec.selector), 'The selector of the service finds its pods.');

  const [, pause = '0'] = container.lifecycle?.preStop?.exec?.command ?? [];
  const needed = Number(pause) * 1000 + Number(settingOf('SHUTDOWN_GRACE_MS')) + 2000;
  must(pod.terminationGracePeriodSeconds * 1000 > needed, 'The grace period is longer than a shutdown.');

  must(pod.securityContext.runAsNonRoot && pod.securityContext.runAsUser > 0, 'It does not run as root.');
  must(pod.securityContext.seccompProfile?.type === 'RuntimeDefault', 'System calls are filtered.');
  must(pod.automountServiceAccountToken === false, 'It has no token of the cluster.');
  must(pod.enableServiceLinks === false, 'Kubernetes sets no FORUMBUS_… variables.');
  const { securityContext: own, resources } = container;
  must(own.allowPrivilegeEscalation === false, 'It gains no privileges.');
  must(own.readOnlyRootFilesystem === true, 'Its root is read-only.');
  must(JSON.stringify(own.capabilities) === '{"drop":["ALL"]}', 'It has no capabilities.');
  must(/^\d+[MG]i$/.test(resources.limits?.memory) && /^\d+Mi$/.test(resources.requests?.memory), 'Memory is limited.');

  const volumes = pod.volumes.map(({ name }: Any) => name).toSorted();
  const mounted = container.volumeMounts.map(({ name }: Any) => name).toSorted();
  must(JSON.stringify(volumes) === JSON.stringify(mounted), 'Each volume is mounted.');
  const claims = pod.volumes.flatMap(({ persistentVolumeClaim }: Any) => persistentVolumeClaim?.claimName ?? []);
  must(JSON.stringify(claims) === JSON.stringify(PersistentVolumeClaim ? ['forumbus'] : []), 'The claim is there.');

  const names = container.env.map(({ name }: Any) => name);
  must(
    names.every((name: string) => settings.some(setting => setting.name === name)),
    'Each variable is a setting.',
  );
  const tokens = pod.volumes.find(({ name }: Any) => name === 'token')?.secret;
  const mount = container.volumeMounts.find(({ name }: Any) => name === 'token');
  const file = container.env.find(({ name }: Any) => name === 'ADMIN_TOKEN_FILE')?.value;
  must(file === `${mount?.mountPath}/${tokens?.items[0].path}`, 'ADMIN_TOKEN_FILE is in the secret.');
  must(tokens?.defaultMode === 0o440 && pod.securityContext.fsGroup > 0, 'Only the group reads the token.');
  must(container.image.endsWith(`:${packageJson.version}`), 'The image is of this version.');
  return faults;
}

const files = { sqlite: 'operations/kubernetes/sqlite.yaml', postgres: 'operations/kubernetes/postgres.yaml' };

describe.each(Object.entries(files))('the manifest for %s', async (engine, file) => {
  const text = await read(file);

  it('fits the service, and gives it nothing that it does not need', () => {
    expect(faultsOf(objectsOf(text))).toEqual([]);
  });

  it.each([
    ['path: /readyz', 'path: /health', 'The readinessProbe asks /readyz.'],
    ['path: /livez', 'path: /readyz', 'The startupProbe asks /livez.'],
    ['containerPort: 4010', 'containerPort: 8080', 'The port http is the one of the image.'],
    ['targetPort: http', 'targetPort: web', 'The service names a port of the container.'],
    [
      'terminationGracePeriodSeconds: 30',
      'terminationGracePeriodSeconds: 15',
      'The grace period is longer than a shutdown.',
    ],
    ['readOnlyRootFilesystem: true', 'readOnlyRootFilesystem: false', 'Its root is read-only.'],
    ['drop: [ALL]', 'add: [NET_ADMIN]', 'It has no capabilities.'],
    ['limits: { memory: 1Gi }', 'limits: {}', 'Memory is limited.'],
    ['defaultMode: 288', 'defaultMode: 440', 'Only the group reads the token.'],
    ['name: ADMIN_TOKEN_FILE', 'name: TOKEN_FILE', 'Each variable is a setting.'],
  ])('would be found out with %s as %s', (right, wrong, fault) => {
    expect(text).toContain(right);
    expect(faultsOf(objectsOf(text.replace(right, wrong)))).toContain(fault);
  });

  it('has as many processes as the engine allows', () => {
    const { Deployment, PersistentVolumeClaim, PodDisruptionBudget } = objectsOf(text);
    const { replicas, strategy, selector, template } = Deployment.spec;
    const url = template.spec.containers[0].env.find(({ name }: Any) => name === 'DATABASE_URL');
    if (engine === 'sqlite') {
      expect({ replicas, strategy }).toEqual({ replicas: 1, strategy: { type: 'Recreate' } });
      expect(PersistentVolumeClaim.spec.accessModes).toEqual(['ReadWriteOnce']);
      const data = template.spec.containers[0].volumeMounts.find(({ name }: Any) => name === 'data');
      expect(url.value).toBe(`sqlite:${data.mountPath}/forumbus.db`);
    } else {
      expect(replicas).toBeGreaterThan(1);
      expect(strategy.type).toBe('RollingUpdate');
      expect(PodDisruptionBudget.spec).toEqual({ maxUnavailable: 1, selector });
      // A password stands in no manifest.
      expect(url.valueFrom.secretKeyRef).toEqual({ name: 'forumbus', key: 'database-url' });
    }
  });
});
