import BetterSqlite from 'better-sqlite3';
import { describe, expect, it } from 'vitest';
import { isUnavailable, publicMessage, troubleOf } from '../../src/db/errors.ts';

const withCode = (code: string) => Object.assign(new Error('db.internal refuses ana'), { code });

describe('trouble with a database', () => {
  it.each([
    ['SQLITE_FULL', 'DATABASE_NOT_WRITABLE'],
    ['SQLITE_READONLY', 'DATABASE_NOT_WRITABLE'],
    ['SQLITE_READONLY_DBMOVED', 'DATABASE_NOT_WRITABLE'],
    ['SQLITE_IOERR_WRITE', 'DATABASE_NOT_WRITABLE'],
    ['SQLITE_IOERR_SHMSIZE', 'DATABASE_NOT_WRITABLE'],
    ['SQLITE_BUSY', 'DATABASE_NOT_WRITABLE'],
    ['SQLITE_IOERR_READ', 'DATABASE_UNREACHABLE'],
    ['SQLITE_CANTOPEN', 'DATABASE_UNREACHABLE'],
    ['53100', 'DATABASE_NOT_WRITABLE'],
    ['25006', 'DATABASE_NOT_WRITABLE'],
    ['55P03', 'DATABASE_NOT_WRITABLE'],
    ['53300', 'DATABASE_UNREACHABLE'],
    ['57P01', 'DATABASE_UNREACHABLE'],
    ['57014', 'DATABASE_UNREACHABLE'],
    ['28P01', 'DATABASE_UNREACHABLE'],
    ['3D000', 'DATABASE_UNREACHABLE'],
    ['08006', 'DATABASE_UNREACHABLE'],
    ['25P03', 'DATABASE_UNREACHABLE'],
    ['ECONNREFUSED', 'DATABASE_UNREACHABLE'],
    ['ENOTFOUND', 'DATABASE_UNREACHABLE'],
    ['EHOSTUNREACH', 'DATABASE_UNREACHABLE'],
  ])('%s is %s, in a sentence of ours', (code, trouble) => {
    expect(troubleOf(withCode(code))).toEqual({
      code: trouble,
      detail: expect.stringMatching(/^The .*\.$|^Another .*\.$/),
    });
    expect(isUnavailable(withCode(code))).toBe(true);
    expect(publicMessage(withCode(code))).not.toMatch(/db\.internal|ana/);
  });

  it.each([
    'Query read timeout',
    'timeout exceeded when trying to connect',
    'Connection terminated unexpectedly',
    'Client has encountered a connection error and is not queryable',
  ])('"%s", which the client says without a code, is that it cannot be reached', message => {
    expect(troubleOf(new Error(message))?.code).toBe('DATABASE_UNREACHABLE');
  });

  it.each(['23505', '42P01', 'SQLITE_CONSTRAINT_UNIQUE', 'SQLITE_ERROR'])('is not %s', code => {
    expect(troubleOf(withCode(code))).toBeUndefined();
  });

  it('is not what is no error', () => {
    for (const thrown of [undefined, null, 'SQLITE_FULL', { code: 'SQLITE_FULL' }])
      expect(troubleOf(thrown)).toBeUndefined();
  });
});

describe('an error that is shown', () => {
  it('says what it is, and of an address only the scheme', () => {
    expect(publicMessage(new BetterSqlite.SqliteError('not this one', 'SQLITE_CONSTRAINT'))).toBe(
      'not this one (SQLITE_CONSTRAINT)',
    );
    const message = 'invalid: postgres://ana:secret@db.internal/forum and http://token@host/x';
    expect(publicMessage(new Error(message))).toBe('invalid: postgres://*** and http://***');
    expect(publicMessage('text')).toBe('text');
  });
});
