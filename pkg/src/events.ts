import { errorWithCode } from './errors.js';
import type { DatabaseEvents, DataLoss, StorageWarning } from './types.js';

type Kind = keyof DatabaseEvents;
type Handler = (payload: never) => void;

const KINDS: { readonly [K in Kind]: true } = {
  status: true, change: true, conflict: true, rejected: true, superseded: true, progress: true, dataLost: true, storage: true,
  error: true,
};

/** The listeners of one handle. */
export class Events {
  readonly #handlers = new Map<Kind, Set<Handler>>();
  readonly #endings = new Set<() => void>();
  /** What nobody listened to when it happened and must not be missed: the losses, and the last warning for each reason. */
  readonly #missed: { readonly dataLost: DataLoss[]; readonly storage: StorageWarning[] } = { dataLost: [], storage: [] };

  on<K extends Kind>(kind: K, handler: (payload: DatabaseEvents[K]) => void): () => void {
    if (!Object.hasOwn(KINDS, kind)) throw errorWithCode('INVALID_OPTIONS', `there is no event ${String(kind)}`);
    const handlers = this.#handlers.get(kind) ?? new Set();
    this.#handlers.set(kind, handlers);
    // A wrapper each, so that the same function may listen twice and each `stop` takes back one of them.
    const entry: Handler = (payload) => handler(payload);
    handlers.add(entry);
    if (isKept(kind) && this.#missed[kind].length > 0) queueMicrotask(() => this.#missed[kind].splice(0).forEach((missed) => this.emit(kind, missed as DatabaseEvents[K])));
    return () => void handlers.delete(entry);
  }

  has(kind: Kind): boolean {
    return (this.#handlers.get(kind)?.size ?? 0) > 0;
  }

  /** Calls the handlers, in the order in which they came; one that throws does not keep the others from being called. */
  emit<K extends Kind>(kind: K, payload: DatabaseEvents[K]): void {
    if (!this.has(kind)) this.#keep(kind, payload);
    for (const handler of [...(this.#handlers.get(kind) ?? [])]) {
      try {
        handler(payload as never);
      } catch (error) {
        report(error);
      }
    }
  }

  #keep(kind: Kind, payload: unknown): void {
    if (kind === 'dataLost') this.#missed.dataLost.push(payload as DataLoss);
    if (kind !== 'storage') return;
    const warning = payload as StorageWarning;
    const others = this.#missed.storage.filter(({ reason }) => reason !== warning.reason);
    this.#missed.storage.splice(0, Infinity, ...others, warning);
  }

  /** Calls `handler` when the handle closes. */
  onEnd(handler: () => void): () => void {
    this.#endings.add(handler);
    return () => void this.#endings.delete(handler);
  }

  /** Takes leave of all listeners; there are no events from here on. */
  end(): void {
    const endings = [...this.#endings];
    this.#endings.clear();
    this.#handlers.clear();
    for (const handler of endings) handler();
  }
}

function isKept(kind: Kind): kind is 'dataLost' | 'storage' {
  return kind === 'dataLost' || kind === 'storage';
}

/** Lets an error of the app's own code, called from here, surface as an uncaught one does: on the console and to `onerror`. */
export function report(error: unknown): void {
  if (typeof reportError === 'function') reportError(error);
  else setTimeout(() => { throw error; });
}
