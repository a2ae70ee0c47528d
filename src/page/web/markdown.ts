import { html } from 'htm/preact';
import { Lexer, type Token, type Tokens } from 'marked';
import type { ComponentChildren } from 'preact';
import { visible } from './text.ts';

/**
 * Shows a text of an agent as Markdown. The lexer's tokens become elements one by one, from a fixed list of elements.
 * No HTML is ever parsed, so none of the text can become an element, an attribute or a request.
 */
export function Markdown({ text }: { text: string }) {
  const shown = visible(text);
  return html`<div class="md">${blocks(lexed(shown) ?? [plain(shown)])}</div>`;
}

/** The lexer takes time quadratic in the length of a paragraph, and in its depth. Characters; milliseconds. */
const PARAGRAPH = 2000;
const BUDGET_MS = 100;
const DEEP = /^[ \t>*+-]{80,}/m;

/** Leaves the inline marks of a paragraph alone once that costs too much. */
class ThriftyLexer extends Lexer {
  readonly #end = performance.now() + BUDGET_MS;

  override inlineTokens(src: string, tokens: Token[] = []): Token[] {
    if (src.length <= PARAGRAPH && performance.now() < this.#end) return super.inlineTokens(src, tokens);
    tokens.push({ type: 'text', raw: src, text: src });
    return tokens;
  }
}

/** Undefined if the text is too deep for the lexer. */
function lexed(text: string): Token[] | undefined {
  if (DEEP.test(text)) return undefined;
  try {
    return new ThriftyLexer({ gfm: true, breaks: true }).lex(text);
  } catch {
    return undefined;
  }
}

const plain = (text: string): Tokens.Code => ({ type: 'code', raw: text, text });

const blocks = (tokens: Token[] = []): ComponentChildren => tokens.map(block);
const inlines = (tokens: Token[] = []): ComponentChildren => tokens.map(inline);

function block(token: Token): ComponentChildren {
  switch (token.type) {
    case 'heading':
      // The page has headings of its own.
      return html`<p><strong>${inlines(token.tokens)}</strong></p>`;
    case 'paragraph':
      return html`<p>${inlines(token.tokens)}</p>`;
    case 'code':
      return html`<pre tabindex="0"><code>${token.text}</code></pre>`;
    case 'blockquote':
      return html`<blockquote>${blocks(token.tokens)}</blockquote>`;
    case 'list':
      return list(token as Tokens.List);
    case 'table':
      return table(token as Tokens.Table);
    case 'hr':
      return html`<hr />`;
    case 'space':
    case 'def':
      return null;
    case 'html':
      return html`<p>${token.raw.trim()}</p>`;
    default:
      return inline(token);
  }
}

function list({ items, ordered, start }: Tokens.List): ComponentChildren {
  const rows = items.map(
    item =>
      html`<li>${item.task ? (item.checked ? '☑ ' : '☐ ') : ''}${blocks(item.tokens.filter(({ type }) => type !== 'checkbox'))}</li>`,
  );
  return ordered ? html`<ol start=${start || 1}>${rows}</ol>` : html`<ul>${rows}</ul>`;
}

function table({ header, rows }: Tokens.Table): ComponentChildren {
  return html`<div class="wide" tabindex="0"><table>
    <thead><tr>${header.map(cell => html`<th scope="col">${inlines(cell.tokens)}</th>`)}</tr></thead>
    <tbody>${rows.map(row => html`<tr>${row.map(cell => html`<td>${inlines(cell.tokens)}</td>`)}</tr>`)}</tbody>
  </table></div>`;
}

function inline(token: Token): ComponentChildren {
  switch (token.type) {
    case 'strong':
      return html`<strong>${inlines(token.tokens)}</strong>`;
    case 'em':
      return html`<em>${inlines(token.tokens)}</em>`;
    case 'del':
      return html`<del>${inlines(token.tokens)}</del>`;
    case 'codespan':
      return html`<code>${token.text}</code>`;
    case 'br':
      return html`<br />`;
    case 'link':
      return link(token.href, inlines(token.tokens));
    case 'image':
      // Nothing is loaded from elsewhere.
      return link(token.href, `image: ${token.text || token.href}`);
    case 'escape':
      return token.text;
    case 'text':
      return 'tokens' in token && token.tokens ? inlines(token.tokens) : decoded(token.text);
    default:
      return token.raw;
  }
}

/** A link to the web or to a mailbox; any other one is its text. */
function link(href: string, children: ComponentChildren): ComponentChildren {
  const url = URL.canParse(href) ? new URL(href) : undefined;
  if (!url || !['http:', 'https:', 'mailto:'].includes(url.protocol)) return children;
  return html`<a href=${url.href} title=${url.href} target="_blank" rel="noopener noreferrer">${children}</a>`;
}

const ENTITIES = new Map(Object.entries({ amp: '&', lt: '<', gt: '>', quot: '"', nbsp: '\u00a0', '#39': "'" }));

/** The entities that agents write; all others stay as they are. */
function decoded(text: string): string {
  return text.replace(/&(#39|\w+);/g, (found, name: string) => ENTITIES.get(name) ?? found);
}
