import { type Answer, type Found, type LiveChange, type LocalDriver, NO_ROWS, whenLoaded } from './driver.js';
import { errorWithCode } from './errors.js';
import { Shapes, type Shape } from './expand.js';
import {
  failureOf,
  type Finding,
  type FromDriver,
  type SentRequest,
  type SentResponse,
  type ToDriver,
} from './messages.js';
import { parseRecords } from './rows.js';
import type { Opening, PageHooks } from './start.js';
import type { ChangeEvent } from './types.js';
import type { EncodedQuery } from './queries.js';

/** Statuses of answers that have no body. */
const BODILESS = [204, 205, 304];

/** What a call gives that has sent its answer itself. */
const ANSWERED = Symbol();

/** A live query of the page. */
interface Live {
  /** The driver's number. */
  readonly number: number;
  readonly object: string;
  readonly query: EncodedQuery;
  readonly shape: Shape | undefined;
}

/** A driver in this worker, which a page uses over a port. Opened by `open`. */
export class ServedDriver {
  readonly #port: MessagePort;
  #driver: LocalDriver | undefined;
  #shapes = new Shapes([]);
  /** By the page's number. */
  readonly #lives = new Map<number, Live>();
  /** Those that the page ended before they were begun. */
  readonly #ended = new Set<number>();
  /** What the page was asked for. */
  readonly #asked = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  #lastAsked = 0;
  #isLeft = false;

  constructor(port: MessagePort) {
    this.#port = port;
    port.onmessage = ({ data }: MessageEvent<ToDriver>) => this.#take(data);
    // Told by newer browsers, also where there are no locks.
    port.addEventListener('close', () => void this.leave());
  }

