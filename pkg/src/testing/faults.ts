/** What goes wrong with a request. All of it may be combined; what comes first in this list is met first. */
export interface Fault {
  /** How long the request is under way before anything else happens, in milliseconds. */
  delayMs?: number;
  /** Whether there is no network: nothing reaches the server, and `fetch` rejects as in a browser. */
  offline?: boolean;
  /** Whether the server refuses the credentials: 401, nothing is applied. */
  unauthorized?: boolean;
  /** The HTTP status to answer with instead, from 200 to 599; nothing is applied. 0: none. */
  status?: number;
  /** The `Retry-After` of such an answer. 0: none. */
  retryAfterSeconds?: number;
  /** Whether the mutations are applied and the answer is lost on its way: `fetch` rejects. */
  loseAnswers?: boolean;
  /** Whether the mutations are applied and the body of the answer is cut in the middle. */
  garble?: boolean;
}

/**
 * What goes wrong between the clients and a test server: from now on, until it is set back, or for the next requests.
 *
 * ```ts
 * server.faults.offline = true;
 * server.faults.next(1, { loseAnswers: true });
 * server.faults.clear();
 * ```
 */
export class Faults implements Required<Fault> {
  delayMs = 0;
  offline = false;
  unauthorized = false;
  status = 0;
  retryAfterSeconds = 0;
  loseAnswers = false;
  garble = false;
  #queue: Fault[] = [];

  /** Has the next `count` requests meet this fault, over what stays on; after those of earlier calls. */
  next(count: number, fault: Fault): void {
    for (let at = 0; at < count; at++) this.#queue.push({ ...fault });
  }

  /** Ends all faults, those of `next` that have not come up included. */
  clear(): void {
    Object.assign(this, new Faults());
    this.#queue = [];
  }

  /**
   * What the request that comes now meets.
   *
   * @internal
   */
  take(): Fault {
    return { ...this, ...this.#queue.shift() };
  }
}
