import { spawnSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Dialect } from './model.ts';
import { anthropic } from './model-anthropic.ts';
import { openai } from './model-openai.ts';

export type HostName = 'claude' | 'codex' | 'inspector';

/** Where a host finds itself. */
interface Place {
  home: string;
  project: string;
  /** The address of the model. */
  model: string;
}

interface Definition {
  npm: string;
  /** Its program, among those of the package. */
  bin: string;
  /** Of its model, if it has one. */
  dialect?: Dialect;
  /** The files that a person has who has used the host before, by path. */
  files(place: Place): Record<string, string>;
  env(place: Place): Record<string, string>;
}

/** No account: the scripted model takes any key. */
const KEY = 'a-key-of-no-account-0123456789abcdef';

const definitions: Record<HostName, Definition> = {
  claude: {
    npm: '@anthropic-ai/claude-code',
    bin: 'claude',
    dialect: anthropic,
    files: ({ home, project }) => ({
      [join(home, '.claude.json')]: JSON.stringify({
        hasCompletedOnboarding: true,
        theme: 'dark',
        customApiKeyResponses: { approved: [KEY.slice(-20)], rejected: [] },
        projects: { [project]: { hasTrustDialogAccepted: true, hasCompletedProjectOnboarding: true } },
      }),
      [join(project, '.claude/settings.json')]: JSON.stringify({
        permissions: { allow: ['Bash(forumbus *)', 'mcp__forumbus', 'mcp__plugin_forumbus_forumbus'] },
      }),
    }),
    env: ({ model }) => ({
      ANTHROPIC_BASE_URL: model,
      ANTHROPIC_API_KEY: KEY,
      ANTHROPIC_MODEL: 'claude-sonnet-4-5',
      CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC: '1',
      DISABLE_AUTOUPDATER: '1',
    }),
  },
  codex: {
    npm: '@openai/codex',
    bin: 'codex',
    dialect: openai,
    files: ({ home, project, model }) => ({
      [join(home, '.codex/config.toml')]: `model = "gpt-5.4"
model_provider = "scripted"

[model_providers.scripted]
name = "scripted"
base_url = "${model}/v1"
wire_api = "responses"
env_key = "SCRIPTED_KEY"

[projects."${project}"]
trust_level = "trusted"
`,
    }),
    env: () => ({ SCRIPTED_KEY: KEY }),
  },
  inspector: {
    npm: '@modelcontextprotocol/inspector',
    bin: 'mcp-inspector',
    files: () => ({}),
    env: () => ({}),
  },
};

export const hostNames = Object.keys(definitions) as HostName[];

/** A host that has been installed. */
export interface Host extends Definition {
  name: HostName;
  version: string;
  /** The folder of the package; its programs run from there. */
  folder: string;
  program: string;
}

/** Puts a host into a scratch folder by npm. @param version as npm knows it @throws Error */
export function install(name: HostName, version: string): void {
  const { npm } = definitions[name];
  const folder = folderOf(name, version);
  mkdirSync(folder, { recursive: true });
  const flags = ['--no-audit', '--no-fund', '--loglevel=error'];
  const { status } = spawnSync('npm', ['install', '--prefix', folder, ...flags, `${npm}@${version}`], {
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  if (status !== 0) throw new Error(`npm could not install ${npm}@${version}.`);
}

/** A host that {@link install} has put there. */
export function installed(name: HostName, version: string): Host {
  const definition = definitions[name];
  const folder = join(folderOf(name, version), 'node_modules');
  const manifest = JSON.parse(readFileSync(join(folder, definition.npm, 'package.json'), 'utf8'));
  return { ...definition, name, folder, version: manifest.version, program: join(folder, '.bin', definition.bin) };
}

function folderOf(name: HostName, version: string): string {
  return join(tmpdir(), 'forumbus-live', `${name}@${version}`);
}