  /** Opens the driver by `start`; tells the page what comes of it. */
  async open(start: (hooks: PageHooks) => Promise<LocalDriver>, { driver }: Opening, has: { headers: boolean; fetch: boolean }): Promise<void> {
    this.#shapes = new Shapes(driver.objects);
    try {
      this.#driver = await start(this.#hooks(has));
      this.#say(['returned', 0, this.#driver.ask('status', '', '', '')]);
    } catch (thrown) {
      this.#say(['threw', 0, failureOf(thrown)]);
      await this.leave();
    }
    // The page went while it was opened.
    if (this.#isLeft) await this.#driver?.close();
  }

  /** The page is gone, or going: what it asked to be written still is. */
  async leave(): Promise<void> {
    if (this.#isLeft) return;
    this.#isLeft = true;
    for (const { reject } of this.#asked.values()) reject(new Error('the page is gone'));
    this.#asked.clear();
    await this.#driver?.close();
  }

  /** Whether there is nobody to serve. */
  get isLeft(): boolean {
    return this.#isLeft;
  }

  #hooks(has: { headers: boolean; fetch: boolean }): PageHooks {
    return {
      began: (identity) => this.#say(['began', identity]),
      beforeWriting: () => this.#say(['writes']),
      event: (kind, json) => {
        // Not at once: the driver may be in the middle of a step.
        queueMicrotask(() => {
          if (kind === 'change') this.#tell(json);
          this.#say(['event', kind, json]);
        });
      },
      lost: () => undefined,
      ...(has.headers && { headers: () => this.#ask('headers', []) as Promise<Record<string, string>> }),
      ...(has.fetch && { fetch: (url, init) => this.#fetch(url, init) }),
    };
  }

  #say(message: FromDriver, transfer: Transferable[] = []): void {
    this.#port.postMessage(message, transfer);
  }

  #take(message: ToDriver): void {
    switch (message[0]) {
      case 'call': {
        const [, id, method, args] = message;
        return this.#answer(id, method, () => this.#perform(id, method, args), method === 'get' ? (args[1] as string) : undefined);
      }
      case 'unwatch': return this.#unwatch(message[1]);
      case 'returned': return this.#settle(message[1])?.resolve(message[2]);
      case 'threw': return this.#settle(message[1])?.reject(Object.assign(new Error(message[2].message), { name: message[2].name }));
    }
  }

  /** Performs a call, again once what it found missing was loaded, and answers it. */
  #answer(id: number, method: string, perform: () => unknown, idJson?: string): void {
    const fail = (thrown: unknown) => {
      const loading = whenLoaded(this.#driver!, thrown, idJson);
      // One record does not wait for the others; if it is not that, it waits for all.
      if (loading !== undefined) return void loading.then(() => this.#answer(id, method, perform), fail);
      this.#ended.delete(id);
      this.#say(['threw', id, failureOf(thrown)]);
    };
    const reply = (value: unknown) => {
      if (value !== ANSWERED) this.#say(['returned', id, value]);
      if (method === 'close') void this.leave().then(() => this.#port.close());
    };
    try {
      const value = perform();
      // What the step tells besides goes first, the status above all: that takes a turn.
      if (value instanceof Promise) value.then(async (result) => { await undefined; reply(result); }).catch(fail);
      else reply(value);
    } catch (thrown) {
      fail(thrown);
    }
  }

  #perform(id: number, method: string, args: readonly unknown[]): Answer<unknown> {
    const driver = this.#driver!;
    switch (method) {
      case 'get': return this.#get(id, ...(args as [string, string]));
      case 'find': return this.#find(id, ...(args as [string, EncodedQuery, number | undefined]));
      case 'watch': return this.#watch(id, ...(args as [string, EncodedQuery]));
      case 'write': return driver.write(...(args as Parameters<LocalDriver['write']>));
      case 'ask': return driver.ask(...(args as Parameters<LocalDriver['ask']>));
      case 'begin': return driver.begin();
      case 'rollback': return driver.rollback(...(args as [number]));
      case 'load': return driver.load(...(args as [string, string | undefined]));
      case 'sync': return driver.sync();
      case 'settled': return driver.settled(...(args as [string]));
      case 'close': return driver.close();
      default: throw errorWithCode('INTERNAL', `there is no call ${method}`);
    }
  }

  #get(id: number, object: string, idJson: string): typeof ANSWERED {
    const driver = this.#driver!;
    const answer = driver.get(object, idJson) ?? '?';
    const colon = answer.indexOf(':');
    let found: Found | string;
    // Without a stamp, where not all of the object is in memory; or without a record.
    if (answer.startsWith('?')) found = answer === '?' ? '' : `[${answer.slice(1)}]`;
    else {
      const isStale = answer.startsWith('!');
      const stamp = parseInt(answer.slice(isStale ? 1 : 0), 10);
      found = [Uint32Array.of(stamp), colon < 0 ? '' : `[${answer.slice(colon + 1)}]`, isStale ? driver.takeStale() : new Uint32Array()];
    }
    return this.#found(id, [[object, idJson, found]]);
  }

  #find(id: number, object: string, query: EncodedQuery, within: number | undefined): typeof ANSWERED {
    const shape = this.#shapes.of(object, query);
    if (within !== undefined) return this.#found(id, this.#walk(object, query, shape, within));
    const wanted: Finding[] = shape?.objects.size ? this.#walk(object, query, shape) : [[object, query.json, '']];
    return this.#found(id, this.#findAll(wanted));
  }

  #found(id: number, findings: Finding[]): typeof ANSWERED {
    this.#say(['found', id, findings]);
    return ANSWERED;
  }

  /** What is asked for the rows of a query, and the JSON text that answers it: at this moment, or in a transaction. */
  #walk(object: string, query: EncodedQuery, shape: Shape | undefined, within?: number): Finding[] {
    const walked = new Map<string, Finding>();
    const find = (object: string, json: string) => {
      const [, , text] = walked.get(`${object} ${json}`) ?? [object, json, this.#textOf(object, json, within)];
      walked.set(`${object} ${json}`, [object, json, text]);
      return parseRecords(text as string);
    };
    const records = find(object, query.json);
    shape?.rows(records, find);
    return [...walked.values()];
  }

  /** The records that a query finds, whether the page knows them or not. */
  #textOf(object: string, json: string, within?: number): string {
    const driver = this.#driver!;
    const number = within ?? driver.begin();
    try {
      return driver.ask('find', object, json, '', number);
    } finally {
      if (within === undefined) driver.rollback(number);
    }
  }

  /** Finds what was walked over: it was just found, so nothing is missing in memory, and what the page is said to know it gets. */
  #findAll(wanted: readonly Finding[]): Finding[] {
    const driver = this.#driver!;
    const founds = wanted.map(([object, json]) => driver.find(object, json));
    if (founds.every(([, , , ahead]) => ahead === undefined)) return wanted.map(([object, json], at) => [object, json, founds[at]!]);
    // The page reads all in the order in which it was made.
    for (const found of founds) this.#say(['ahead', found]);
    wanted.forEach(([object], at) => this.#introduce(object, founds[at]!));
    return wanted.map(([object, json]) => [object, json, driver.find(object, json, NO_ROWS)]);
  }

  /** Sends what the page is to know before the others. */
  #introduce(object: string, [, , , ahead = []]: Found): void {
    for (const portion of ahead) this.#say(['ahead', this.#driver!.find(object, '', portion)]);
  }

