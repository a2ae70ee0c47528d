import { spine } from './001-spine.ts';
import { forum } from './002-forum.ts';
import { retries } from './003-retries.ts';
import { lean } from './004-lean.ts';
import { access } from './005-access.ts';
import { search } from './006-search.ts';
import { delivery } from './007-delivery.ts';
import { surroundings } from './008-surroundings.ts';
import { budgets } from './009-budgets.ts';
import { trust } from './010-trust.ts';
import { subscriptions } from './011-subscriptions.ts';
import { agents } from './012-agents.ts';
import { page } from './013-page.ts';
import { webhooks } from './014-webhooks.ts';
import { lifecycle } from './015-lifecycle.ts';
import { teams } from './016-teams.ts';
import { approvals } from './017-approvals.ts';
import { sideBySide } from './018-side-by-side.ts';
import { vacuum } from './019-vacuum-additive.ts';
import { sightings } from './020-sightings.ts';
import { subjects } from './021-subjects.ts';
import type { Migration } from './migration.ts';

/**
 * All migrations, in order of application. Released names are never changed or reused. Beside one whose name ends in
 * `-additive`, processes of the version before go on: they know it by its name only.
 */
export const migrations: Record<string, Migration> = {
  '001-spine': spine,
  '002-forum': forum,
  '003-retries': retries,
  '004-lean': lean,
  '005-access': access,
  '006-search': search,
  '007-delivery': delivery,
  '008-surroundings': surroundings,
  '009-budgets': budgets,
  '010-trust': trust,
  '011-subscriptions': subscriptions,
  '012-agents': agents,
  '013-page': page,
  '014-webhooks': webhooks,
  '015-lifecycle': lifecycle,
  '016-teams': teams,
  '017-approvals': approvals,
  '018-side-by-side': sideBySide,
  '019-vacuum-additive': vacuum,
  '020-sightings': sightings,
  '021-subjects': subjects,
};
