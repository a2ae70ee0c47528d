import type { Clock } from '../clock.ts';
import type { CommitNotifier } from '../commit-notifier.ts';
import type { Database, Reader, Tx } from '../db/database.ts';
import { Refusal, StartError } from '../errors.ts';
import type { EventLog } from '../events/service.ts';
import {
  abandonedSubscriptions,
  deleteServers,
  findSubscriptions,
  firstOfTypes,
  insertServers,
  insertSubscription,
  listNames,
  listServers,
  listSubscriptions,
  updatePositions,
  updateSubscription,
} from './repository.ts';
import { type Consumer, type EventScope, matching, type Subscription, subscriptionReader } from './subscription.ts';

export type SubscriptionService = ReturnType<typeof createSubscriptions>;

interface Dependencies {
  db: Pick<Database, 'read' | 'write' | 'presence'>;
  clock: Clock;
  events: Pick<EventLog, 'latest'>;
  commits: CommitNotifier;
  /** Names this process, as its leases do. */
  process: string;
}

/** A subscription and the names of the processes that serve it. */
export interface Served {
  subscription: Subscription;
  served_by: string[];
}

/** What a webhook wants: the topics of its event types, and the scope of its events. */
export interface WebhookScope {
  topics: string[];
  filter: EventScope | null;
}

/** Reads of subscriptions. */
export function createSubscriptionViews() {
  const toSubscription = subscriptionReader();

  /** All subscriptions that are not deleted, by name. */
  const all = async (reader: Reader): Promise<Subscription[]> => (await listSubscriptions(reader)).map(toSubscription);

  async function served(reader: Reader): Promise<Served[]> {
    const servers = await listServers(reader);
    const bySubscription = Map.groupBy(servers, ({ subscription_id }) => subscription_id);
    // Each process that has a worker sends all webhooks.
    const workers = [...new Set(servers.map(server => server.process))];
    return (await all(reader)).map(subscription => ({
      subscription,
      served_by:
        subscription.kind === 'webhook'
          ? workers
          : (bySubscription.get(subscription.subscription_id) ?? []).map(server => server.process),
    }));
  }

  return {
    all,
    served,

    /** These subscriptions as they are stored, without those that are deleted. */
    current: async (reader: Reader, ids: readonly number[]): Promise<Subscription[]> =>
      (await findSubscriptions(reader, ids)).map(toSubscription),

    /** The names of all subscriptions by id, deleted ones included. */
    names: async (reader: Reader): Promise<Map<number, string>> =>
      new Map((await listNames(reader)).map(({ subscription_id, name }) => [subscription_id, name])),
  };
}

