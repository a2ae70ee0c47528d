import { execFile } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it, onTestFinished } from 'vitest';
import { startApp } from '../helpers/app.ts';

/*
 * The conformance suite of the protocol against the service. Most of its scenarios call tools, prompts and resources that a
 * server built for the suite has; those do not apply, for the reasons below. All others pass.
 */

const cli = fileURLToPath(new URL('../../node_modules/.bin/conformance', import.meta.url));

const fixture = 'calls a tool that only a server built for the suite has';
const prompts = 'there are no prompts, and the server does not declare them';
const resources = 'there are no resources, and the server does not declare them';
const logging = 'the server sends no log, and does not declare it';
const sessions = 'resuming a stream needs sessions; here a repeated ask goes on waiting';
const tasks = 'the extension for tasks is not declared; a pending question is a normal result';

/** Scenarios that do not apply as a whole. */
const inapplicable: Record<string, string> = {
  'logging-set-level': logging,
  'completion-complete': 'there is nothing to complete, and the server does not declare it',
  'tools-call-simple-text': fixture,
  'tools-call-image': fixture,
  'tools-call-audio': fixture,
  'tools-call-embedded-resource': fixture,
  'tools-call-mixed-content': fixture,
  'tools-call-with-logging': fixture,
  'tools-call-error': fixture,
  'tools-call-with-progress': fixture,
  'tools-call-sampling': fixture,
  'tools-call-elicitation': fixture,
  'json-schema-2020-12': fixture,
  'elicitation-sep1034-defaults': fixture,
  'elicitation-sep1330-enums': fixture,
  'resources-list': resources,
  'resources-read-text': resources,
  'resources-read-binary': resources,
  'resources-templates-read': resources,
  'resources-subscribe': resources,
  'resources-unsubscribe': resources,
  'prompts-list': prompts,
  'prompts-get-simple': prompts,
  'prompts-get-with-args': prompts,
  'prompts-get-embedded-resource': prompts,
  'prompts-get-with-image': prompts,
  'http-custom-header-server-validation': 'no argument of a tool is declared as a header',
  'input-required-result-basic-elicitation': fixture,
  'input-required-result-basic-sampling': fixture,
  'input-required-result-basic-list-roots': fixture,
  'input-required-result-request-state': fixture,
  'input-required-result-multiple-input-requests': fixture,
  'input-required-result-multi-round': fixture,
  'input-required-result-non-tool-request': prompts,
  'input-required-result-result-type': fixture,
  'input-required-result-tampered-state': fixture,
  'input-required-result-capability-check': fixture,
  'sep-2640-skills-directory': 'the extension for skills is not declared',
  'sep-2640-skills-enumeration': 'the extension for skills is not declared',
  'sep-2640-skills-manifest': 'the extension for skills is not declared',
  'tasks-lifecycle': tasks,
  'tasks-capability-negotiation': tasks,
  'tasks-wire-fields': tasks,
  'tasks-request-state-removal': tasks,
  'tasks-mrtr-input': tasks,
  'tasks-request-headers': tasks,
  'tasks-dispatch-and-envelope': tasks,
  'tasks-required-task-error': tasks,
  'tasks-mrtr-composition': tasks,
};

/** Checks that do not apply, of scenarios that do. */
const inapplicableChecks: Record<string, string> = {
  'sep-2575-server-rejects-undeclared-capability': fixture,
  'sep-2575-missing-capability-http-400': fixture,
  'sep-2575-http-server-no-independent-requests-on-stream': fixture,
  'sep-2575-server-no-log-without-loglevel': fixture,
  'sep-2322-missing-response-rerequests': fixture,
  'sep-2322-ignore-unexpected-params': fixture,
  'sep-2164-error-code': resources,
  'sep-2164-data-uri': resources,
  'server-sse-multiple-streams-session': sessions,
  'server-sse-polling-session': sessions,
  'server-sse-priming-event': sessions,
  'server-sse-retry-field': sessions,
  'sep-2549-prompts-list-caching-hints': prompts,
  'sep-2549-resources-list-caching-hints': resources,
  'sep-2549-resources-templates-list-caching-hints': resources,
};

interface Check {
  id: string;
  status: 'SUCCESS' | 'FAILURE' | 'WARNING' | 'SKIPPED' | 'INFO';
  errorMessage?: string;
}

/** Runs the suite of a revision. @returns the checks of each scenario */
async function conformance(url: string, revision: string): Promise<Map<string, Check[]>> {
  const folder = await mkdtemp(join(tmpdir(), 'forumbus-conformance-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const args = ['server', '--url', url, '--suite', 'all', '--spec-version', revision, '--output-dir', folder];
  // It ends with 1 as soon as one check fails; the files say which.
  await promisify(execFile)(process.execPath, [cli, ...args]).catch(() => {});
  const scenarios = new Map<string, Check[]>();
  for (const name of await readdir(folder)) {
    // server-<scenario>-<time>
    const [, scenario = name] = /^server-(.+)-\d{4}-\d{2}-\d{2}T[\d-]+Z$/.exec(name) ?? [];
    scenarios.set(scenario, JSON.parse(await readFile(join(folder, name, 'checks.json'), 'utf8')));
  }
  return scenarios;
}

describe.each([
  { revision: '2026-07-28', least: 35 },
  { revision: '2025-11-25', least: 30 },
])('the conformance suite of revision $revision', ({ revision, least }) => {
  // Some of its requests drop the query of the URL, so the agent's server is seen by all others.
  it.each([
    { who: 'operators', query: '', dropped: [] },
    { who: 'an agent', query: '?run=run-1&agent=builder', dropped: ['http-header-validation'] },
  ])('passes for $who, but for scenarios that do not apply', async ({ query, dropped }) => {
    const service = await startApp('sqlite');
    onTestFinished(service.close);
    const url = `${await service.app.listen({ port: 0, host: '127.0.0.1' })}/mcp${query}`;
    const scenarios = await conformance(url, revision);
    expect(scenarios.size).toBeGreaterThanOrEqual(least);
    const failures: string[] = [];
    let passed = 0;
    for (const [scenario, checks] of scenarios) {
      if (dropped.includes(scenario)) continue;
      const failed = checks.filter(({ status }) => status === 'FAILURE' || status === 'WARNING');
      // An excuse that is not needed is a mistake.
      if (inapplicable[scenario]) {
        if (failed.length === 0) failures.push(`${scenario} passes, so it applies`);
        continue;
      }
      const real = failed.filter(({ id }) => !inapplicableChecks[id]);
      failures.push(...real.map(({ id, errorMessage }) => `${scenario}: ${id}: ${errorMessage}`));
      if (real.length === 0) passed += 1;
    }
    expect(failures).toEqual([]);
    expect(passed).toBeGreaterThan(3);
  });
});
