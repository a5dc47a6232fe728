import { errorWithCode } from '../errors.js';
import type { ObjectDefinition, RecordId } from '../types.js';
import { encodeId, encodeRecord } from '../values.js';
import { after, decide, type Decision, type Effect, type Proposal, refusalOfFields, type ServerRecord, timeOf } from './decide.js';
import { type Fault, Faults } from './faults.js';
import { codeOf, jsonOf, pause, Problem, readHttp } from './http.js';
import {
  type Fields,
  type ReceivedMutation,
  type ReceivedRequest,
  type SyncAnswer,
  type SyncChange,
  type SyncMutation,
  type SyncRequest,
  type SyncVerdict,
} from './message.js';

/** What a test server is made of. */
export interface TestServerOptions {
  /** The object definitions: the same as the app's. */
  objects: readonly ObjectDefinition[];
  /** The most changes in one answer. Default: 1,000. */
  pageSize?: number;
  /** The most mutations in one request. Default: 100. */
  maxMutationsPerRequest?: number;
  /** The server's clock, in milliseconds since 1970. Default: `Date.now`. */
  now?: () => number;
}

/** A request that reached a test server, and the status it was answered with, also where the answer was then lost. */
export interface TestRequest {
  readonly url: string;
  readonly method: string;
  /** By their names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** Undefined where it is no JSON. */
  readonly body: SyncRequest | undefined;
  readonly status: number;
}

/** What is held under a key. */
interface Held {
  readonly objectName: string;
  readonly recordId: RecordId;
  readonly record: ServerRecord;
}

/** A place in the order of changes: in the log, or inside a snapshot that began when the log stood at `since`. */
interface Place {
  readonly after: number;
  readonly since?: number;
}

