import { type Answer, type Driver, parse, type Question, type Write } from './driver.js';
import { errorWithCode, type ObjectqlError, toObjectqlError } from './errors.js';
import { report } from './events.js';
import type { Find } from './expand.js';
import {
  type Failure,
  failureOf,
  type Finding,
  type FromDriver,
  type SentRequest,
  type SentResponse,
  type ToDriver,
  type ToWorker,
} from './messages.js';
import type { EncodedQuery } from './queries.js';
import { parseRecords, type ReadRecord, Rows } from './rows.js';
import type { PageHooks } from './start.js';
import type { Status } from './types.js';

/** A call that waits. */
interface Waiting {
  resolve(value: unknown): void;
  reject(error: ObjectqlError): void;
  readonly isWrite: boolean;
}

/** A live query that is followed in the worker. */
export interface RemoteLive {
  /** From `start`, so many records are gone, and those found stand there. */
  change(start: number, removed: number, records: readonly ReadRecord[]): void;
  /** Hands over its rows; `find` knows what they are related to. */
  show(find: Find): void;
  fail(error: ObjectqlError): void;
}

/** A driver in a worker. What it answers is read in the order in which it comes, which is that in which the driver made it. */
export class RemoteDriver implements Driver {
  readonly #hooks: PageHooks | undefined;
  readonly #forget: () => void;
  readonly #port: MessagePort;
  readonly #far: MessagePort;
  readonly #waiting = new Map<number, Waiting>();
  readonly #lives = new Map<number, RemoteLive>();
  readonly #rows = new Rows();
  /** What ends the requests that the app sends for the driver. */
  readonly #sending = new Map<number, AbortController>();
  #nextId = 0;
  /** What the driver said last, as JSON text. */
  #status = '';
  /** Why there are no answers any more. */
  #end: ObjectqlError | undefined;

  constructor(hooks: PageHooks | undefined, forget: () => void) {
    this.#hooks = hooks;
    this.#forget = forget;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#far = port2;
    port1.onmessage = ({ data }: MessageEvent<FromDriver>) => this.#take(data);
    // Told by newer browsers, also where there are no locks.
    port1.addEventListener('close', () => this.lose());
  }

