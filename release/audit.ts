import { spawn } from 'node:child_process';

/** What the registry knows of what `npm ci --omit=dev` installs. */
export interface Audited {
  /** A sentence for each package with a known vulnerability that is high or critical. */
  faults: string[];
  /** Why nothing is known; the check is then no obstacle. */
  unchecked?: string;
}

const GRAVE = ['high', 'critical'];
/** A registry that is silent costs no more than this. Milliseconds. */
const TIMEOUT_MS = 30_000;
const OPTIONS = ['--omit=dev', '--package-lock-only', '--json', '--fetch-retries=0', `--fetch-timeout=${TIMEOUT_MS}`];

interface Report {
  auditReportVersion?: number;
  vulnerabilities?: Record<string, { severity: string; via: (string | { title: string; url: string })[] }>;
}

/**
 * Asks the registry that npm uses about known vulnerabilities. Without a network nothing is found.
 * @param clone a folder with a lock file
 * @param more options of npm
 */
export async function audit(clone: string, more: string[] = []): Promise<Audited> {
  const npm = spawn('npm', ['audit', ...OPTIONS, ...more], { cwd: clone, stdio: ['ignore', 'pipe', 'ignore'] });
  let text = '';
  npm.stdout.setEncoding('utf8').on('data', chunk => {
    text += chunk;
  });
  await new Promise((resolve, reject) => npm.on('error', reject).on('close', resolve));
  const { auditReportVersion, vulnerabilities = {} } = readReport(text);
  // The exit code is 1 as well if the registry does not answer.
  if (auditReportVersion === undefined) return { faults: [], unchecked: 'not checked: the registry did not answer' };
  const grave = Object.entries(vulnerabilities).filter(([, { severity }]) => GRAVE.includes(severity));
  return { faults: grave.map(([name, { severity, via }]) => `${name} (${severity}): ${via.map(reasonOf).join(', ')}`) };
}

function readReport(text: string): Report {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}

function reasonOf(via: string | { title: string; url: string }): string {
  return typeof via === 'string' ? `by ${via}` : `${via.title} ${via.url}`;
}
