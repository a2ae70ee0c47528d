import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { stripTypeScriptTypes } from 'node:module';
import { dirname, extname, join } from 'node:path/posix';
import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { manifest } from './document.ts';

const compressed = promisify(gzip);

/** The address of an asset changes with the content of all. */
export const CACHED_FOR_EVER = 'public, max-age=31536000, immutable';

interface Asset {
  type: string;
  body: Buffer;
  gzipped: Buffer;
}

export interface Assets {
  /** The folder of all assets: a hash of them. */
  root: string;
  /** The first module, below the root. */
  main: string;
  /** The paths of all modules of the page, below the root. */
  modules: string[];
  /** The service worker, whose address never changes. */
  worker: string;
  /** @param path with the root */
  find(path: string): Asset | undefined;
}

/** `.ts` in a clone, `.js` in the package. */
const SCRIPT = extname(import.meta.url);
const WEB = 'page/web';
const MAIN = `${WEB}/main${SCRIPT}`;
/** It is no part of the page. */
const WORKER = `${WEB}/sw${SCRIPT}`;
/** Libraries that run in the browser, as their modules import them. */
const LIBRARIES = ['preact', 'preact/hooks', '@preact/signals', '@preact/signals-core', 'htm', 'htm/preact', 'marked'];
const script = 'text/javascript; charset=utf-8';
const TYPES: Record<string, string> = {
  [SCRIPT]: script,
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

/** An import of a module of ours: libraries have their paths already. */
const IMPORT = /^(?:import|export)\b[^;]*?\bfrom\s*["'](\.(?![^"']*\/libraries\/)[^"']+)["']/gm;

/** Everything that the page loads, in memory. The first call reads it; one that fails leaves that to the next. */
export function loadAssets(): Promise<Assets> {
  assets ??= readAssets().catch(error => {
    assets = undefined;
    throw error;
  });
  return assets;
}

let assets: Promise<Assets> | undefined;

/**
 * There is no build: modules of a clone lose their types here, and names of libraries become their paths. While a file is
 * read, others have their turn: all modules together would hold the event loop for 70 ms.
 */
async function readAssets(): Promise<Assets> {
  const texts = new Map<string, { type: string; text: string }>();
  const read = (path: string) => readFile(new URL(`../${path}`, import.meta.url), 'utf8');
  for (const name of await readdir(new URL('web/', import.meta.url))) {
    const type = TYPES[extname(name)];
    if (type !== undefined && type !== script)
      texts.set(`${WEB}/${name}`, { type, text: bare(await read(`${WEB}/${name}`)) });
  }
  /** Adds a module, and those that it imports. */
  const addModule = async (path: string): Promise<void> => {
    if (texts.has(path)) return;
    const text = toModule(await read(path), path.split('/').length - 1);
    texts.set(path, { type: script, text });
    for (const [, name = ''] of text.matchAll(IMPORT)) await addModule(join(dirname(path), name));
  };
  await addModule(MAIN);
  await addModule(WORKER);
  for (const name of LIBRARIES) {
    const text = await readFile(new URL(import.meta.resolve(name)), 'utf8');
    const unmapped = text.replace(/^\/\/# sourceMappingURL=.*$/gm, '');
    texts.set(`libraries/${fileOf(name)}`, { type: script, text: withPaths(unmapped, 1) });
  }
  texts.set('manifest.webmanifest', { type: 'application/manifest+json', text: JSON.stringify(manifest) });

  const root = createHash('sha256')
    .update(JSON.stringify([...texts]))
    .digest('base64url')
    .slice(0, 16);
  const all = await Promise.all(
    [...texts].map(async ([path, { type, text }]): Promise<[string, Asset]> => {
      const body = Buffer.from(text);
      return [`${root}/${path}`, { type, body, gzipped: await compressed(body, { level: 9 }) }];
    }),
  );
  const files = new Map(all);
  return {
    root,
    main: MAIN,
    modules: [...texts].flatMap(([path, { type }]) => (type === script && path !== WORKER ? [path] : [])),
    // A worker that is no module, for browsers without modules there.
    worker: (texts.get(WORKER)?.text ?? '').replace(/^export \{\};$/m, ''),
    find: path => files.get(path),
  };
}

function toModule(text: string, depth: number): string {
  return withPaths(bare(SCRIPT === '.ts' ? stripTypeScriptTypes(text) : text), depth);
}

/** Leaves out lines that are comments or empty, indentation, and the blanks where types were: an eighth of the page. */
function bare(text: string): string {
  return text
    .replace(/^[ \t]*(\/\*[\s\S]*?\*\/|\/\/.*)[ \t]*$/gm, '')
    .replace(/\s*\n\s*/g, '\n')
    .replace(/ {2,}/g, ' ');
}

/** Replaces the names of libraries in imports by their paths. @param depth of the module below the root */
function withPaths(text: string, depth: number): string {
  return text.replace(/\b(from|import)\s*(["'])([^"'.][^"']*)\2/g, (found, word, quote, name) =>
    LIBRARIES.includes(name) ? `${word} ${quote}${'../'.repeat(depth)}libraries/${fileOf(name)}${quote}` : found,
  );
}

function fileOf(library: string): string {
  return `${library.replace('@', '').replaceAll('/', '-')}.js`;
}
