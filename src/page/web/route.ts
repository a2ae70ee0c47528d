import { signal } from '@preact/signals-core';

export interface Route {
  /** Decoded parts of the path: `#/runs/run-7` is `['runs', 'run-7']`. */
  parts: string[];
  query: URLSearchParams;
}

export const route = signal<Route>({ parts: [], query: new URLSearchParams() });

/** The fragment of a view: names are encoded. */
export function linkTo(parts: string[], query: Record<string, string | undefined> = {}): string {
  const given = Object.entries(query).filter((pair): pair is [string, string] => !!pair[1]);
  const search = new URLSearchParams(given).toString();
  return `#/${parts.map(encodeURIComponent).join('/')}${search && `?${search}`}`;
}

export function go(link: string): void {
  location.hash = link;
}

export function watchRoute(): void {
  // `/q/<id>` is the address of a question for links; within the page it is a fragment like every view.
  const [, root, id] = /^(.*\/)q\/([^/]+)$/.exec(location.pathname) ?? [];
  if (root !== undefined && id !== undefined) history.replaceState(null, '', `${root}#/q/${id}`);
  const read = () => {
    const [path = '', search = ''] = location.hash.replace(/^#\/?/, '').split('?');
    const parts = path.split('/').filter(part => part !== '');
    route.value = { parts: parts.map(decoded), query: new URLSearchParams(search) };
  };
  addEventListener('hashchange', read);
  read();
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}