const FEATURES = 'idempotent,chains,echoes,paged,snapshot,strategies';
/** The author of what a test writes on the server. */
const SOMEBODY_ELSE = 'somebody-else';
const CHECKPOINT = /^v1\.([^.]+)\.(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?$/;

/** Each server has checkpoints of its own, as after a restore: those of another are unknown to it. */
let epochs = 0;

/**
 * A sync endpoint in memory, for tests: no network, no disk. It decides as `objectql-sync-server` does, by the same definitions.
 *
 * It does not forget (no retention), has no realtime and does not bound the bytes of a request or an answer.
 *
 * ```ts
 * const server = new TestServer({ objects });
 * const db = await openDatabase({ name: 'test', objects, storage: 'memory', sync: { url: '/api/sync', fetch: server.fetch, auto: false } });
 * await db.create('story', { id: 's1', title: 'Ship it' });
 * await db.sync();
 * assert.equal(server.record('story', 's1')?.title, 'Ship it');
 * ```
 */
export class TestServer {
  /** What goes wrong with the requests; nothing, until a test says so. */
  readonly faults = new Faults();
  readonly #objects: ReadonlyMap<string, ObjectDefinition>;
  readonly #pageSize: number;
  readonly #maxMutations: number;
  readonly #now: () => number;
  readonly #requests: TestRequest[] = [];
  readonly #refusals = new Set<{ matches: (mutation: SyncMutation) => boolean; reason: string }>();
  /** By object and id, in the order in which they were first written. */
  readonly #records = new Map<string, Held>();
  /** The change at position n, which is the version it made, stands at n - 1. */
  readonly #changes: SyncChange[] = [];
  /** What was said of each mutation, and on which base. */
  readonly #verdicts = new Map<string, { verdict: SyncVerdict; baseVersion: number | null }>();
  /** The sequences that each client has used. */
  readonly #sequences = new Map<string, Set<number>>();
  #epoch = `test-${++epochs}`;

  constructor({ objects, pageSize = 1000, maxMutationsPerRequest = 100, now = Date.now }: TestServerOptions) {
    this.#objects = new Map(objects.map((object) => [object.name, object]));
    this.#pageSize = pageSize;
    this.#maxMutations = maxMutationsPerRequest;
    this.#now = now;
  }

  /** Answers a request as the server at the other end of the network would: to be given as `sync.fetch`. Any URL will do. */
  readonly fetch = async (url: string | URL, init: RequestInit = {}): Promise<Response> => {
    const fault = this.faults.take();
    await pause(fault.delayMs, init.signal);
    init.signal?.throwIfAborted();
    if (fault.offline) throw new TypeError('Failed to fetch');
    const text = await new Response(init.body ?? null).text();
    const headers = Object.fromEntries(new Headers(init.headers).entries());
    const method = (init.method ?? 'GET').toUpperCase();
    const answer = this.#answer(method, headers, text, fault);
    this.#requests.push({ url: String(url), method, headers, body: jsonOf(text), status: answer.status });
    if (fault.loseAnswers) throw new TypeError('Failed to fetch');
    return answer;
  };

  /** What came in so far, in order. What met `offline` did not come in. */
  get requests(): readonly TestRequest[] {
    return this.#requests;
  }

  /**
   * The records of an object that are there, in the order in which they were first written. They are copies.
   *
   * # Errors
   * Throws `UNKNOWN_OBJECT`.
   */
  records(object: string): Fields[] {
    this.#object(object);
    const datas = [...this.#records.values()].filter(({ objectName }) => objectName === object).map(({ record }) => record.data);
    return datas.filter((data) => data !== null).map((data) => structuredClone(data));
  }

  /**
   * A copy of a record; undefined when it is not there.
   *
   * # Errors
   * Throws `UNKNOWN_OBJECT`.
   */
  record(object: string, id: RecordId): Fields | undefined {
    this.#object(object);
    const data = this.#records.get(keyOf(object, id))?.record.data;
    return data ? structuredClone(data) : undefined;
  }

  /**
   * Makes a change as somebody else, who has seen the record as it is: creates it, changes these fields, or with null deletes it.
   * Returns the record as it then is. Direction and `enabled` are not asked: this is the server's own side.
   *
   * # Errors
   * Throws `UNKNOWN_OBJECT`, `INVALID_ID`, and `INVALID_VALUE` for what the server would refuse.
   *
   * ```ts
   * server.write('story', 's1', { title: 'Ship it today' });
   * server.write('story', 's1', null);
   * ```
   */
  write(object: string, id: RecordId, patch: object | null): Fields | undefined {
    const definition = this.#object(object);
    encodeId(id);
    const record = this.#records.get(keyOf(object, id))?.record;
    const now = this.#time();
    const timestamp = new Date(now).toISOString();
    const times: Fields = record?.data ? { updated_at: timestamp } : { created_at: timestamp, updated_at: timestamp };
    const mutation: Proposal = {
      objectName: object,
      recordId: id,
      operation: patch === null ? 'delete' : record?.data ? 'update' : 'create',
      ...(patch && { data: { ...times, ...(JSON.parse(encodeRecord(patch, object)) as Fields), id } }),
      timestamp,
      clientId: SOMEBODY_ELSE,
      baseVersion: record?.last.version ?? null,
    };
    const refusal = refusalOfFields(definition, mutation);
    const decision: Decision = refusal ? { kind: 'refused', reason: refusal } : decide(record, mutation, definition.sync ?? {}, now);
    if (decision.kind === 'refused') throw errorWithCode('INVALID_VALUE', decision.reason);
    if (decision.kind === 'write') this.#write(record, mutation, decision.effect, now);
    return this.record(object, id);
  }

  /**
   * Rejects the mutations for which `matches` holds, as a rule of the server's own would; one that was settled before keeps its
   * verdict. Returns what ends that.
   *
   * ```ts
   * server.reject(({ objectName, operation }) => objectName === 'story' && operation === 'delete', 'FORBIDDEN: stories stay');
   * ```
   */
  reject(matches: (mutation: SyncMutation) => boolean, reason = 'FORBIDDEN: the test says so'): () => void {
    const refusal = { matches, reason };
    this.#refusals.add(refusal);
    return () => void this.#refusals.delete(refusal);
  }

  /** Has every checkpoint so far answered with 410, as a server does that was restored from a backup. The records stay. */
  forgetCheckpoints(): void {
    this.#epoch = `test-${++epochs}`;
  }

  #time(): number {
    return Math.trunc(this.#now());
  }

  #answer(method: string, headers: Record<string, string>, text: string, fault: Fault): Response {
    try {
      if (fault.unauthorized) throw new Problem(401, 'UNAUTHORIZED', 'the credentials are not taken');
      if (fault.status) throw new Problem(fault.status, codeOf(fault.status), 'the test says so');
      const answer = JSON.stringify(this.#exchange(readHttp(method, headers, text, this.#maxMutations)));
      return this.#response(200, 'application/json', fault.garble ? answer.slice(0, answer.length / 2) : answer);
    } catch (error) {
      if (!(error instanceof Problem)) throw error;
      const { status, code, message: detail } = error;
      const problem = JSON.stringify({ type: 'about:blank', title: code, status, detail, code });
      return this.#response(status, 'application/problem+json', problem, fault.retryAfterSeconds);
    }
  }

  #response(status: number, type: string, text: string, retryAfterSeconds = 0): Response {
    const headers = new Headers({
      'content-type': type,
      'cache-control': 'no-store',
      'objectql-sync-features': FEATURES,
      'objectql-sync-max-mutations': String(this.#maxMutations),
      'objectql-sync-time': String(this.#time()),
    });
    if (retryAfterSeconds > 0) headers.set('retry-after', String(retryAfterSeconds));
    if (status === 405) headers.set('allow', 'POST');
    // These have no body, and a `Response` refuses one.
    return new Response([204, 205, 304].includes(status) ? null : text, { status, headers });
  }

  /** Answers a request. Whatever may fail comes before the first write, so that an error leaves no trace. */
  #exchange({ mutations, lastCheckpoint }: ReceivedRequest): SyncAnswer {
    const now = this.#time();
    const place = this.#placeOf(lastCheckpoint);
    this.#checkSequences(mutations);
    const refusals = mutations.map((received) => this.#refusalOf(received));
    const results = mutations.map((received, at) => this.#settle(received, refusals[at], now));
    const { changes, hasMore } = this.#page(place);
    const last = changes.at(-1)?.serverVersion;
    const next = hasMore && last !== undefined ? { ...place, after: last } : { after: this.#changes.length };
    return { results, serverChanges: changes, checkpoint: this.#checkpoint(next), ...(hasMore && { hasMore }) };
  }

  #placeOf(checkpoint: string | null): Place {
    const end = this.#changes.length;
    if (checkpoint === null) return { after: 0, since: end };
    const [, epoch, first, second] = CHECKPOINT.exec(checkpoint) ?? [];
    const place = { after: Number(first), ...(second !== undefined && { since: Number(second) }) };
    if (epoch === this.#epoch && Math.max(place.after, place.since ?? 0) <= end) return place;
    throw new Problem(410, 'CHECKPOINT_UNKNOWN', 'the checkpoint is unknown or too old: take a fresh snapshot with a null checkpoint');
  }

  #checkpoint({ after: position, since }: Place): string {
    return `v1.${this.#epoch}.${position}${since === undefined ? '' : `.${since}`}`;
  }

  /** A client that used a sequence for another mutation is a copy of the one that did. */
  #checkSequences(mutations: readonly ReceivedMutation[]): void {
    const used = new Map<string, string>();
    for (const { mutation } of mutations) {
      if (mutation === undefined || this.#verdicts.has(mutation.id)) continue;
      const { id, clientId, sequence } = mutation;
      const place = `${sequence} ${clientId}`;
      if (this.#sequences.get(clientId)?.has(sequence) || (used.get(place) ?? id) !== id) {
        throw new Problem(409, 'CLIENT_ID_CLONED', 'another mutation of this client had the same sequence: the client needs a new clientId');
      }
      used.set(place, id);
    }
  }

  /** Why a mutation is rejected before anything is decided, if it is. */
  #refusalOf({ mutation }: ReceivedMutation): string | undefined {
    if (mutation === undefined) return undefined;
    const name = JSON.stringify(mutation.objectName);
    const object = this.#objects.get(mutation.objectName);
    if (object === undefined) return `UNKNOWN_OBJECT: there is no object ${name}`;
    if (object.sync?.enabled !== true) return `SYNC_DISABLED: the object ${name} is not synced`;
    if (object.sync.direction === 'pull-only') return `PULL_ONLY: the object ${name} takes no mutations from clients`;
    const rule = [...this.#refusals].find(({ matches }) => matches(structuredClone(mutation)));
    return refusalOfFields(object, mutation) ?? rule?.reason;
  }

  /** Settles one mutation and remembers the verdict. */
  #settle(received: ReceivedMutation, refusal: string | undefined, now: number): SyncVerdict {
    const { mutation } = received;
    const known = this.#verdicts.get((mutation ?? received).id ?? '');
    if (mutation === undefined) return known?.verdict ?? { status: 'rejected', reason: `INVALID_MUTATION: ${received.problem}` };
    if (known !== undefined && !isRebased(known, mutation)) return known.verdict;
    const verdict: SyncVerdict = refusal === undefined ? this.#judge(mutation, now) : { status: 'rejected', reason: refusal };
    this.#verdicts.set(mutation.id, { verdict, baseVersion: mutation.baseVersion });
    const sequences = this.#sequences.get(mutation.clientId) ?? new Set();
    this.#sequences.set(mutation.clientId, sequences.add(mutation.sequence));
    return verdict;
  }

  #judge(mutation: SyncMutation, now: number): SyncVerdict {
    const { objectName, recordId } = mutation;
    const record = this.#records.get(keyOf(objectName, recordId))?.record;
    const decision = decide(record, mutation, this.#object(objectName).sync ?? {}, now);
    switch (decision.kind) {
      case 'write':
        return { status: 'applied', serverVersion: this.#write(record, mutation, decision.effect, now) };
      case 'settled':
        // Of a record that never was, the client now knows that it is not there at this point of the log.
        return { status: 'applied', serverVersion: record?.last.version ?? this.#changes.length };
      case 'conflict': {
        const { fields: conflictingFields, suggestion } = decision;
        const sides = { clientMutation: mutation, serverRecord: record?.data ?? null, conflictingFields };
        const more = { ...(suggestion && { suggestedResolution: suggestion }), ...(record && { serverVersion: record.last.version }) };
        return { status: 'conflict', conflict: { objectName, recordId, ...sides, ...more } };
      }
      case 'refused':
        return { status: 'rejected', reason: decision.reason };
    }
  }

  #write(before: ServerRecord | undefined, mutation: Proposal, effect: Effect, now: number): number {
    const { objectName, recordId, clientId } = mutation;
    const serverVersion = this.#changes.length + 1;
    const record = after(before, effect, { version: serverVersion, timestamp: timeOf(mutation, now), clientId });
    this.#changes.push({ objectName, recordId, ...effect, serverVersion, timestamp: new Date(record.last.timestamp).toISOString() });
    this.#records.set(keyOf(objectName, recordId), { objectName, recordId, record });
    return serverVersion;
  }

  /** The changes after a place, as many as go into one answer, of the objects that go to clients. */
  #page(place: Place): { changes: SyncChange[]; hasMore: boolean } {
    const all = place.since === undefined ? this.#changes.slice(place.after) : this.#snapshot(place.after, place.since);
    const published = all.filter(({ objectName }) => {
      const sync = this.#objects.get(objectName)?.sync;
      return sync?.enabled === true && sync.direction !== 'push-only';
    });
    return { changes: published.slice(0, this.#pageSize), hasMore: published.length > this.#pageSize };
  }

  /**
   * The records in the order of their versions: one that changes while a client pages moves to where that client has not been yet.
   * Deletes from before the snapshot began are none of its business.
   */
  #snapshot(position: number, since: number): SyncChange[] {
    const rest = [...this.#records.values()].filter(({ record }) => record.last.version > (record.data ? position : Math.max(position, since)));
    rest.sort((a, b) => a.record.last.version - b.record.last.version);
    return rest.map(({ objectName, recordId, record: { data, last } }) => {
      const effect: Effect = data ? { operation: 'create', data } : { operation: 'delete' };
      return { objectName, recordId, ...effect, serverVersion: last.version, timestamp: new Date(last.timestamp).toISOString() };
    });
  }

  #object(name: string): ObjectDefinition {
    const object = this.#objects.get(name);
    if (object === undefined) throw errorWithCode('UNKNOWN_OBJECT', `the test server has no object ${JSON.stringify(name)}`);
    return object;
  }
}

/** A conflict is final only for the base version it was judged with. */
function isRebased({ verdict, baseVersion }: { verdict: SyncVerdict; baseVersion: number | null }, mutation: SyncMutation): boolean {
  return verdict.status === 'conflict' && (mutation.baseVersion ?? -1) > (baseVersion ?? -1);
}

function keyOf(object: string, id: RecordId): string {
  return JSON.stringify([object, id]);
}
