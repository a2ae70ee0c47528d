import type { ErrorObject } from 'ajv';
import type { ProblemItem } from './errors.ts';
import { NAME_RULE } from './text.ts';

/** What is wrong with a value, in plain words, and where. */
export function validationFault({
  keyword,
  instancePath,
  params,
  message = 'is wrong',
  parentSchema,
}: ErrorObject): Omit<ProblemItem, 'in'> {
  const member = (name: string) => `${instancePath}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`;
  switch (keyword) {
    case 'required':
      return { pointer: member(params.missingProperty), code: 'REQUIRED', detail: 'is required' };
    case 'additionalProperties':
      return { pointer: member(params.additionalProperty), code: 'UNKNOWN_FIELD', detail: 'is not a known field' };
    case 'discriminator': {
      const known = `one of ${Object.keys(parentSchema?.['x-tags'] ?? {}).join(', ')}`;
      if (params.tagValue === undefined)
        return { pointer: member(params.tag), code: 'REQUIRED', detail: `is required: ${known}` };
      return { pointer: member(params.tag), code: 'UNKNOWN_VALUE', detail: `must be ${known}` };
    }
    case 'enum':
      return {
        pointer: instancePath,
        code: 'UNKNOWN_VALUE',
        detail: `must be one of ${params.allowedValues.join(', ')}`,
      };
    case 'pattern':
      return {
        pointer: instancePath,
        code: 'INVALID_FORMAT',
        detail: `must be: ${parentSchema?.description ?? message}`,
      };
    case 'const':
      return { pointer: instancePath, code: 'UNKNOWN_VALUE', detail: `must be ${JSON.stringify(params.allowedValue)}` };
    case 'x-name':
      return { pointer: instancePath, code: 'INVALID_FORMAT', detail: `must be: ${NAME_RULE}` };
    case 'x-visible':
      return { pointer: instancePath, code: 'INVALID_FORMAT', detail: 'must have a visible character' };
    case 'x-instant':
      return {
        pointer: instancePath,
        code: 'INVALID_FORMAT',
        detail: 'must be a time between the years 1970 and 9999',
      };
    case 'x-unique-by':
      return {
        pointer: instancePath,
        code: 'NOT_UNIQUE',
        detail: `must not have the same ${parentSchema?.['x-unique-by']} twice`,
      };
    default:
      return {
        pointer: instancePath,
        code: ITEM_CODES[keyword] ?? 'INVALID',
        detail: plainText(keyword, params) ?? message,
      };
  }
}

/** A wrong type or a bound that is broken, in plainer words than Ajv's; undefined for other keywords. */
function plainText(keyword: string, { type, limit }: { type?: string; limit?: number }): string | undefined {
  const items = limit === 1 ? 'item' : 'items';
  switch (keyword) {
    case 'type':
      return type === 'integer' ? 'must be a whole number' : undefined;
    case 'minLength':
      return limit === 1 ? 'must not be empty' : `must have at least ${limit} characters`;
    case 'maxLength':
      return `must have at most ${limit} characters`;
    case 'minItems':
      return `must have at least ${limit} ${items}`;
    case 'maxItems':
      return `must have at most ${limit} ${items}`;
    case 'minimum':
      return `must be at least ${limit}`;
    case 'maximum':
      return `must be at most ${limit}`;
    default:
      return undefined;
  }
}

const ITEM_CODES: Record<string, string> = {
  type: 'INVALID_TYPE',
  format: 'INVALID_FORMAT',
  minLength: 'TOO_SHORT',
  maxLength: 'TOO_LONG',
  minItems: 'TOO_FEW',
  maxItems: 'TOO_MANY',
  minimum: 'TOO_SMALL',
  maximum: 'TOO_LARGE',
};
