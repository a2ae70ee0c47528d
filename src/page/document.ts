import type { Assets } from './assets.ts';

/** The page loads everything from this service, and nothing can make it run or load anything else. */
const POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "manifest-src 'self'",
  "worker-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  // The address of the service worker.
  'trusted-types worker',
];

export const PAGE_HEADERS = {
  'content-type': 'text/html; charset=utf-8',
  'cache-control': 'no-cache',
  'content-security-policy': POLICY.join('; '),
  'cross-origin-opener-policy': 'same-origin',
  'permissions-policy': 'camera=(), geolocation=(), microphone=()',
  vary: 'accept',
};

/** What the page has to know before it asks. */
interface Facts {
  /** Where a browser logs in by an OpenID provider. */
  singleSignOn?: string | undefined;
  /** Why that did not work. */
  failure?: string;
}

/**
 * The document of the page. All its paths are relative, so that it works behind a proxy that strips a prefix.
 * @param base the way to the root of the service, such as `../`
 */
export function documentOf(base: string, { root, main, modules }: Assets, facts: Facts = {}): string {
  const at = (path: string) => `${base}assets/${root}/${path}`;
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width,initial-scale=1,interactive-widget=resizes-content">
<meta name="color-scheme" content="light dark">
<title>Forumbus</title>${metaOf('single-sign-on', facts.singleSignOn)}${metaOf('login-failure', facts.failure)}
<link rel="icon" href="${at('page/web/icon.svg')}" type="image/svg+xml">
<link rel="manifest" href="${at('manifest.webmanifest')}">
<link rel="stylesheet" href="${at('page/web/page.css')}">
<script type="module" src="${at(main)}"></script>
${modules.map(path => `<link rel="modulepreload" href="${at(path)}">`).join('\n')}
</head>
<body>
<div id="app"><header class="top"><b>Forumbus</b></header><main><p class="quiet">Loading…</p></main></div>
<noscript><p>The page needs JavaScript. The command <code>forumbus inbox</code> does not.</p></noscript>
</body>
</html>
`;
}

function metaOf(name: string, content: string | undefined): string {
  const entities: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
  const escaped = content?.replaceAll(/[&<>"]/g, character => entities[character] as string);
  return escaped === undefined ? '' : `\n<meta name="${name}" content="${escaped}">`;
}

/** The manifest of the page as an installed app; its paths are relative to itself. */
export const manifest = {
  name: 'Forumbus',
  short_name: 'Forumbus',
  start_url: '../../',
  scope: '../../',
  display: 'standalone',
  background_color: '#fbfbfa',
  theme_color: '#2f5fd0',
  icons: [{ src: 'page/web/icon.svg', sizes: 'any', type: 'image/svg+xml', purpose: 'any' }],
};
