import { type ObjectqlError, toObjectqlError } from './errors.js';
import { type Events, report } from './events.js';

/**
 * A query whose result is delivered anew whenever it changes. Made by `db.liveQuery`; costs nothing until it is used.
 *
 * The first result comes at once. After that, all that changes within one turn gives one result, and only one that differs
 * from the last. It ends with `close()`.
 */
export class LiveQuery<Result> implements AsyncIterable<Result[]> {
  readonly #object: string;
  readonly #find: () => string;
  readonly #events: Events;

  /** @internal */
  constructor(object: string, find: () => string, events: Events) {
    this.#object = object;
    this.#find = find;
    this.#events = events;
  }

  /**
   * Calls `onResult` with the present result before it returns, and with each later one; returns what ends that.
   * A failure ends it, and goes to `onError`; without that it is reported as an uncaught error.
   *
   * ```ts
   * const stop = db.liveQuery('story').subscribe((rows) => render(rows), (error) => show(error.message));
   * ```
   */
  subscribe(onResult: (rows: Result[]) => void, onError: (error: ObjectqlError) => void = report): () => void {
    return this.#follow({ onResult, onError, onEnd: () => undefined });
  }

  /** Iterates over the results. Whoever is slow gets the newest one and misses those between. Ends when the database closes. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Result[], void, undefined> {
    let newest: { rows: Result[] } | undefined;
    let failure: { error: ObjectqlError } | undefined;
    let hasEnded = false;
    let wake: () => void = () => undefined;
    const stop = this.#follow({
      onResult: (rows) => { newest = { rows }; wake(); },
      onError: (error) => { failure = { error }; wake(); },
      onEnd: () => { hasEnded = true; wake(); },
    });
    try {
      for (;;) {
        if (failure) throw failure.error;
        if (hasEnded) return;
        if (newest) {
          const { rows } = newest;
          newest = undefined;
          yield rows;
        } else {
          await new Promise<void>((resolve) => { wake = resolve; });
        }
      }
    } finally {
      stop();
    }
  }

  #follow(to: Follower<Result>): () => void {
    let last: string | undefined;
    let isDue = false;
    let isOver = false;
    const stop = () => {
      isOver = true;
      stopListening();
      stopWaiting();
    };
    const run = () => {
      isDue = false;
      if (isOver) return;
      let text: string;
      try {
        text = this.#find();
      } catch (thrown) {
        stop();
        to.onError(toObjectqlError(thrown));
        return;
      }
      if (text === last) return;
      last = text;
      try {
        to.onResult(JSON.parse(text) as Result[]);
      } catch (error) {
        report(error);
      }
    };
    const stopListening = this.#events.on('change', ({ changes }) => {
      if (isDue || !changes.some(({ objectName }) => objectName === this.#object)) return;
      isDue = true;
      queueMicrotask(run);
    });
    const stopWaiting = this.#events.onEnd(() => {
      stop();
      to.onEnd();
    });
    run();
    return stop;
  }
}

interface Follower<Result> {
  onResult(rows: Result[]): void;
  onError(error: ObjectqlError): void;
  onEnd(): void;
}
