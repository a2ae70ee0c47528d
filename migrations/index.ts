import { spine } from './001-spine.ts';
import { forum } from './002-forum.ts';
import { retries } from './003-retries.ts';
import { lean } from './004-lean.ts';
import { access } from './005-access.ts';
import { search } from './006-search.ts';
import type { Migration } from './migration.ts';

/** All migrations, in order of application. Released names are never changed or reused. */
export const migrations: Record<string, Migration> = {
  '001-spine': spine,
  '002-forum': forum,
  '003-retries': retries,
  '004-lean': lean,
  '005-access': access,
  '006-search': search,
};
