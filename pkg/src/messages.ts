// What a page and a worker say to each other. Both are of the same package: nobody else speaks it.
import type { Found, LiveChange } from './driver.js';
import type { Opening } from './start.js';

/** Goes up with every change of what is said here: an older worker may be what a newer page finds under its URL. */
export const DIALECT = 2;

/** An error, as it crosses. */
export interface Failure {
  readonly code: string | undefined;
  readonly name: string;
  readonly message: string;
}

/** What a query found: in a transaction, the JSON text of records. */
export type Finding = [object: string, queryJson: string, found: Found | string];

/** What happens to a page, as its browser calls it. */
export type PageEvent = 'focus' | 'online' | 'pageshow' | 'visibilitychange';

/** What a page says to the worker. Ports come along: for each database there is one. */
export type ToWorker =
  /** The lock that the page holds as long as it lives, where there are locks. */
  | ['hello', pageLock: string | undefined]
  | ['open', opening: Opening, has: { headers: boolean; fetch: boolean }]
  | ['destroy', name: string, isInMemory: boolean, wasm: Opening['wasm']]
  /** What happened to the page that the drivers listen to, and whether somebody may be looking at it. */
  | ['page', event: PageEvent, isVisible: boolean]
  /** Where no lock tells whether the worker is there: any answer does. */
  | ['ping']
  /** The page goes. */
  | ['bye'];

/** What a worker says to a page: how it speaks, and the lock that it holds as long as it lives; or that it is there. */
export type FromWorker = ['hello', dialect: number, workerLock: string | undefined] | ['pong'];

/** What is said to a driver: a call with its number; what came of one that the driver made; that a live query is not followed any more. */
export type ToDriver =
  | ['call', id: number, method: string, args: readonly unknown[]]
  | ['returned', id: number, value: unknown]
  | ['threw', id: number, failure: Failure]
  | ['unwatch', live: number];

/** What a driver says. Everything that has a `Found` in it comes in the order in which the driver made these. */
export type FromDriver =
  | ['returned', id: number, value: unknown]
  | ['threw', id: number, failure: Failure]
  /** Records that the page is to know before others: it makes objects of them in a task of its own. */
  | ['ahead', found: Found]
  | ['found', id: number, findings: Finding[]]
  /** Results changed, in all of this order, each with the number that the page gave it; those that are due are shown, with what their records are related to. */
  | ['live', changes: LiveChange[], due: [live: number, related: Finding[]][]]
  | ['began', identity: Uint8Array<ArrayBuffer> | undefined]
  | ['writes']
  | ['event', kind: string, json: string]
  | ['call', id: number, method: 'headers' | 'fetch', args: readonly unknown[]]
  | ['abort', id: number];

/** A request of the driver's and its answer, as they cross. */
export interface SentRequest {
  readonly method: string;
  readonly headers: [string, string][];
  readonly body: Uint8Array<ArrayBuffer>;
  readonly cache: RequestCache;
}
export interface SentResponse {
  readonly status: number;
  readonly headers: [string, string][];
  readonly redirected: boolean;
  readonly body: ArrayBuffer;
}

/** What was thrown, as it crosses. */
export function failureOf(thrown: unknown): Failure {
  const { code } = (thrown ?? {}) as { code?: unknown };
  const [name, message] = thrown instanceof Error ? [thrown.name, thrown.message] : ['Error', String(thrown)];
  return { code: typeof code === 'string' ? code : undefined, name, message };
}