  #watch(id: number, object: string, query: EncodedQuery): typeof ANSWERED {
    const driver = this.#driver!;
    const shape = this.#shapes.of(object, query);
    // What is missing in memory, or wrong with the query, is found out before the page is said to know anything.
    if (shape?.objects.size) this.#walk(object, query, shape);
    // Ended while records were loaded for it.
    if (this.#ended.delete(id)) return ANSWERED;
    const number = driver.watch(object, query.json);
    this.#lives.set(id, { number, object, query, shape });
    this.#show(driver.liveChanges(number), new Set([id]));
    return ANSWERED;
  }

  #unwatch(id: number): void {
    const live = this.#lives.get(id);
    if (live !== undefined) this.#driver?.unwatch(live.number);
    else this.#ended.add(id);
    this.#lives.delete(id);
  }

  /** Records changed, as the event says. */
  #tell(eventJson: string): void {
    if (this.#driver === undefined || this.#isLeft || this.#lives.size === 0) return;
    const expanded = [...this.#lives].filter(([, { shape }]) => shape?.objects.size);
    const changes = expanded.length > 0 ? (JSON.parse(eventJson) as ChangeEvent).changes : [];
    const concerned = expanded.filter(([, { shape }]) => changes.some(({ objectName }) => shape?.objects.has(objectName)));
    this.#show(this.#driver.liveChanges(), new Set(concerned.map(([id]) => id)));
  }

  #show(changes: LiveChange[], due: Set<number>): void {
    const driver = this.#driver!;
    const ids = new Map([...this.#lives].map(([id, { number }]) => [number, id]));
    const toSent = ([number, ...change]: LiveChange): LiveChange => {
      const id = ids.get(number) ?? -1;
      due.add(id);
      return [id, ...change];
    };
    let sent = changes.map(toSent);
    const late = changes.filter(([, , , [, , , ahead]]) => ahead !== undefined);
    if (late.length > 0) {
      // The page reads all in the order in which it was made.
      this.#say(['live', sent, []]);
      for (const [number, , , found] of late) this.#introduce(this.#lives.get(ids.get(number) ?? -1)?.object ?? '', found);
      sent = late.flatMap(([number]) => driver.liveChanges(number, true)).map(toSent);
    }
    const expanded = [...due].filter((id) => this.#lives.get(id)?.shape?.objects.size);
    const plain = [...due].filter((id) => !expanded.includes(id)).map((id): [number, Finding[]] => [id, []]);
    // What the page is said to know now must get there, whatever comes of the rest.
    if (sent.length + plain.length > 0) this.#say(['live', sent, plain]);
    const failed: [number, unknown][] = [];
    for (const id of expanded) {
      const { object, query, shape } = this.#lives.get(id)!;
      try {
        const [, ...walked] = this.#walk(object, query, shape);
        this.#say(['live', [], [[id, this.#findAll(walked)]]]);
      } catch (thrown) {
        failed.push([id, thrown]);
      }
    }
    for (const [id, thrown] of failed) {
      const fail = (failure: unknown) => {
        this.#unwatch(id);
        this.#say(['threw', id, failureOf(failure)]);
      };
      const loading = whenLoaded(driver, thrown);
      // Not in memory any more, as where the driver was left behind by others and began anew.
      if (loading !== undefined) loading.then(() => this.#show(driver.liveChanges(), new Set([id])), fail);
      else fail(thrown);
    }
  }

  /** Asks the page for what only that can do. */
  #ask(method: 'headers' | 'fetch', args: readonly unknown[], onId?: (id: number) => void): Promise<unknown> {
    return new Promise((resolve, reject) => {
      if (this.#isLeft) return reject(new Error('the page is gone'));
      const id = ++this.#lastAsked;
      this.#asked.set(id, { resolve, reject });
      onId?.(id);
      this.#say(['call', id, method, args]);
    });
  }

  #settle(id: number): { resolve(value: unknown): void; reject(error: Error): void } | undefined {
    const asked = this.#asked.get(id);
    this.#asked.delete(id);
    return asked;
  }

  /** The app's own `fetch`. */
  async #fetch(url: string, { method, headers, body, cache, signal }: RequestInit): Promise<Response> {
    const request = { method: method!, headers: [...new Headers(headers)], body: body as Uint8Array<ArrayBuffer>, cache: cache! } satisfies SentRequest;
    const answer = (await this.#ask('fetch', [url, request], (id) => {
      signal?.addEventListener('abort', () => this.#asked.has(id) && this.#say(['abort', id]));
    })) as SentResponse;
    const { status, redirected } = answer;
    const response = new Response(BODILESS.includes(status) ? null : answer.body, { status, headers: answer.headers });
    // A response that is made is redirected from nowhere.
    return Object.defineProperty(response, 'redirected', { value: redirected });
  }
}
