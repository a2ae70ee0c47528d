import { html } from 'htm/preact';
import { useState } from 'preact/hooks';
import { Markdown } from './markdown.ts';

/** A longer context is folded. Characters; lines. */
const FOLDED = { length: 600, lines: 8 };

/**
 * The context of a question. What is unfolded is built aside. Each part that is put into a shown text has all
 * of that looked through for its direction.
 */
export function ContextText({ text, open = false }: { text: string; open?: boolean }) {
  const isLong = text.length > FOLDED.length || text.split('\n').length > FOLDED.lines;
  const [isOpen, setOpen] = useState(open || !isLong);
  const shown = isOpen ? text : headOf(text);
  return html`<div class="ctx" dir="auto">
    <${Markdown} key=${isOpen} text=${shown} />
    ${
      isLong &&
      html`<button type="button" class="more" aria-expanded=${isOpen} onClick=${() => setOpen(!isOpen)}>
      ${isOpen ? 'Show less' : `Show all (${text.length.toLocaleString()} characters)`}</button>`
    }
  </div>`;
}

/** The first lines of a text, with its code fence closed. */
function headOf(text: string): string {
  const head = text.slice(0, FOLDED.length).split('\n').slice(0, FOLDED.lines).join('\n').toWellFormed().trimEnd();
  const fences = head.match(/^ {0,3}```/gm)?.length ?? 0;
  if (fences % 2 === 1) return `${head}\n…\n\`\`\``;
  // With anything behind it, the line of a fence closes nothing.
  return `${head}${head.endsWith('```') ? '\n\n' : ''}…`;
}
