import { describe, expect, it } from 'vitest';
import { type Block, blocksOf, type Page, pages } from './markdown.ts';
import { follow, type Ran } from './reader.ts';

/** What is another one each time: what a page leaves out, ids, times, the head of a log line, tokens, hashes. */
const VOLATILE =
  /…|\b(?:sig|q|evt|msg|thr)_[0-9a-f]{32}|\d{4}-\d\d-\d\dT[\d:.]+Z|\bfbt_\w+|\b[0-9a-f]{16}(?:[0-9a-f]{16})?\b/u;

/** Line breaks and indentation make an answer readable; they are no part of it. */
const squeezed = (text: string) => text.replaceAll(/\s/g, '');

/** The pieces of a printed output that are the same each time. */
const stable = (code: string) =>
  code
    .split(VOLATILE)
    .map(squeezed)
    .filter(piece => piece.length > 3);

/** The blocks that show what the command block before them prints, each with what that has really printed. */
function shown(page: Page, ran: Ran[]): { block: Block; output: string }[] {
  const blocks = blocksOf(page);
  return blocks.flatMap((block, index) => {
    const before = ran.find(({ block: { line } }) => line === blocks[index - 1]?.line);
    return before && ['text', 'json'].includes(block.language) ? [{ block, output: squeezed(before.output) }] : [];
  });
}

/** Which blocks are passed over, by reason. */
function notRun(commands: Block[]): string {
  const skipped = Object.groupBy(
    commands.filter(({ keyword }) => keyword === 'skip'),
    ({ argument }) => argument,
  );
  const reasons = Object.entries(skipped).map(
    ([reason, blocks = []]) => `${reason}: line ${blocks.map(({ line }) => line).join(', ')}`,
  );
  return reasons.length === 0 ? '' : ` (not run, ${reasons.join('; ')})`;
}

const withCommands = pages
  .map(page => ({ page, commands: blocksOf(page).filter(({ language }) => language === 'sh') }))
  .filter(({ commands }) => commands.length > 0);

/** A page that backs up, restores and looks into everything takes a while where other tests run, too. Milliseconds. */
const TIMEOUT_MS = 180_000;

describe('the commands of a page do what it says', { timeout: TIMEOUT_MS }, () => {
  for (const { page, commands } of withCommands) {
    it.concurrent(`${page.name}${notRun(commands)}`, async ({ onTestFinished }) => {
      for (const { line, keyword, argument } of commands) {
        expect(['', 'service', 'skip', 'refused'], `${page.name}:${line}`).toContain(keyword);
        expect(['skip', 'refused'].includes(keyword), `${page.name}:${line}`).toBe(argument !== '');
      }
      const ran = await follow(page, onTestFinished);
      for (const { block, output } of shown(page, ran)) {
        const missing = stable(block.code).filter(piece => !output.includes(piece));
        expect(missing, `${page.name}:${block.line} shows what is not printed in\n${output}\n`).toEqual([]);
      }
    });
  }
});

describe('a page is found out', () => {
  const faults: [name: string, info: string, code: string, reason: RegExp][] = [
    ['a command fails', 'sh', 'true\nls nowhere\ntrue', /made-up\.md:1 fails with exit code 2:.*nowhere/s],
    ['a command fails inside a pipe', 'sh', 'ls nowhere | cat', /fails with exit code 2/],
    ['a command that should be refused succeeds', 'sh refused: NOT_FOUND', 'echo fine', /fine\nThis succeeds\./],
    ['a refusal has another code', 'sh refused: NOT_FOUND', `echo '{"code":"OTHER"}'; false`, /refused with NOT_FOUND/],
    ['a service ends before it listens', 'sh service', 'echo no port', /ends before it listens:\nno port/],
  ];
  it.concurrent.for(faults)('if %s', async ([, info, code, reason], { onTestFinished }) => {
    const page = { name: 'made-up.md', text: `\`\`\`${info}\n${code}\n\`\`\`\n` };
    await expect(follow(page, onTestFinished)).rejects.toThrow(reason);
  });

  it.concurrent('if an HTTP request is answered with an error', async ({ onTestFinished }) => {
    const page = { name: 'made-up.md', text: '```sh\ncurl -s localhost:4010/nothing\n```\n' };
    await expect(follow(page, onTestFinished)).rejects.toThrow(/exit code 22:.*"code":"NOT_FOUND"/s);
  });
});
