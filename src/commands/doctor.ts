import { diagnose } from '../doctor/diagnose.ts';
import type { Finding } from '../doctor/finding.ts';
import { StartError } from '../errors.ts';
import { createLogger, logWarnings } from '../logging.ts';
import { answerHelp, readArguments } from './command.ts';

/*
 * The command behind `npm run doctor`: says how the service is, beside it or in its absence, on stdout for people, with
 * --json for programs. The exit code is 1 if there is a problem. It ends the process itself, since a handler's module that
 * was loaded may keep a timer or a connection.
 */

const USAGE = 'npm run doctor [-- --json]';
await answerHelp(
  USAGE,
  'Checks settings, handlers, database and messages, also while the service runs. 1 if there is a problem.',
);

const log = createLogger('silent');
logWarnings(log);

function inLines(findings: Finding[]): string {
  return findings
    .map(({ level, check, finding, advice }) => {
      const text = `${level.padEnd(7)}  ${check.padEnd(9)}  ${finding}${advice ? ` ${advice}` : ''}`;
      // One line each, whatever a handler's error or a topic holds.
      return `${text.replaceAll(/\s*\n\s*/g, ' ')}\n`;
    })
    .join('');
}

function end(stream: NodeJS.WriteStream, text: string, code: number): void {
  stream.write(text, () => process.exit(code));
}

try {
  const { values } = readArguments(USAGE, 0, { json: { type: 'boolean', default: false } });
  const findings = await diagnose(process.env, log);
  const code = findings.some(({ level }) => level === 'problem') ? 1 : 0;
  end(process.stdout, values.json ? `${JSON.stringify({ findings })}\n` : inLines(findings), code);
} catch (error) {
  if (!(error instanceof StartError)) throw error;
  end(process.stderr, `${error.message}\n`, 1);
}