/** Who consumes what: named consumers with topic patterns, stored for all processes of the database. */
export function createSubscriptions({ db, clock, events, commits, process }: Dependencies) {
  let own: readonly Subscription[] = [];
  let serving = false;

  const views = createSubscriptionViews();
  const { all, served } = views;

  async function required(reader: Reader, name: string): Promise<Served> {
    const found = (await served(reader)).find(({ subscription }) => subscription.name === name);
    if (!found) throw new Refusal('SUBSCRIPTION_NOT_FOUND', `There is no subscription ${name}.`);
    return found;
  }

  /** Stores a new subscription, at the head of the log or at its start. */
  async function insert(tx: Tx, { name, topics, policy, from }: Consumer): Promise<Subscription> {
    const position = from === 'beginning' ? 0 : await events.latest(tx);
    const now = clock.now();
    const content = {
      name,
      kind: 'handler',
      topics: JSON.stringify(topics),
      filter: null,
      dead_policy: policy.dead,
      position,
    } as const;
    const row = { ...content, last_seen_at: now };
    const subscription_id = await insertSubscription(tx, { ...row, created_at: now });
    return { ...row, subscription_id, topics, ...matching(topics) };
  }

  /** Where the events begin that a subscription has not been given; the head of the log if there are none. */
  async function restOf(tx: Tx, { topics, filter, eventTypes, position }: Subscription): Promise<number> {
    // An upgrade has made it, and what it has wanted since is not known.
    if (topics.length === 0) return position;
    const first = eventTypes.size === 0 ? undefined : await firstOfTypes(tx, eventTypes, position, filter ?? {});
    return first === undefined ? events.latest(tx) : first - 1;
  }

  /** Stores what has changed. Patterns that are new begin where the old ones have nothing more to deliver. */
  async function update(tx: Tx, known: Subscription, { topics, policy }: Consumer): Promise<Subscription> {
    const same = JSON.stringify(known.topics) === JSON.stringify(topics);
    if (same && known.dead_policy === policy.dead) return known;
    const position = same ? known.position : await restOf(tx, known);
    const dead_policy = policy.dead;
    await updateSubscription(tx, known.subscription_id, { topics: JSON.stringify(topics), dead_policy, position });
    return { ...known, topics, dead_policy, position, ...matching(topics) };
  }

  return {
    /** The subscriptions that this process has registered. */
    get own(): readonly Subscription[] {
      return own;
    },

    /**
     * Registers the consumers of this process. Answers the subscriptions whose topics are new.
     * @param serves whether this process handles their messages
     */
    async register(tx: Tx, consumers: readonly Consumer[], serves: boolean): Promise<Subscription[]> {
      const known = new Map((await all(tx)).map(subscription => [subscription.name, subscription]));
      const registered: Subscription[] = [];
      const changed: Subscription[] = [];
      for (const consumer of consumers) {
        const before = known.get(consumer.name);
        const subscription = before ? await update(tx, before, consumer) : await insert(tx, consumer);
        registered.push(subscription);
        if (subscription.topics !== before?.topics) changed.push(subscription);
      }
      if (serves) await insertServers(tx, ids(registered), process);
      tx.afterCommit(() => {
        own = registered;
        serving = serves;
      });
      return changed;
    },

    /** Notes that this process serves nothing any more. */
    async leave(): Promise<void> {
      if (!serving) return;
      serving = false;
      await db.write(tx => deleteServers(tx, [process], clock.now()));
    },

    /**
     * Forgets processes that have died, and notes this one again if others took it for dead.
     * @returns whether it has to register again: a subscription of its own was deleted meanwhile
     */
    async keepServers(): Promise<boolean> {
      const processes = [...new Set((await listServers(db.read)).map(server => server.process))];
      const dead = await db.presence.deadAmong(processes);
      if (dead.length > 0) await db.write(tx => deleteServers(tx, dead, clock.now()));
      if (!serving || processes.includes(process)) return false;
      return db.write(async tx => {
        const left = await views.current(tx, ids(own));
        if (left.length < own.length) return true;
        await insertServers(tx, ids(own), process);
        return false;
      });
    },

    ...views,

    /** The subscriptions that want the messages of a topic. */
    matching: async (reader: Reader, topic: string): Promise<Subscription[]> =>
      (await all(reader)).filter(subscription => subscription.matches(topic)),

    /** Moves these subscriptions to one position in the log. */
    move: updatePositions,

    /** The ids of subscriptions whose deliveries nobody wants: deleted ones, and disabled webhooks. */
    abandoned: (reader: Reader): Promise<number[]> => abandonedSubscriptions(reader),

    /** Adds the subscription of a webhook at the head of the log, and answers its id. */
    async addWebhook(tx: Tx, name: string, { topics, filter }: WebhookScope): Promise<number> {
      const now = clock.now();
      return insertSubscription(tx, {
        ...{ name, kind: 'webhook', topics: JSON.stringify(topics), filter: filter && JSON.stringify(filter) },
        ...{ dead_policy: 'pass', position: await events.latest(tx), created_at: now, last_seen_at: now },
      });
    },

    /**
     * Changes what a webhook wants, from where it has got what it wanted before. Without topics it is disabled; one that was
     * begins at the head of the log.
     */
    async changeWebhook(tx: Tx, id: number, { topics, filter }: WebhookScope): Promise<void> {
      const wanted = { topics: JSON.stringify(topics), filter: filter && JSON.stringify(filter) };
      const [before] = await views.current(tx, [id]);
      const goesOn = before !== undefined && before.topics.length > 0 && topics.length > 0;
      const position = goesOn ? await restOf(tx, before) : await events.latest(tx);
      await updateSubscription(tx, id, { ...wanted, position });
    },

    /** Deletes the subscription of a webhook. Its deliveries are discarded soon after. */
    removeWebhook: (tx: Tx, id: number): Promise<void> => updateSubscription(tx, id, { deleted_at: clock.now() }),

    /**
     * Deletes a subscription that no process serves. Its deliveries are discarded soon after.
     * @throws Refusal SUBSCRIPTION_NOT_FOUND, SUBSCRIPTION_SERVED
     */
    async remove(tx: Tx, name: string): Promise<void> {
      const { subscription, served_by } = await required(tx, name);
      if (subscription.kind === 'webhook') {
        throw new Refusal('SUBSCRIPTION_SERVED', `The subscription ${name} is that of a webhook: delete the webhook.`);
      }
      if (served_by.length > 0) {
        const advice = 'Take its handler away and restart them first.';
        throw new Refusal(
          'SUBSCRIPTION_SERVED',
          `The subscription ${name} is served by ${served_by.join(', ')}. ${advice}`,
        );
      }
      await updateSubscription(tx, subscription.subscription_id, { deleted_at: clock.now() });
    },

    /** Delivers the events after a sequence again. @returns the new position @throws Refusal SUBSCRIPTION_NOT_FOUND */
    async replay(tx: Tx, name: string, after: number): Promise<number> {
      const { subscription } = await required(tx, name);
      const position = Math.min(after, subscription.position);
      if (position === subscription.position) return position;
      updatePositions(tx, [subscription.subscription_id], position);
      tx.afterCommit(() => commits.notify('message'));
      return position;
    },
  };
}

function ids(subscriptions: readonly Subscription[]): number[] {
  return subscriptions.map(({ subscription_id }) => subscription_id);
}

/** @throws StartError if two consumers have the same name */
export function assertDistinct(consumers: readonly Pick<Consumer, 'name'>[]): void {
  const names = consumers.map(({ name }) => name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined)
    throw new StartError(`Two handlers are named ${twice}; the name of a handler is that of its file.`);
}
