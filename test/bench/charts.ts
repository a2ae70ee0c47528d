import { type Bar, barChart, type Chart } from './chart.ts';
import type { Figures } from './figures.ts';

/** A chart of figures by their names; bars whose figure was not measured are left out. */
interface Drawing extends Omit<Chart, 'bars'> {
  ours: Record<string, string>;
  others: Record<string, string>;
}

const drawings: Record<string, Drawing> = {
  signals: {
    title: 'Signals a second, 64 connections, all four kinds',
    description: 'Forumbus beside the same service without a store, Fastify alone and the bare statements.',
    unit: '/s',
    ours: {
      'Forumbus on SQLite': 'a.64 mixed.rate',
      'the same, a handler of every event': 'a.64 mixed handled.rate',
      'Forumbus on PostgreSQL': 'f.64 mixed.rate',
      'on PostgreSQL, a handler of every event': 'f.signals.rate',
    },
    others: {
      'bare statements, 64 a commit': 'a.64 mixed.bare statements',
      'the service without a store': 'a.64 mixed.without a store',
      'Fastify alone': 'a.64 mixed.Fastify alone',
    },
  },
  postgres: {
    title: 'Signals a second on PostgreSQL, 64 connections',
    description: 'Signals stored, and stored and dispatched, beside the jobs that pg-boss takes from 64 senders.',
    unit: '/s',
    ours: {
      completions: 'f.64 completions.rate',
      'all four kinds': 'f.64 mixed.rate',
      'the same, a handler of every event': 'f.signals.rate',
    },
    others: { 'jobs that pg-boss takes': 'f.peer pg-boss.enqueues' },
  },
  cpu: {
    title: 'CPU of a signal, 64 connections, all four kinds',
    description: 'CPU of the service and of the database server for one signal, beside the service without a store.',
    unit: ' µs',
    ours: {
      'SQLite: the service': 'a.64 mixed.cpu',
      'the same, a handler of every event': 'a.64 mixed handled.cpu',
      'PostgreSQL: the service': 'f.64 mixed.cpu',
      'PostgreSQL: the database server': 'f.64 mixed.server cpu',
      'the service, a handler of every event': 'f.signals.cpu',
      'the server, a handler of every event': 'f.signals.server cpu',
    },
    others: { 'the service without a store': 'a.64 mixed.cpu without a store' },
  },
  dispatches: {
    title: 'Messages dispatched a second, 10,000 without keys',
    description: 'Forumbus on both engines beside other job queues on the same work.',
    unit: '/s',
    ours: {
      'Forumbus on SQLite': 'b.10000 messages, 0 keys',
      'Forumbus on PostgreSQL': 'f.messages.rate',
    },
    others: {
      'graphile-worker (PostgreSQL)': 'b.peer graphile-worker.dispatches',
      'pg-boss (PostgreSQL)': 'f.peer pg-boss.dispatches',
      'BullMQ (PostgreSQL)': 'b.peer bullmq, PostgreSQL.dispatches',
      'BullMQ (Redis, fsync each second)': 'b.peer bullmq, Redis.dispatches',
      'BullMQ (Redis, fsync always)': 'b.peer bullmq, Redis, appendfsync=always.dispatches',
      'plainjob (SQLite, loses a power cut)': 'b.peer plainjob.dispatches',
      'plainjob (SQLite, synchronous)': 'b.peer plainjob, synchronous=FULL.dispatches',
    },
  },
  memory: {
    title: 'Resident memory of the package',
    description: 'The highest resident memory of the built package at rest, under load, and with a crowd.',
    unit: ' MiB',
    ours: {
      'at rest': 'e.package at rest',
      'under load': 'e.package under load',
      '2,000 waiters and 1,000 streams': 'e.package with waiters and streams',
    },
    others: {},
  },
};

/** SVG images by name. */
export function chartsOf({ figures }: Figures): Record<string, string> {
  const charts: Record<string, string> = {};
  for (const [name, { ours, others, ...drawing }] of Object.entries(drawings)) {
    const bars = [...barsOf(ours, true), ...barsOf(others, false)];
    if (bars.length > 0) charts[name] = barChart({ ...drawing, bars });
  }
  return charts;

  function barsOf(named: Record<string, string>, isOurs: boolean): Bar[] {
    return Object.entries(named).flatMap(([label, name]) => {
      const spread = figures[name];
      return spread ? [{ label, spread, isOurs }] : [];
    });
  }
}