  /** Has the worker begin; the answer to that is the first one. @internal */
  async attach(message: ToWorker, worker: Worker | MessagePort): Promise<void> {
    const status = await this.#wait(false, () => worker.postMessage(message, [this.#far])).catch((error: unknown) => {
      this.#finish(closed());
      throw error;
    });
    if (typeof status === 'string') this.#status = status;
    else this.#finish(closed());
  }

  write(kind: Write, object: string, first: string | Uint8Array, second: string, within?: number): Promise<unknown> {
    const transfer = typeof first === 'string' ? [] : [first.buffer as ArrayBuffer];
    return this.#call(within === undefined, 'write', [kind, object, first, second, within], transfer);
  }

  ask(kind: 'status', object: string, first: string, second: string): string;
  ask(kind: Question, object: string, first: string, second: string, within?: number): Answer<string>;
  ask(kind: Question, ...rest: unknown[]): Answer<string> {
    return kind === 'status' ? this.#status : (this.#call(false, 'ask', [kind, ...rest]) as Promise<string>);
  }

  begin(): Promise<number> {
    return this.#call(false, 'begin', []) as Promise<number>;
  }

  async rollback(transaction: number): Promise<void> {
    await this.#call(false, 'rollback', [transaction]);
  }

  async load(object: string, idJson?: string): Promise<void> {
    await this.#call(false, 'load', [object, idJson]);
  }

  sync(): Promise<object> {
    return this.#call(false, 'sync', []) as Promise<object>;
  }

  settled(mutationId: string): Promise<string> {
    return this.#call(false, 'settled', [mutationId]) as Promise<string>;
  }

  async close(): Promise<void> {
    if (this.#end !== undefined) return;
    await this.#call(false, 'close', []).catch((error: unknown) => {
      // It is closed all the more.
      if (this.#end === undefined) throw error;
    });
    this.#finish(closed());
  }

  /** One record. */
  async get(object: string, idJson: string): Promise<ReadRecord | undefined> {
    const find = (await this.#call(false, 'get', [object, idJson])) as Find;
    return find(object, idJson)[0];
  }

  /** What a query finds, in a transaction if one is named, and what that is related to: to be asked for as the driver would be. */
  find(object: string, query: Partial<EncodedQuery>, within?: number): Promise<Find> {
    return this.#call(false, 'find', [object, query, within]) as Promise<Find>;
  }

  /** Follows the result of a query; returns what ends that. */
  watch(object: string, query: EncodedQuery, live: RemoteLive): () => void {
    if (this.#end !== undefined) throw this.#end;
    const id = this.#nextId++;
    this.#lives.set(id, live);
    this.#say(['call', id, 'watch', [object, query]]);
    return () => {
      if (this.#lives.delete(id)) this.#say(['unwatch', id]);
    };
  }

  /** The worker is gone: nobody knows what became of the writes that were under way, and all else will not be answered. */
  lose(): void {
    if (this.#end !== undefined) return;
    const message = 'the worker of the database ended: close the database and open it again';
    const error = errorWithCode('WASM_FAILED', message);
    this.#finish(error, errorWithCode('STORAGE_UNKNOWN', `${message}, and see whether what was written is there`));
    if (this.#hooks === undefined || this.#status === '') return;
    const { event, lost } = this.#hooks;
    lost();
    this.#status = JSON.stringify({ ...parse<Status>(this.#status), state: 'closed', leader: false, realtime: false });
    event('status', this.#status);
    event('error', JSON.stringify({ code: error.code, message }));
  }

  #finish(error: ObjectqlError, ofWrites = error): void {
    this.#end = error;
    this.#forget();
    this.#port.close();
    for (const { reject, isWrite } of this.#waiting.values()) reject(isWrite ? ofWrites : error);
    for (const { fail } of this.#lives.values()) {
      try {
        fail(error);
      } catch (thrown) {
        // A handler of the app's: the others are told all the same.
        report(thrown);
      }
    }
    for (const controller of this.#sending.values()) controller.abort();
    this.#waiting.clear();
    this.#lives.clear();
  }

  #call(isWrite: boolean, method: string, args: readonly unknown[], transfer?: Transferable[]): Promise<unknown> {
    return this.#wait(isWrite, (id) => this.#say(['call', id, method, args], transfer));
  }

  #wait(isWrite: boolean, say: (id: number) => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#end !== undefined) return reject(this.#end);
      const id = this.#nextId++;
      this.#waiting.set(id, { resolve, reject, isWrite });
      say(id);
    });
  }

  #say(message: ToDriver, transfer: Transferable[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  #take(message: FromDriver): void {
    switch (message[0]) {
      case 'returned': return this.#settle(message[1])?.resolve(message[2]);
      case 'threw': return this.#fail(message[1], toError(message[2]));
      case 'ahead': return void this.#rows.read(message[1]);
      case 'found': {
        // Whoever asked for them may have gone: they must be read all the same.
        const find = this.#findIn(message[2]);
        return this.#settle(message[1])?.resolve(find);
      }
      case 'live': return this.#show(message);
      case 'began': return this.#hooks?.began(message[1]);
      case 'writes': return this.#hooks?.beforeWriting();
      case 'event':
        if (message[1] === 'status') this.#status = message[2];
        return this.#hooks?.event(message[1], message[2]);
      case 'call': return void this.#serve(message);
      case 'abort': return this.#sending.get(message[1])?.abort();
    }
  }

  #settle(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    this.#waiting.delete(id);
    return waiting;
  }

  #fail(id: number, error: ObjectqlError): void {
    this.#settle(id)?.reject(error);
    const live = this.#lives.get(id);
    this.#lives.delete(id);
    live?.fail(error);
  }

  #show([, changes, due]: FromDriver & ['live', ...unknown[]]): void {
    // All are read before any is shown: a handler may do as it likes.
    const changed = changes.map(([live, start, removed, found]) => ({ live, start, removed, records: this.#rows.read(found) }));
    const finds = due.map(([live, related]) => ({ live, find: this.#findIn(related) }));
    for (const { live, start, removed, records } of changed) this.#lives.get(live)?.change(start, removed, records);
    for (const { live, find } of finds) {
      try {
        this.#lives.get(live)?.show(find);
      } catch (thrown) {
        this.#fail(live, toObjectqlError(thrown));
      }
    }
  }

  /** Answers from what was found what was asked for it. */
  #findIn(findings: readonly Finding[]): Find {
    const known = new Map<string, readonly ReadRecord[]>();
    for (const [object, json, found] of findings) known.set(`${object} ${json}`, typeof found === 'string' ? parseRecords(found) : this.#rows.read(found));
    return (object, json) => {
      const records = known.get(`${object} ${json}`);
      if (records === undefined) throw errorWithCode('INTERNAL', `the worker did not ask for ${object} ${json}`);
      return records;
    };
  }

  /** Does for the driver what only the page can. */
  async #serve([, id, method, args]: FromDriver & ['call', ...unknown[]]): Promise<void> {
    try {
      const value = method === 'headers' ? await this.#hooks?.headers?.() : await this.#send(id, ...(args as [string, SentRequest]));
      if (this.#end === undefined) this.#say(['returned', id, value]);
    } catch (thrown) {
      if (this.#end === undefined) this.#say(['threw', id, failureOf(thrown)]);
    }
  }

  async #send(id: number, url: string, { headers, ...request }: SentRequest): Promise<SentResponse> {
    const controller = new AbortController();
    this.#sending.set(id, controller);
    try {
      const response = await this.#hooks!.fetch!(url, { ...request, headers: new Headers(headers), signal: controller.signal });
      if (!(response instanceof Response)) throw new Error('sync.fetch did not return a Response');
      return { status: response.status, headers: [...response.headers], redirected: response.redirected, body: await response.arrayBuffer() };
    } finally {
      this.#sending.delete(id);
    }
  }
}

function closed(): ObjectqlError {
  return errorWithCode('CLOSED', 'the database was closed');
}

function toError({ code, message }: Failure): ObjectqlError {
  return errorWithCode(code ?? 'INTERNAL', message);
}
