import type { Actor } from '../actor.ts';
import { cut, isName, normalName } from '../text.ts';
import type { OidcSettings } from './settings.ts';

/** What a provider says about somebody (OpenID Connect Core 1.0, 5.1). */
export interface IdTokenClaims {
  /** The subject: who it is, for ever and for nobody else at this provider. ASCII, up to 255 characters. */
  sub: string;
  [claim: string]: unknown;
}

/** Somebody who has proved to the provider who it is. */
export interface Person {
  sub: string;
  actor: Actor;
  /** undefined: on none of the lists. */
  role: 'admin' | 'operator' | 'viewer' | undefined;
}

type Lists = Pick<OidcSettings, 'admins' | 'operators' | 'viewers'>;

/** Characters of a name, as the schema of names has it. */
const NAME_LENGTH = 200;

/**
 * Who a person is here, and as what. A person on several lists gets the strongest role. The name is the address if the
 * provider has verified it, else the user name, else the subject. At many providers people choose their user names
 * themselves.
 */
export function personOfClaims(claims: IdTokenClaims, { admins, operators, viewers }: Lists): Person {
  const email = verifiedEmail(claims);
  const groups = [claims.groups].flat();
  const isOn = (list: string[]) => list.some(entry => matches(entry, email, groups));
  const role = isOn(admins) ? 'admin' : isOn(operators) ? 'operator' : isOn(viewers) ? 'viewer' : undefined;
  const names = [email, claims.preferred_username, claims.sub].filter(one => typeof one === 'string').map(normalName);
  const name = names.find(one => isName(one) && [...one].length <= NAME_LENGTH);
  return { sub: claims.sub, role, actor: { type: 'human', name: name ?? cut(`subject ${claims.sub}`, NAME_LENGTH) } };
}

/** Whether any of these entries of a list names a group. */
export const namesGroups = ({ admins, operators, viewers }: Lists): boolean =>
  [...admins, ...operators, ...viewers].some(entry => !entry.includes('@'));

function matches(entry: string, email: string | undefined, groups: unknown[]): boolean {
  if (!entry.includes('@')) return groups.includes(entry);
  const wanted = entry.toLowerCase();
  return email !== undefined && (wanted.startsWith('@') ? email.endsWith(wanted) : email === wanted);
}

/** Anybody can claim an address that the provider has not verified. */
function verifiedEmail({ email, email_verified }: IdTokenClaims): string | undefined {
  // Some providers send the word.
  const isVerified = email_verified === true || email_verified === 'true';
  return isVerified && typeof email === 'string' ? email.toLowerCase() : undefined;
}
