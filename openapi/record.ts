import { createHash } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { Recorder } from './recorder.ts';
import { tellStory } from './story.ts';

/* Records the examples of the OpenAPI document (openapi/examples.json); with --check it only compares. */

const file = join(import.meta.dirname, 'examples.json');

/** Metrics of a whole service are long; one says what they look like. */
const SHOWN_METRIC = /^(# (HELP|TYPE) )?forumbus_streams\b.*\n|^# EOF\n/gm;

/** The examples, as text of the file. */
export async function record(): Promise<string> {
  const recorder = new Recorder();
  await tellStory(recorder);
  await recorder.end();
  const { operations, problems, webhook } = recorder.examples;
  const metrics = operations.getMetrics?.responses[200] ?? {};
  for (const [type, text] of Object.entries(metrics)) {
    metrics[type] = (String(text).match(SHOWN_METRIC) ?? []).join('');
  }
  // All of it is shown by the service itself.
  const map = operations.getLlms?.responses[200] ?? {};
  for (const [type, text] of Object.entries(map)) map[type] = String(text).split('\n## ')[0];
  const sorted = Object.fromEntries(Object.entries(problems).sort(([a], [b]) => (a < b ? -1 : 1)));
  return steady(`${JSON.stringify({ operations, problems: sorted, webhook }, null, 2)}\n`);
}

/**
 * Replaces what differs from run to run by what looks like it: ids and secrets in the order in which they appear, the
 * machine's names, and durations.
 */
function steady(text: string): string {
  const replaced = new Map<string, string>();
  /** The same for the same value. @param make of a number, which counts the values */
  const constant = (value: string, make: (number: number) => string) => {
    const known = replaced.get(value) ?? make(replaced.size + 1);
    replaced.set(value, known);
    return known;
  };
  const hash = (number: number) => createHash('sha256').update(`example ${number}`).digest();
  const hex = (length: number) => (value: string) =>
    constant(value, number => hash(number).toString('hex').slice(0, length));
  const worker = `${hostname()}-${process.pid}`.replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
  return (
    text
      .replaceAll(new RegExp(`${worker}-[0-9a-f]{8}`, 'g'), 'forumbus-1-5f0c1d2e')
      .replaceAll(/http:\/\/127\.0\.0\.1:\d+\//g, 'https://hooks.example.com/')
      .replaceAll(
        /(?<=fbt_)[0-9a-f]{16}(?=_)|(?<=\btoken )[0-9a-f]{16}\b|(?<=token_id\\?": ?\\?")[0-9a-f]{16}/g,
        hex(16),
      )
      .replaceAll(/(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])/g, hex(64))
      .replaceAll(/(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])/g, value =>
        constant(value, number => `019a3f6e2b7c7d0f8a4c${String(number).padStart(12, '0')}`),
      )
      .replaceAll(/whsec_[\w+/=]+/g, value => constant(value, number => `whsec_${hash(number).toString('base64')}`))
      .replaceAll(/(?<=#login=|"code": "|"public_key": ")[\w-]{43,}/g, value =>
        constant(value, number => hash(number).toString('base64url').repeat(3).slice(0, value.length)),
      )
      .replaceAll(/(?<="duration_ms": )\d+/g, '12')
      // Both are stored a second after what they tell of, or later on a busy machine.
      .replaceAll(/(?<="last_used_at": )"[^"]+"/g, 'null')
      .replaceAll(/(?<="last_seen_at": ")[^"]+/g, '2026-11-22T09:00:29.000Z')
      .replaceAll(/(?<="node": ")[^"]+/g, '24.16.0')
  );
}

if (import.meta.main) {
  const text = await record();
  if (!process.argv.includes('--check')) {
    await writeFile(file, text);
  } else if ((await readFile(file, 'utf8')) !== text) {
    process.stderr.write('openapi/examples.json is stale; run `npm run openapi`.\n');
    process.exitCode = 1;
  }
}
