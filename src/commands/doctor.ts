import { diagnose } from '../doctor/diagnose.ts';
import type { Finding } from '../doctor/finding.ts';
import { checkHosts } from '../doctor/hosts.ts';
import { StartError } from '../errors.ts';
import { callOf } from '../invocation.ts';
import { createLogger, logWarnings } from '../logging.ts';
import { printable } from '../printable.ts';
import { answerHelp, endWith, readArguments } from './command.ts';

/*
 * `npm run doctor`: prints the findings on stdout, one line each, or as JSON with --json. It needs no running service.
 * The exit code is 1 if there is a problem. The command calls process.exit, since a loaded handler may hold a timer
 * open.
 */

const USAGE = callOf('doctor', '[--json]');
await answerHelp(
  USAGE,
  'Checks settings, handlers, database, messages and hooks, also while the service runs. 1 if there is a problem.',
);

const log = createLogger('silent');
logWarnings(log);

function toLines(findings: Finding[]): string {
  return findings
    .map(({ level, check, finding, advice }) => {
      const text = `${level.padEnd(7)}  ${check.padEnd(9)}  ${finding}${advice ? ` ${advice}` : ''}`;
      // Topics, keys and a handler's error may contain line breaks and escapes.
      return `${printable(text.replaceAll(/\s*\n\s*/g, ' '))}\n`;
    })
    .join('');
}

try {
  const { values } = readArguments(USAGE, 0, { json: { type: 'boolean', default: false } });
  const findings = [...(await diagnose(process.env, log)), ...checkHosts({ env: process.env, cwd: process.cwd() })];
  const code = findings.some(({ level }) => level === 'problem') ? 1 : 0;
  endWith(process.stdout, values.json ? `${JSON.stringify({ findings })}\n` : toLines(findings), code);
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  endWith(process.stderr, `${error.message}\n`, 1);
}
