import { type Config, listOf } from '../config.ts';

/** How people log in by an OpenID provider. */
export interface OidcSettings {
  issuer: URL;
  clientId: string;
  /** Empty for a public client. */
  clientSecret: string;
  /** Groups, addresses and domains of people, by the role that they get. */
  admins: string[];
  operators: string[];
  viewers: string[];
  /** The address of the service for people, without a slash at its end. */
  publicUrl: string;
}

/** The settings of single sign-on, which `readConfig` has checked; undefined without a provider. */
export function oidcSettings(config: Config): OidcSettings | undefined {
  if (config.OIDC_ISSUER === '') return undefined;
  return {
    issuer: new URL(config.OIDC_ISSUER),
    clientId: config.OIDC_CLIENT_ID,
    clientSecret: config.OIDC_CLIENT_SECRET,
    admins: listOf(config.OIDC_ADMINS),
    operators: listOf(config.OIDC_OPERATORS),
    viewers: listOf(config.OIDC_VIEWERS),
    publicUrl: config.PUBLIC_URL.replace(/\/$/, ''),
  };
}

/** The address to which the provider sends browsers back. */
export const callbackOf = ({ publicUrl }: Pick<OidcSettings, 'publicUrl'>): string =>
  `${publicUrl}/page/login/oidc/callback`;
