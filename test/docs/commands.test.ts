import { describe, expect, it } from 'vitest';
import { type Block, blocksOf, type Page, pages } from './markdown.ts';
import { follow, type Ran } from './reader.ts';

/** What is another one each time: what a page leaves out, ids, times, the head of a log line, tokens, hashes. */
const VOLATILE =
  /…|\b(?:sig|q|evt|msg|thr)_[0-9a-f]{32}|\d{4}-\d\d-\d\dT[\d:.]+Z|\bfbt_\w+|\b[0-9a-f]{16}(?:[0-9a-f]{16})?\b/u;

/** Line breaks and indentation make an answer readable; they are no part of it. */
const squeezed = (text: string) => text.replaceAll(/\s/g, '');

/** The pieces of a printed output that are the same each time. */
const stable = (code: string) => code.split(VOLATILE).map(squeezed).filter(piece => piece.length > 3);

/** The blocks that show what the command block before them prints, each with what that has really printed. */
function shown(page: Page, ran: Ran[]): { block: Block; output: string }[] {
  const blocks = blocksOf(page);
  return blocks.flatMap((block, index) => {
    const before = ran.find(({ block: { line } }) => line === blocks[index - 1]?.line);
    return before && ['text', 'json'].includes(block.language) ? [{ block, output: squeezed(before.output) }] : [];
  });
}

const withCommands = pages
  .map(page => ({ page, commands: blocksOf(page).filter(({ language }) => language === 'sh') }))
  .filter(({ commands }) => commands.length > 0)
  .map(({ page, commands }) => {
    const skipped = commands.filter(({ keyword }) => keyword === 'skip');
    const reasons = skipped.map(({ line, argument }) => `line ${line}: ${argument}`).join('; ');
    return { page, commands, name: `${page.name}${reasons && ` (not run: ${reasons})`}` };
  });

describe('the commands of a page do what it says', () => {
  for (const { page, commands, name } of withCommands) {
    it.concurrent(name, async ({ onTestFinished }) => {
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
