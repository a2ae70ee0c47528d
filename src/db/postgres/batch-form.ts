/*
 * How the calls of a statement become one statement: a table has their parameters, one row for each call. It knows the
 * simple kinds that every signal sends: rows inserted, and rows read or changed by a key.
 */

/** How the calls of a statement are sent together. */
export interface Form {
  /** The text for all calls. @param table has the columns `p1` and so on, and the `number` of the call */
  text(table: string): string;
  /** Whether each row of the result has the {@link CALL} that it is for; otherwise each call has one, in their order. */
  numbered: boolean;
  /** Of a statement that changes rows: indexes of the parameters that find them. Calls that differ there change others. */
  keys: number[] | undefined;
  /** Whether the result tells the rows of each call; otherwise calls that use them are sent one by one. */
  answers: boolean;
}

/** The column that has the number of a call. The first is 1. */
export const CALL = 'call_number';

const INSERT =
  /^(insert into "\w+" \(([^)]*)\)) values \((.*?)\)( on conflict \(([^)]*)\) do (nothing|update set [^$]+))?( returning "\w+")?$/s;
const UPDATE = /^(update "\w+" set .+?) where ([^()]+?)$/s;
const SELECT = /^select .+? from "\w+" where ([^()]+?)( order by [^()$]+?)?( limit \$\d+)?$/s;
/** See `Dialect.among`: rows with one of the keys of a list, and perhaps a condition without parameters. */
const SELECT_AMONG =
  /^select .+? from "\w+" where "\w+" = any\(array\(select [^()]*(?:\([^()]*\) )?from jsonb_array_elements_text\(\$\d+::jsonb\)\)\)( and [^$]+)?$/s;
/** A comparison of a column with a parameter, or one without parameters. */
const CONDITION = /^(?:"\w+" = \$(\d+)|[^$]+)$/;

/** The form of a statement; undefined if its calls must be sent one by one. */
export function formOf(text: string): Form | undefined {
  if (!text.includes('$1')) return undefined;
  return formOfInsert(text) ?? formOfUpdate(text) ?? formOfSelect(text);
}

function formOfInsert(text: string): Form | undefined {
  const insert = INSERT.exec(text) as string[] | null;
  if (!insert) return undefined;
  const [, into, names = '', values = '', conflict = '', unique = '', reaction = '', returning = ''] = insert;
  const expressions = values.split(', ');
  // A bracket begins another row, or something that is looked up for this one.
  const severalRows = expressions.some(expression => /^\((?!select )/.test(expression));
  // No statement changes a row twice: calls with the same key are sent one after the other.
  const found = unique.split(', ').map(name => expressions[names.split(', ').indexOf(name)] ?? '');
  const keys = reaction.startsWith('update') ? found.map(parameterOf) : undefined;
  if (severalRows || keys?.includes(undefined)) return undefined;
  return {
    text: table => `${into} select ${columnsFor(values)} from ${table} order by number${conflict}${returning}`,
    numbered: false,
    keys: keys as number[] | undefined,
    answers: reaction !== 'nothing',
  };
}

function formOfUpdate(text: string): Form | undefined {
  const [, set = '', where = ''] = UPDATE.exec(text) ?? [];
  const keys = keysOf(where);
  if (!keys || keys.length === 0) return undefined;
  return {
    text: table => `${columnsFor(set)} from ${table} where ${columnsFor(where)} returning called.number as ${CALL}`,
    numbered: true,
    keys,
    answers: true,
  };
}

function formOfSelect(text: string): Form | undefined {
  const where = SELECT.exec(text)?.[1];
  const isByKey = where !== undefined && keysOf(where) !== undefined;
  if (!isByKey && !SELECT_AMONG.test(text)) return undefined;
  return {
    // Without the offset, the planner may read a small table whole for each call, and go on so when it has grown.
    text: table =>
      `select found.*, called.number as ${CALL} from ${table} cross join lateral (${columnsFor(text)} offset 0) as found`,
    numbered: true,
    keys: undefined,
    answers: true,
  };
}

/** Indexes of the parameters of a condition that compares columns with them; undefined if it does anything else. */
function keysOf(where: string): number[] | undefined {
  const parts = where.split(' and ').map(part => CONDITION.exec(part)?.[0]);
  if (parts.includes(undefined)) return undefined;
  return parts.map(part => parameterOf((part as string).replace(/^"\w+" = /, ''))).filter(index => index !== undefined);
}

/** The index of the parameter that an expression consists of. */
function parameterOf(expression: string): number | undefined {
  const number = /^\$(\d+)$/.exec(expression)?.[1];
  return number === undefined ? undefined : Number(number) - 1;
}

/** Replaces the parameters of one call by the columns that have them. */
function columnsFor(text: string): string {
  return text.replace(/\$(\d+)/g, 'called.p$1');
}

/** The table of the parameters. @param types of each, as the server names them */
export function tableOf(types: string[]): string {
  const arrays = types.map((type, index) => `$${index + 1}::${type}[]`);
  const names = types.map((_, index) => `p${index + 1}`);
  return `unnest(${arrays.join(', ')}) with ordinality as called(${names.join(', ')}, number)`;
}
