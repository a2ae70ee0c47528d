/* The module `forumbus/client`: for Node 20 and later and for browsers. It has no dependencies when it runs. */

export { choiceText } from './answer-text.ts';
export { askKey } from './ask-key.ts';
export { ForumbusError, isPassing, type Problem } from './error.ts';
export type { EventFilter } from './events.ts';
export type { ExportLine } from './export.ts';
export { type AskOptions, Forumbus, type ForumbusOptions } from './forumbus.ts';
export type { VersionedOptions } from './operations.ts';
export type * from './types.ts';
export { verifyWebhook } from './webhook.ts';
