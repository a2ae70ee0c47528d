import type { Answer } from './app.ts';

/** Every item of a list, page after page; `path` has a query already. */
export async function allItems(
  get: (path: string) => Promise<Answer>,
  path: string,
  // biome-ignore lint/suspicious/noExplicitAny: a test looks into whatever came back
): Promise<any[]> {
  // biome-ignore lint/suspicious/noExplicitAny: as above
  const items: any[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const { body } = await get(`${path}&limit=200${cursor && `&cursor=${cursor}`}`);
    items.push(...body.items);
    cursor = body.next_cursor;
  }
  return items;
}
