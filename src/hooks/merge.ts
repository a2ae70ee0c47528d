import type { Entries } from './entries.ts';
import { fieldsOf } from './hook.ts';

/** The content of a host's file. */
export type Content = Record<string, unknown>;

/** Says that a host's hooks do not have the form that they should have. */
export class MalformedHooks extends Error {}

/** The variable that `--headless` sets in the settings of Claude Code. */
const HEADLESS = 'FORUMBUS_HEADLESS';

/** A content with our entries behind those of others. @throws MalformedHooks */
export function withEntries(content: Content, { hooks, fields }: Entries, headless: boolean): Content {
  const rest = withoutEntries(content);
  const merged: Content = { ...fields, ...rest, hooks: { ...fieldsOf(rest.hooks) } };
  const lists = merged.hooks as Record<string, unknown>;
  for (const [event, ours] of Object.entries(hooks)) lists[event] = [...listOf(lists[event], event), ...ours];
  if (headless) merged.env = { ...fieldsOf(rest.env), [HEADLESS]: '1' };
  return merged;
}

/** A content without our entries. What has become empty by that is left out. @throws MalformedHooks */
export function withoutEntries(content: Content): Content {
  const { hooks, ...rest } = content;
  if (hooks === undefined) return content;
  if (!isObject(hooks)) throw new MalformedHooks('`hooks` is no object');
  const kept = Object.entries(hooks).flatMap(([event, list]) => {
    const others = listOf(list, event).flatMap(withoutOurs);
    // An empty list of others stays.
    return others.length > 0 || listOf(list, event).length === 0 ? [[event, others] as const] : [];
  });
  const isEmpty = kept.length === 0 && Object.keys(hooks).length > 0;
  return isEmpty ? rest : { ...content, hooks: Object.fromEntries(kept) };
}

/** Whether a content says that its sessions are headless. */
export function isHeadless({ env }: Content): boolean {
  return fieldsOf(env)[HEADLESS] !== undefined;
}

/** A content that does not say that its sessions are headless. What has become empty by that is left out. */
export function withoutHeadless(content: Content): Content {
  if (!isHeadless(content)) return content;
  const { env, ...rest } = content;
  const { [HEADLESS]: _, ...variables } = fieldsOf(env);
  return Object.keys(variables).length > 0 ? { ...content, env: variables } : rest;
}

/** Whether a content holds nothing but what an empty file of a host would. */
export function isBlank(content: Content): boolean {
  return Object.entries(content).every(
    ([key, value]) => key === 'version' || (key === 'hooks' && isEmptyObject(value)),
  );
}

/** Whether a parsed value is a JSON object. A number that JSON.rawJSON keeps as it was written has no prototype. */
export function isObject(value: unknown): value is Content {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

function isEmptyObject(value: unknown): boolean {
  return Object.keys(fieldsOf(value)).length === 0;
}

function listOf(list: unknown, event: string): unknown[] {
  if (list === undefined) return [];
  if (!Array.isArray(list)) throw new MalformedHooks(`\`hooks.${event}\` is no list`);
  return list;
}

/** An entry without our handlers; nothing if no other is left. */
function withoutOurs(entry: unknown): unknown[] {
  const fields = fieldsOf(entry);
  if (isOurs(fields)) return [];
  if (!Array.isArray(fields.hooks)) return [entry];
  const others = fields.hooks.filter(handler => !isOurs(fieldsOf(handler)));
  if (others.length === fields.hooks.length) return [entry];
  return others.length > 0 ? [{ ...fields, hooks: others }] : [];
}

function isOurs({ command, bash }: Record<string, unknown>): boolean {
  return /^forumbus hook /.test(String(command ?? bash));
}
