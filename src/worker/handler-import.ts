import { registerHooks } from 'node:module';
import { extname } from 'node:path';

/*
 * Lets handlers import `forumbus/handler` from any folder: Node would look for a package there. It is this service's
 * own module in any case. So a handler never gets another version than the one that runs it.
 */

// `.ts` in a clone, `.js` in the package.
const url = new URL(`../handler${extname(import.meta.url)}`, import.meta.url).href;

// Loaded before all handlers: a CommonJS one could not require it while another one imports it.
await import(url);

registerHooks({
  resolve: (specifier, context, next) =>
    specifier === 'forumbus/handler' ? { url, shortCircuit: true } : next(specifier, context),
});
