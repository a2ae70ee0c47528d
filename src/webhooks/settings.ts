import { Refusal } from '../errors.ts';
import { type Format, formatFields, type Settings } from './schemas.ts';

/** @throws Refusal VALIDATION_FAILED if the settings are not those of the format */
export function assertSettings(format: Format, settings: Settings): void {
  const { needs, takes } = formatFields[format];
  const given = Object.keys(settings) as (keyof Settings)[];
  const missing = needs.find(name => settings[name] === undefined);
  if (missing !== undefined) throw invalid('settings', `needs ${missing}`);
  const stray = given.find(name => !needs.includes(name) && !takes.includes(name));
  if (stray !== undefined) throw invalid(`settings/${stray}`, `is no setting of the format ${format}`);
  // Half an app of Slack is neither an app nor an incoming webhook.
  if (format === 'slack' && given.length > 0 && !hasButtons(format, settings)) {
    throw invalid('settings', `needs ${takes.join(', ')}, or none of them`);
  }
}

/** The URL of a webhook whose caller gave none. @throws Refusal VALIDATION_FAILED if its format has none */
export function defaultUrl(format: Format, settings: Settings): string {
  const { url, urlIs } = formatFields[format];
  if (url === undefined || (urlIs === 'of the buttons' && !hasButtons(format, settings)))
    throw invalid('url', 'is required');
  return url;
}

/** Whether the buttons of a channel answer although people cannot reach the service. */
export function hasButtons(format: Format, settings: Settings): boolean {
  return formatFields[format].answersWith?.every(name => settings[name] !== undefined) === true;
}

/** The refusal of a field of the body; of the whole body without one. */
export function invalid(field: string, detail: string): Refusal {
  const pointer = field === '' ? '' : `/${field}`;
  return new Refusal('VALIDATION_FAILED', `body${pointer}: ${detail}`, {
    errors: [{ in: 'body', pointer, code: 'NOT_ALLOWED', detail }],
  });
}
