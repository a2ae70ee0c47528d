import { bridge } from '../../src/mcp/stdio.ts';

/* The bridge as a process of its own: `node bridge.ts <url> [token]`. */

const [url = '', token] = process.argv.slice(2);
await bridge({ urlFor: () => url, token, input: process.stdin, output: process.stdout });
