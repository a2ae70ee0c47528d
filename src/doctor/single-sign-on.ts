import type { Config } from '../config.ts';
import { createProvider, ProviderRefusal } from '../oidc/provider.ts';
import { callbackOf, oidcSettings } from '../oidc/settings.ts';
import { type Finding, ok, problem } from './finding.ts';

/** Checks that the OpenID provider answers, if there is one. Whether it knows this service shows only in a login. */
export async function checkSingleSignOn(config: Config): Promise<Finding[]> {
  const settings = oidcSettings(config);
  if (!settings) return [];
  try {
    await createProvider(settings).check();
    const finding = `${config.OIDC_ISSUER} answers; it has to know ${callbackOf(settings)} as a redirect URI.`;
    return [ok('oidc', finding)];
  } catch (error) {
    if (!(error instanceof ProviderRefusal)) throw error;
    const finding = `${config.OIDC_ISSUER} does not answer as a provider should: ${error.reason}.`;
    return [problem('oidc', finding, 'Correct OIDC_ISSUER, or make it reachable: until then nobody logs in by it.')];
  }
}
