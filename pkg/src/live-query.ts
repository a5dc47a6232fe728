import { type ObjectqlError, toObjectqlError } from './errors.js';
import { type Events, report } from './events.js';
import type { LiveResult, RecordId } from './types.js';

/**
 * Follows the result of a query: `onRows` gets it at once, or as soon as a worker answers; then whenever it changed. `onError` hears why there are
 * no more, where that was not thrown at once. Returns what ends that.
 */
export type Watch<Row> = (onRows: (rows: readonly Row[]) => void, onError: (thrown: unknown) => void) => () => void;

/**
 * A query whose result is delivered anew whenever it changes. Made by `db.liveQuery`; costs nothing until it is used.
 *
 * The first result comes at once. After that, each commit that changes the result gives one, with what is different; the driver keeps the
 * result record by record, so that a commit costs in proportion to what it changed. Records that did not change are the same
 * objects as before. It ends with `close()`.
 */
export class LiveQuery<Row extends { readonly id: RecordId }> implements AsyncIterable<LiveResult<Row>> {
  readonly #watch: Watch<Row>;
  readonly #events: Events;
  readonly #whenLoaded: (thrown: unknown) => Promise<void> | undefined;

  /** @internal */
  constructor(watch: Watch<Row>, events: Events, whenLoaded: (thrown: unknown) => Promise<void> | undefined) {
    this.#watch = watch;
    this.#events = events;
    this.#whenLoaded = whenLoaded;
  }

  /**
   * Calls `onResult` with the present result and with each later one; returns what ends that. The first call is made before it returns
   * where the object's records are in memory, which those of an object are that was queried before, unless the driver is in a worker.
   * A failure ends it, and goes to `onError`; without that it is reported as an uncaught error.
   *
   * ```ts
   * const stop = db.liveQuery('story').subscribe(({ rows, added }) => render(rows, added), (error) => show(error.message));
   * ```
   */
  subscribe(onResult: (result: LiveResult<Row>) => void, onError: (error: ObjectqlError) => void = report): () => void {
    let before: readonly Row[] = [];
    const onRows = (rows: readonly Row[]) => {
      const result = changesBetween(before, rows);
      before = rows;
      try {
        onResult(result);
      } catch (error) {
        report(error);
      }
    };
    return this.#follow({ onRows, onError, onEnd: () => undefined });
  }

  /**
   * Iterates over the results. Whoever is slow gets the newest one, with what changed since the last that they took. Ends when the
   * database closes.
   */
  async *[Symbol.asyncIterator](): AsyncGenerator<LiveResult<Row>, void, undefined> {
    let taken: readonly Row[] = [];
    let newest: readonly Row[] | undefined;
    let failure: { error: ObjectqlError } | undefined;
    let hasEnded = false;
    let wake: () => void = () => undefined;
    const stop = this.#follow({
      onRows: (rows) => { newest = rows; wake(); },
      onError: (error) => { failure = { error }; wake(); },
      onEnd: () => { hasEnded = true; wake(); },
    });
    try {
      for (;;) {
        if (failure) throw failure.error;
        if (hasEnded) return;
        if (newest) {
          const result = changesBetween(taken, newest);
          taken = newest;
          newest = undefined;
          yield result;
        } else {
          await new Promise<void>((resolve) => { wake = resolve; });
        }
      }
    } finally {
      stop();
    }
  }

  #follow(to: Follower<Row>): () => void {
    let unwatch = () => undefined as void;
    let isStopped = false;
    const stop = () => {
      isStopped = true;
      stopWaiting();
      unwatch();
    };
    const stopWaiting = this.#events.onEnd(() => {
      stop();
      to.onEnd();
    });
    const fail = (thrown: unknown) => {
      if (isStopped) return;
      stop();
      to.onError(toObjectqlError(thrown));
    };
    const begin = () => {
      if (isStopped) return;
      try {
        unwatch = this.#watch(to.onRows, fail);
      } catch (thrown) {
        const loading = this.#whenLoaded(thrown);
        if (loading === undefined) fail(thrown);
        else loading.then(begin, fail);
      }
      // A handler may have ended it meanwhile.
      if (isStopped) unwatch();
    };
    begin();
    return stop;
  }
}

interface Follower<Row> {
  onRows(rows: readonly Row[]): void;
  onError(error: ObjectqlError): void;
  onEnd(): void;
}

/** What is different between two results, found by the identity of their records. */
export function changesBetween<Row extends { readonly id: RecordId }>(before: readonly Row[], rows: readonly Row[]): LiveResult<Row> {
  const shorter = Math.min(before.length, rows.length);
  let start = 0;
  while (start < shorter && before[start] === rows[start]) start++;
  let same = 0;
  while (same < shorter - start && before[before.length - 1 - same] === rows[rows.length - 1 - same]) same++;
  const gone = before.slice(start, before.length - same);
  const places = new Map(gone.map((row, place) => [row.id, place]));
  const result = { rows, added: [] as Row[], changed: [] as Row[], removed: [] as Row[], moved: [] as Row[] };
  const kept: { row: Row; place: number }[] = [];
  for (const row of rows.slice(start, rows.length - same)) {
    const place = places.get(row.id);
    if (place === undefined) {
      result.added.push(row);
    } else {
      places.delete(row.id);
      kept.push({ row, place });
      if (gone[place] !== row) result.changed.push(row);
    }
  }
  for (const place of places.values()) result.removed.push(gone[place] as Row);
  const stayed = longestRise(kept.map(({ place }) => place));
  result.moved = kept.filter((_, at) => !stayed.has(at)).map(({ row }) => row);
  return result;
}

/** Where a longest rising subsequence is (patience sorting: Fredman, "On computing the length of longest increasing subsequences", 1975). */
function longestRise(numbers: readonly number[]): Set<number> {
  const before: number[] = [];
  /** Where the best subsequence of each length ends. */
  const ends: number[] = [];
  numbers.forEach((number, at) => {
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((numbers[ends[middle] as number] as number) < number) low = middle + 1;
      else high = middle;
    }
    before[at] = ends[low - 1] ?? -1;
    ends[low] = at;
  });
  const rise = new Set<number>();
  for (let at = ends.at(-1) ?? -1; at >= 0; at = before[at] as number) rise.add(at);
  return rise;
}
