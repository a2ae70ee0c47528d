import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished } from 'vitest';

/** A message as the browser gets it, and what its sender says. */
interface PushMessage {
  path: string;
  ttl: string;
  urgency: string;
  topic: string;
  /** Null if the signature is wrong. */
  sender: { key: string; aud: string; exp: number; sub: string } | null;
  message: { title: string; body: string; tag: string; hash: string };
}

/** Starts a push service with one browser, for one test. */
export async function startPushService() {
  const child = spawn(process.execPath, [join(import.meta.dirname, 'push-service-process.ts')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  onTestFinished(async () => {
    child.stdin.end();
    await exited;
  });
  const lines = createInterface({ input: child.stdout });
  const [first] = (await once(lines, 'line')) as [string];
  const subscription: { endpoint: string; keys: { p256dh: string; auth: string } } = JSON.parse(first);
  const messages: PushMessage[] = [];
  lines.on('line', line => {
    const said = JSON.parse(line);
    if (said.message) messages.push(said);
  });
  return {
    subscription,
    messages,
    /** Sets the status of its answers. */
    async answer(status: number): Promise<void> {
      child.stdin.write(`${status}\n`);
      await once(lines, 'line');
    },
  };
}
