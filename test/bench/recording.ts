import BetterSqlite from 'better-sqlite3';

/** One statement as it was run, with its parameters. */
export interface Ran {
  text: string;
  parameters: unknown[];
}

interface Prototypes {
  statement: Record<string, (...parameters: unknown[]) => unknown>;
  database: Record<string, (...parameters: unknown[]) => unknown>;
}

const RUNS = ['run', 'all', 'get', 'iterate'];
const BOUNDARY = /^\s*(begin|commit|rollback|savepoint|release|end)\b/i;

/**
 * Writes down every statement that better-sqlite3 runs in this process from now on, whoever runs it, without those that
 * begin or end a transaction. So nobody has to keep a list of what the service runs. Answers a function that ends a part
 * and answers its statements.
 */
export function recordStatements(): () => Ran[] {
  let part: Ran[] = [];
  const { statement, database } = prototypes();
  for (const name of RUNS) {
    const original = statement[name] as (...parameters: unknown[]) => unknown;
    statement[name] = function (this: BetterSqlite.Statement, ...parameters: unknown[]) {
      if (!BOUNDARY.test(this.source)) part.push({ text: this.source, parameters: flat(parameters) });
      return original.apply(this, parameters);
    };
  }
  // A method that does not prepare: it would pass unseen.
  const exec = database.exec as (...parameters: unknown[]) => unknown;
  database.exec = function (this: unknown, ...parameters: unknown[]) {
    if (!BOUNDARY.test(String(parameters[0]))) part.push({ text: String(parameters[0]), parameters: [] });
    return exec.apply(this, parameters);
  };
  return () => {
    const ended = part;
    part = [];
    return ended;
  };
}

function prototypes(): Prototypes {
  const db = new BetterSqlite(':memory:');
  const statement = Object.getPrototypeOf(db.prepare('select 1'));
  db.close();
  return { statement, database: BetterSqlite.prototype as unknown as Prototypes['database'] };
}

/** Parameters come one by one or as a list. */
function flat(parameters: unknown[]): unknown[] {
  return parameters.flat().map(value => value);
}
