import { computed, signal } from '@preact/signals';
import type { Database, Status, SyncProgress, SyncReport } from 'objectql-offline';
import type { Schema } from './generated';
import type { Network } from './network';

/** The most syncs kept. */
const MAX_SYNCS = 30;

/** What an answer, or all answers of a sync, came to. */
export type Tally = Omit<SyncReport, 'requests' | 'durationMs'>;

/** A request of a sync. */
export interface SyncRequest extends Tally {
  startedAt: number;
  /** Null while it is under way. */
  endedAt: number | null;
  /** Mutations in its body; without an answer nobody knows what became of them. */
  sent: number;
  /** Null without an answer. */
  httpStatus: number | null;
  isFailed: boolean;
}

/** A sync: requests until nothing was left to push or pull, or one failed. */
export interface Sync {
  id: number;
  /** Milliseconds since the epoch. */
  startedAt: number;
  /** Null while it runs. */
  endedAt: number | null;
  requests: readonly SyncRequest[];
  total: Tally;
  /** Mutations still to be settled; null before the first answer. */
  remaining: number | null;
  hasMore: boolean;
  error: { code: string; message: string } | null;
  /** How many in a row were like this one: polls that brought nothing, or attempts that failed alike. */
  times: number;
}

const NOTHING: Tally = { pushed: 0, pulled: 0, applied: 0, superseded: 0, conflicts: 0, rejected: 0, bytes: 0 };
const NONE_TOLD = { ...NOTHING, requests: 0 };
const COUNTS = Object.keys(NOTHING) as (keyof Tally)[];

/**
 * The last syncs of one client, the newest first. The network tells when a request goes and how it ends; `progress` tells what the
 * answer held; `status` tells when the sync is over. Other tabs' syncs are not seen here.
 */
export class SyncLog {
  readonly syncs = signal<readonly Sync[]>([]);
  /** The sync that runs. */
  readonly running = computed(() => this.syncs.value.find(({ endedAt }) => endedAt === null));

  #lastId = 0;
  /** What `progress` told last: it adds up over a sync, and each answer is the difference. */
  #told: Tally & { requests: number } = NONE_TOLD;
  #lastSyncedAt: string | null = null;

  constructor(network: Network) {
    network.observe = (body) => {
      this.#begin(mutationsIn(body));
      return {
        answered: (status) => this.#changeRequest(() => ({ httpStatus: status })),
        failed: () => this.#changeRequest(() => ({ endedAt: Date.now(), isFailed: true })),
      };
    };
  }

  /** Follows the database that syncs over the network; called once. */
  follow(db: Database<Schema>): void {
    this.#lastSyncedAt = db.status.lastSyncedAt;
    db.on('progress', (progress) => this.#answer(progress));
    db.on('status', (status) => this.#settle(status));
  }

  #begin(sent: number): void {
    const startedAt = Date.now();
    const request: SyncRequest = { ...NOTHING, startedAt, endedAt: null, sent, httpStatus: null, isFailed: false };
    if (this.running.peek()) {
      this.#change((sync) => ({ requests: [...sync.requests, request] }));
      return;
    }
    this.#told = NONE_TOLD;
    const sync: Sync = {
      ...{ id: ++this.#lastId, startedAt, endedAt: null, requests: [request], total: NOTHING },
      ...{ remaining: null, hasMore: false, error: null, times: 1 },
    };
    this.syncs.value = [sync, ...this.syncs.peek()].slice(0, MAX_SYNCS);
  }

  #answer(progress: SyncProgress): void {
    // It counts from zero again: a new sync followed the last one without a pause.
    const told = progress.requests <= this.#told.requests ? NONE_TOLD : this.#told;
    this.#told = progress;
    const tally = combine(progress, told, -1);
    this.#changeRequest(() => ({ ...tally, endedAt: Date.now() }));
    const { remaining, hasMore } = progress;
    this.#change((sync) => ({ total: combine(sync.total, tally, 1), remaining, hasMore }));
  }

  /** Ends the sync when the driver says that it is over, or that another one began. */
  #settle({ state, lastSyncedAt, error }: Status): void {
    const isDone = lastSyncedAt !== this.#lastSyncedAt;
    this.#lastSyncedAt = lastSyncedAt;
    if (state === 'syncing' && !isDone) return;
    const endedAt = Date.now();
    const isFailed = error !== null && !isDone;
    this.#change(({ requests }) => ({
      endedAt,
      error: isFailed ? error : null,
      requests: requests.map((each) => (each.endedAt === null ? { ...each, endedAt, isFailed } : each)),
    }));
    const [ended, before, ...older] = this.syncs.peek();
    if (ended && before && isAlike(ended, before)) this.syncs.value = [{ ...ended, id: before.id, times: before.times + 1 }, ...older];
  }

  #change(change: (sync: Sync) => Partial<Sync>): void {
    const running = this.running.peek();
    if (!running) return;
    this.syncs.value = this.syncs.peek().map((sync) => (sync === running ? { ...sync, ...change(sync) } : sync));
  }

  /** Changes the request that is under way; a driver has one at a time. */
  #changeRequest(change: () => Partial<SyncRequest>): void {
    this.#change(({ requests }) => ({ requests: requests.map((each) => (each.endedAt === null ? { ...each, ...change() } : each)) }));
  }
}

/** Whether a sync brought nothing, or failed before any answer: then the next one like it takes its place. */
function isAlike(a: Sync, b: Sync): boolean {
  const isEmpty = ({ total }: Sync) => total.pushed + total.pulled === 0;
  if (a.endedAt === null || !isEmpty(a) || !isEmpty(b)) return false;
  return a.error?.code === b.error?.code && a.error?.message === b.error?.message;
}

function combine(a: Tally, b: Tally, factor: 1 | -1): Tally {
  return Object.fromEntries(COUNTS.map((name) => [name, a[name] + factor * b[name]])) as Record<keyof Tally, number>;
}

/** How many mutations a request's body holds. */
function mutationsIn(body: Uint8Array): number {
  try {
    const { mutations } = JSON.parse(new TextDecoder().decode(body)) as { mutations?: unknown };
    return Array.isArray(mutations) ? mutations.length : 0;
  } catch {
    return 0;
  }
}
