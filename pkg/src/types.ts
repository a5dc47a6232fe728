import type { ObjectqlError } from './errors.js';

/** A value that a record may hold: JSON. `Date` is taken too and stored as an ISO 8601 string. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [name: string]: JsonValue };

/** The id of a record: a non-empty string of at most 256 bytes, or a safe integer. `1` and `'1'` are two records. */
export type RecordId = string | number;

/** Marks a lookup with the object that it refers to. There is no such property. */
declare const target: unique symbol;

/**
 * The id of a record of another object, as the generator writes a `lookup` or `master_detail` field. Any id may be written to it; that
 * its type says which object it is of lets `expand` type the record in its place.
 */
export type Lookup<Object extends string> = RecordId & { readonly [target]?: Object };

/** Marks a field that a new record need not have. There is no such property. */
declare const defaulted: unique symbol;

/**
 * The value of a required field with a `defaultValue`, as the generator writes it: it is always there, and `create` does without it. Any
 * value may be written to it.
 */
export type WithDefault<Value> = Value & { readonly [defaulted]?: true };

/** What every record has besides the app's own fields. The driver sets `created_at` and `updated_at` (ISO 8601, UTC). */
export interface RecordBase {
  id: RecordId;
  created_at: string;
  updated_at: string;
}

/**
 * The app's objects: object name to record interface, as `objectql-offline generate` writes it.
 *
 * ```ts
 * interface Schema { story: Story; task: Task }
 * const db = await openDatabase<Schema>({ ... });
 * ```
 */
export type AnySchema = { [objectName: string]: { [field: string]: unknown } };

/** What `openDatabase` takes as a schema: any interface or type whose properties are records. */
export type SchemaOf<Schema> = { [Name in keyof Schema]: object };

/** The names of a schema's objects. */
export type ObjectName<Schema> = Extract<keyof Schema, string>;

/** A record as it is read: the app's fields and the driver's. */
export type Stored<T> = T & RecordBase;

/** The app's own fields of a record, as they may be written: where there is text, a `Date` is taken too. */
export type Writable<T> = { [Name in keyof T as Exclude<Name, keyof RecordBase>]: Writing<T[Name]> };
type Writing<V> = V extends string ? (string extends V ? (typeof target extends keyof V ? V : V | Date) : V) : V;

/**
 * What `create` takes: the app's fields, those with a default or without; `id` may be left out (a UUID v7 is made), the driver's timestamps
 * are its own.
 */
export type NewRecord<T> = { [Name in keyof T as Exclude<Name, keyof RecordBase | Defaulted<T>>]: Writing<T[Name]> } & {
  [Name in keyof T as Exclude<Extract<Name, Defaulted<T>>, keyof RecordBase>]?: Writing<T[Name]>;
} & { id?: RecordId; created_at?: string; updated_at?: string };
type Defaulted<T> = { [Name in keyof T]-?: typeof defaulted extends keyof NonNullable<T[Name]> ? Name : never }[keyof T];

/** What `upsert` takes: a record with its id. */
export type RecordWithId<T> = NewRecord<T> & { id: RecordId };

/** What `update` takes: the fields to change. `undefined` leaves a field alone, `null` clears it. */
export type Patch<T> = { [Name in keyof Writable<T>]?: Writable<T>[Name] | undefined };

/** The names of a record's fields, the driver's included. */
export type FieldName<T> = Extract<keyof Stored<T>, string>;

/** What a query returns of each record: all of it, or `id` and the fields it asked for. */
export type Row<T, Field extends FieldName<T> = never> = Readonly<[Field] extends [never] ? Stored<T> : Pick<Stored<T>, Field | 'id'>>;

/** A result of a live query, and what is different from the one before it; of the first, all rows are `added`. */
export interface LiveResult<Row> {
  readonly rows: readonly Row[];
  readonly added: readonly Row[];
  /** As they are now. */
  readonly changed: readonly Row[];
  /** As they were. */
  readonly removed: readonly Row[];
  /** Those whose order among the rows that stayed is another one; they may have changed as well. */
  readonly moved: readonly Row[];
}

/** How a query is answered. */
export interface Explanation {
  /** The fields of the index that served it, `['id']` for one record; null: all records were looked at. */
  index: string[] | null;
  /** Whether the index gave the order, so that the query could stop at its limit. */
  sortedByIndex: boolean;
  /** How many records were looked at. */
  rowsExamined: number;
  rowsReturned: number;
}

/** Another field of the same record, to compare with. */
export interface FieldReference {
  $field: string;
}

/** Operators on one field. Several in one object must all hold. */
export interface FieldOperators<V = unknown> {
  $eq?: V | FieldReference | null;
  $ne?: V | FieldReference | null;
  $gt?: V | FieldReference;
  $gte?: V | FieldReference;
  $lt?: V | FieldReference;
  $lte?: V | FieldReference;
  /** The lowest and the highest value, both included. */
  $between?: readonly [V | FieldReference, V | FieldReference];
  $in?: readonly (V | null)[];
  $nin?: readonly (V | null)[];
  /** Text that the value must contain; case matters. */
  $contains?: string;
  /** Text that the value must contain; the case of ASCII letters does not matter. */
  $icontains?: string;
  $notContains?: string;
  $startsWith?: string;
  $endsWith?: string;
  /** True: the field is null or absent. False: it has a value. */
  $null?: boolean;
  /** True: the field is there, null or not. False: it is absent. */
  $exists?: boolean;
}

/** A filter: fields with a value (equality) or with operators, all of which must hold; `$and`, `$or` and `$not` combine. */
export type Where<T> = {
  [Name in keyof Stored<T>]?: Writing<Stored<T>[Name]> | null | FieldOperators<Writing<NonNullable<Stored<T>[Name]>>>;
} & {
  $and?: readonly Where<T>[];
  $or?: readonly Where<T>[];
  $not?: Where<T>;
};

/** One key of the order: nulls and absent fields come last in both directions. */
export interface OrderBy<T> {
  field: FieldName<T>;
  /** Default: `asc`. */
  order?: 'asc' | 'desc';
}

/** A filter in the older form: `['status', '=', 'open']`, or a list of such with `'and'` or `'or'` between them. */
export type OlderFilter = object & ArrayLike<unknown>;

/** An order in the older form: `'a'`, `'-a'`, `'a desc, b'`, `['a', ['b', 'desc']]` or `{ a: 'desc' }`. */
export type OlderSort =
  | string
  | readonly (string | readonly [field: string, direction: 'asc' | 'desc'] | { readonly field: string; readonly order?: 'asc' | 'desc' })[]
  | { readonly [field: string]: 'asc' | 'desc' | 1 | -1 };

/** What `find` takes. Without `orderBy`, records come in the order in which they were first stored. */
export interface Query<T, Field extends FieldName<T> = FieldName<T>> {
  where?: Where<T> | OlderFilter;
  /**
   * Words that a record must have: each is the beginning of a word in its text fields; with `operator: 'or'`, one of them is. Without
   * `orderBy`, those that fit best come first.
   */
  search?: string | { query: string; fields?: readonly FieldName<T>[]; operator?: 'and' | 'or' };
  /** The fields that `search` looks at, the more important ones first. Default: all that have text by their definition. */
  searchFields?: readonly FieldName<T>[];
  orderBy?: readonly OrderBy<T>[];
  /** The most records to return. Default: all. */
  limit?: number;
  /** The same as `limit`. */
  top?: number;
  /**
   * Goes on after the record with these values: those of the last record's `orderBy` fields. `orderBy` must end with `id`, so that no two
   * records stand at the same place.
   */
  cursor?: { readonly [Name in FieldName<T>]?: Stored<T>[Name] | null };
  /** How many records to pass over first. Default: 0. */
  offset?: number;
  /** The fields to return; `id` always comes along. Default: all. */
  fields?: readonly Field[];
  /** The older name of `where`. */
  filters?: Where<T> | OlderFilter;
  /** The older form of `orderBy`. */
  sort?: OlderSort;
  /** The older name of `offset`. */
  skip?: number;
}

/** The object that a field's lookups refer to, which may be in a list. No deeper: JSON of any kind is a list of lists without an end. */
type Target<V> = V extends readonly (infer Item)[] ? TargetOf<Item> : TargetOf<V>;
type TargetOf<V> = V extends unknown ? (typeof target extends keyof V ? Exclude<V[typeof target & keyof V], undefined> : never) : never;
/** The fields of a record that refer to an object. */
type LookupTo<T, Object> = { [Name in keyof T & string]-?: [Object & Target<NonNullable<T[Name]>>] extends [never] ? never : Name }[keyof T & string];
type IsUnion<V, One = V> = V extends unknown ? ([One] extends [V] ? false : true) : never;

/** What each key of `expand` leads to: a record in the place of its id, or the records that refer to this one. */
type Relations<Schema, Name extends ObjectName<Schema>> = {
  [Field in keyof Schema[Name] & string as Target<NonNullable<Schema[Name][Field]>> extends ObjectName<Schema>
    ? [Target<NonNullable<Schema[Name][Field]>>] extends [never] ? never : Field
    : never]: {
    object: Target<NonNullable<Schema[Name][Field]>>;
    isList: NonNullable<Schema[Name][Field]> extends readonly unknown[] ? true : false;
    isToChildren: false;
  };
} & {
  [Child in ObjectName<Schema> as ChildKey<Child, LookupTo<Schema[Child], Name>>]: { object: Child; isList: true; isToChildren: true };
};
type ChildKey<Child extends string, Field extends string> = [Field] extends [never]
  ? never
  : `${Child}.${Field}` | (IsUnion<Field> extends true ? never : Child);

/**
 * What `find`, `findOne` and `liveQuery` put in from other objects, by key: a lookup of the object, or the name of an object with a
 * lookup to it (`task`, or `task.story` where it has several).
 */
export type Expand<Schema, Name extends ObjectName<Schema>> = string extends ObjectName<Schema>
  ? { readonly [key: string]: true | object }
  : { readonly [Key in keyof Relations<Schema, Name>]?: true | RelatedQuery<Schema, Relations<Schema, Name>[Key]> };

/** The query for related records: which of them, which of their fields, and what to put into these in turn, to three levels. */
export type RelatedQuery<Schema, Relation> = Relation extends { object: infer Name extends ObjectName<Schema>; isToChildren: infer IsToChildren }
  ? {
      /** A record that does not match is left out: null in the place of its id. */
      readonly where?: Where<Schema[Name]> | OlderFilter;
      readonly fields?: readonly FieldName<Schema[Name]>[];
      readonly expand?: Expand<Schema, Name>;
    } & (IsToChildren extends true
      ? {
          readonly orderBy?: readonly OrderBy<Schema[Name]>[];
          /** The most records for each one that they refer to. Default: all. */
          readonly limit?: number;
        }
      : unknown)
  : never;

/** Refuses what is no key of `expand`: what a type parameter is inferred from may have more properties than its constraint. */
export type Expandable<Schema, Name extends ObjectName<Schema>, E> = string extends ObjectName<Schema>
  ? unknown
  : {
      readonly [Key in keyof E]: Key extends keyof Relations<Schema, Name>
        ? E[Key] extends { readonly expand: infer Inner }
          ? { readonly expand: Expandable<Schema, NameOf<Schema, Relations<Schema, Name>[Key]>, Inner> }
          : unknown
        : never;
    };
type NameOf<Schema, Relation> = Relation extends { object: infer Name extends ObjectName<Schema> } ? Name : never;

/** What a query with `expand` returns of each record. */
export type ExpandedRow<Schema, Name extends ObjectName<Schema>, Field extends FieldName<Schema[Name]>, E> = [E] extends [never]
  ? Row<Schema[Name], Field>
  : string extends ObjectName<Schema>
    ? Row<Schema[Name], Field>
    : { readonly id: RecordId } & Readonly<Omit<Row<Schema[Name], Field>, keyof E>> & {
        readonly [Key in keyof E & keyof Relations<Schema, Name>]: Relations<Schema, Name>[Key] extends { isList: true }
          ? readonly RelatedRow<Schema, NameOf<Schema, Relations<Schema, Name>[Key]>, E[Key]>[]
          : RelatedRow<Schema, NameOf<Schema, Relations<Schema, Name>[Key]>, E[Key]> | null;
      };
type RelatedRow<Schema, Name extends ObjectName<Schema>, Q> = ExpandedRow<
  Schema,
  Name,
  Q extends { readonly fields: readonly (infer Field extends FieldName<Schema[Name]>)[] } ? Field : never,
  Q extends { readonly expand: infer Inner } ? Inner : never
>;

/** What `aggregate` takes: records in groups, and what is computed over each. */
export interface AggregateQuery<T> {
  /** The records to look at. Default: all. */
  where?: Where<T> | OlderFilter;
  /** Without it, all records are one group. */
  groupBy?: readonly GroupBy<T>[];
  aggregations?: readonly Aggregation<T>[];
  /** A filter over the groups: by aliases, and by the names of `groupBy`. */
  having?: { readonly [alias: string]: unknown };
  /** By aliases, and by the names of `groupBy`. */
  orderBy?: readonly { readonly field: string; readonly order?: 'asc' | 'desc' }[];
  limit?: number;
  offset?: number;
}

/** A field whose values make groups; of a date, the days, weeks (from Monday on), months, quarters or years that they are in. */
export type GroupBy<T> =
  | FieldName<T>
  | { readonly field: FieldName<T>; readonly dateGranularity?: 'day' | 'week' | 'month' | 'quarter' | 'year'; readonly alias?: string };

/** What is computed over the records of a group. */
export interface Aggregation<T> {
  function: 'count' | 'sum' | 'avg' | 'min' | 'max' | 'count_distinct' | 'array_agg' | 'string_agg';
  /** Whose values; `count` does without, and then counts records. */
  field?: FieldName<T>;
  /** What it is called in the row. */
  alias: string;
  /** Which records of the group; the other aggregations do not mind. Default: all. */
  filter?: Where<T>;
  /** What `string_agg` puts between the values. */
  separator?: string;
}

/** What `aggregate` returns of each group. */
export type AggregateRow<T, Q> = Readonly<
  {
    [Group in Q extends { groupBy: readonly (infer G)[] } ? G : never as NameOfGroup<Group>]: Group extends { dateGranularity: string }
      ? string | null
      : ValueOf<T, Group extends { field: infer Field } ? Field : Group>;
  } & {
    [A in Q extends { aggregations: readonly (infer A)[] } ? A : never as A extends { alias: infer Alias extends string } ? Alias : never]: Aggregated<T, A>;
  }
>;
type NameOfGroup<Group> = Group extends string
  ? Group
  : Group extends { alias: infer Alias extends string } ? Alias : Group extends { field: infer Field extends string } ? Field : never;
type Aggregated<T, A> = A extends { function: 'count' | 'count_distinct' | 'sum' } ? number
  : A extends { function: 'avg' } ? number | null
  : A extends { function: 'string_agg' } ? string
  : A extends { function: 'array_agg'; field: infer Field } ? NonNullable<ValueOf<T, Field>>[]
  : A extends { field: infer Field } ? Extreme<ValueOf<T, Field>> | null
  : unknown;
/** The smallest and the largest value take booleans for 0 and 1. */
type Extreme<V> = V extends boolean ? number : V;
/** The values of a field, where one that is absent is null. */
type ValueOf<T, Field> = Field extends keyof Stored<T> ? (undefined extends Stored<T>[Field] ? Exclude<Stored<T>[Field], undefined> | null : Stored<T>[Field]) : never;

/** One of the changes that `bulkUpdate` takes. */
export interface BulkUpdate<T> {
  id: RecordId;
  data: Patch<T>;
}

/** How one object is synced; the `sync` key of `*.object.yml`. */
export interface SyncConfig {
  /** Default: false. */
  enabled?: boolean;
  /** Default: `last-write-wins`. */
  strategy?: 'last-write-wins' | 'crdt' | 'manual';
  /** Under `last-write-wins`: fields on which concurrent changes are a conflict. Default: none. */
  conflict_fields?: string[];
  /** Default: `bidirectional`. */
  direction?: 'bidirectional' | 'push-only' | 'pull-only';
  /** How long after a write the push waits for more, in milliseconds. Default: 1,000. Never longer than ten times this. */
  debounce_ms?: number;
  /** The most mutations of the object in one request. Default: 50. */
  batch_size?: number;
}

/** A field of an object definition. */
export interface FieldDefinition {
  type: string;
  label?: string;
  required?: boolean;
  unique?: boolean;
  options?: (string | { value: string; label?: string })[];
  reference_to?: string;
  /** Whether the value is a list: of a `lookup`, of ids. */
  multiple?: boolean;
  /**
   * What a new record has where it is made without the field; null: nothing. What ObjectQL computes (`NOW()`, `current_user`, an
   * expression with a `dialect`) is left to the server.
   */
  defaultValue?: JsonValue;
}

/** An object definition: what a `*.object.yml` file holds. */
export interface ObjectDefinition {
  name: string;
  label?: string;
  fields?: { [name: string]: FieldDefinition };
  indexes?: { [name: string]: { fields: string[]; unique?: boolean } };
  sync?: SyncConfig;
}

/** Where and how to sync. */
export interface SyncOptions {
  /** The endpoint, such as `/api/sync`. */
  url: string;
  /** Called before every request; what it returns is sent along and kept nowhere. Called again once after a 401. */
  headers?: () => Record<string, string> | Promise<Record<string, string>>;
  /** What sends the requests. Default: the global `fetch`. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
  /** Whether to sync without being asked: after writes, on opening, on reconnect. Default: true. */
  auto?: boolean;
  /** How often to ask for the server's changes while nothing else does, in milliseconds. Default: 60,000; 0: never. */
  pollIntervalMs?: number;
  /** How long one request may take, in milliseconds. Default: 30,000. */
  timeoutMs?: number;
  /**
   * Whether to be told of other clients' changes at once, over a WebSocket at `url` and `/realtime`, instead of with the next poll.
   * What `headers` returns goes into its first message, never into its URL. Without effect when `auto` is false. Default: false.
   */
  realtime?: boolean;
}

/** By what a database is encrypted. A key that is lost cannot be replaced: `destroy()`, and fetch everything from the server. */
export interface EncryptionOptions {
  /**
   * A key for AES-GCM that may `encrypt` and `decrypt`, extractable or not; or a passphrase, of which one is derived (PBKDF2 with
   * HMAC-SHA-256 and 600,000 iterations).
   */
  key: CryptoKey | string;
  /**
   * Keys by which the database, or part of it, may be encrypted still: what is stored is encrypted anew with `key`, beside everything
   * else. That is how a key is changed; also a database that was not encrypted becomes so.
   */
  previousKeys?: readonly (CryptoKey | string)[];
}

/**
 * How data of an object get the shape of a version of it. The functions get copies as JSON has them, and return at once, the same for the
 * same. What they return of `id`, `created_at` and `updated_at` is passed over: those stay as they were.
 */
export interface Migration {
  /** Turns a record into one of this version. */
  record?: (record: { [field: string]: JsonValue }) => { readonly [field: string]: unknown };
  /**
   * Returns what becomes of the `data` of a mutation that is pending or was rejected: all fields of a create, the changed ones of an
   * update. Default: those of a create go through `record`, those of an update stay as they are.
   */
  mutation?: (mutation: MutationEntry & { data: { [field: string]: JsonValue } }) => { readonly [field: string]: unknown };
}

/** What `openDatabase` takes. */
export interface OpenOptions {
  /** The name of the IndexedDB database; with an `account`, the beginning of it. */
  name: string;
  /** The object definitions. An object that is not listed cannot be read or written. */
  objects: readonly ObjectDefinition[];
  /**
   * How the data that a browser has are brought to later versions of their objects: by object and by the version that comes of it, from 2
   * on. An object's version is the highest one here, and 1 without any: never take the highest one out again. Default: none.
   */
  migrations?: { readonly [object: string]: { readonly [version: number]: Migration } };
  /** Without it the database is local only. */
  sync?: SyncOptions;
  /**
   * Decides a conflict; returns the record to keep, or whose side. Returning nothing, or throwing, leaves it in
   * `conflicts()`. Called in every tab that has the database open, and the first decision counts; nothing waits for it. Called
   * again for what is undecided when the database is opened.
   */
  onConflict?: (conflict: Conflict) => Resolution | null | undefined | Promise<Resolution | null | undefined>;
  /** `strict` (default) survives a power cut once a write resolves; `relaxed` only a killed browser, and is a little faster. */
  durability?: 'strict' | 'relaxed';
  /**
   * Where the log is. `indexeddb` (default): on this device. `memory`: nowhere else, for servers and tests; it lasts as long as the page or
   * the process, also when it is closed and opened again, until `destroy()`. Other tabs do not see it.
   */
  storage?: 'indexeddb' | 'memory';
  /**
   * What to do where IndexedDB cannot be opened, as in private windows of some browsers or with a damaged profile. `error` (default):
   * `openDatabase` rejects with `STORAGE_FAILED`. `memory`: it goes on as with `storage: 'memory'`, and `status.durable` is false.
   */
  fallback?: 'error' | 'memory';
  /**
   * Whether to ask the browser, before anything is written in a page, never to evict this site's data (`navigator.storage.persist()`). Chromium and
   * Safari decide by themselves, Firefox asks the person. Default: true; the answer is in `storage()`.
   */
  persist?: boolean;
  /**
   * Seals everything that goes on the disk: records, ids and names of objects. Two openings of a name in one page share what the first
   * one gave. Without effect with `storage: 'memory'`.
   */
  encryption?: EncryptionOptions;
  /**
   * Whose data these are: each account has a database of its own under the same `name`, so that no account reads or pushes what another
   * one wrote. What was not pushed waits until its account is back. Let `sync.headers` belong to the same one.
   */
  account?: string;
  /**
   * Where the driver works. `false` (default): on the thread that opens the database, where a read of what is in memory takes microseconds. `dedicated`: in a
   * worker of this page. `shared`: in a worker of all pages of the origin that ask for it, in which each of them has a driver of its own. In a worker, nothing that the driver does
   * holds up the page, and each call takes a message there and one back. `storage: 'memory'` and `fallback: 'memory'` go with `dedicated` only.
   */
  worker?: 'shared' | 'dedicated' | false;
  /** Where the module of the worker is, if a bundler does not find it by itself: `objectql-offline/worker`, bundled on its own. */
  workerUrl?: string | URL;
  /** Where the wasm file is, if not beside the module. A compiled module cannot be sent to a shared worker. */
  wasm?: string | URL | Request | BufferSource | WebAssembly.Module;
}

/** A mutation as it was recorded, and how far it has come. */
export interface MutationEntry {
  /** UUID v7. */
  id: string;
  objectName: string;
  recordId: RecordId;
  operation: 'create' | 'update' | 'delete';
  /** All fields for a create, the changed ones for an update. */
  data?: Record<string, JsonValue>;
  /** When it was recorded, ISO 8601. */
  timestamp: string;
  clientId: string;
  /** 1 for a client's first mutation; without gaps. */
  sequence: number;
  baseVersion: number | null;
  /**
   * `queued`: waits. `sent`: on its way, outcome unknown. `applied`: the server has it, its echo is awaited. `conflict`: see
   * `conflicts()`. `rejected`: see `rejected()`. `superseded`: it is over, and other values won.
   */
  state: 'queued' | 'sent' | 'applied' | 'conflict' | 'rejected' | 'superseded';
}

/**
 * What became of a mutation. `applied`: the server took it. `superseded`: it took it, and other values won. `conflict`: it waits in
 * `conflicts()`. `rejected`: it waits in `rejected()`. `discarded`: the app dropped it or put another in its place.
 */
export type MutationOutcome = 'applied' | 'superseded' | 'conflict' | 'rejected' | 'discarded';

/** A mutation that is recorded and not yet settled with the server. */
export interface PendingMutation extends MutationEntry {
  /**
   * Kept when the mutation has an outcome, whenever that is; in whichever tab. Rejects with `UNKNOWN_MUTATION` when it had one
   * before this was looked at, and with `CLOSED` when the database is closed first.
   */
  readonly settled: Promise<MutationOutcome>;
}

/** A mutation that waits for a decision. */
export interface Conflict {
  /** The id of the mutation. */
  id: string;
  objectName: string;
  recordId: RecordId;
  /** The fields on which both sides differ. */
  conflictingFields: string[];
  clientMutation: MutationEntry;
  /** The record as this client last had it from the server, before its own changes; null if it had none. */
  baseRecord: Record<string, JsonValue> | null;
  /** The record as the server has it; null if it was deleted there. */
  serverRecord: Record<string, JsonValue> | null;
  suggestedResolution?: Record<string, JsonValue>;
}

/** The outcome of a conflict: this client's values, the server's record as it is, or the record to keep. */
export type Resolution = 'mine' | 'theirs' | object;

/** A mutation that the server will never take, kept until the app retries or discards it. */
export interface RejectedMutation {
  /** The id of the mutation. */
  id: string;
  objectName: string;
  recordId: RecordId;
  /** Why, in the server's words. */
  reason: string;
  mutation: MutationEntry;
  /** The record as this client last had it from the server when the mutation was made; null if it had none. */
  baseRecord: Record<string, JsonValue> | null;
  /** The rejected create whose record this mutation is about; null if it was rejected for itself. */
  causedBy: string | null;
  /** The mutations that this one took along. */
  dependants: string[];
}

/** A mutation whose values lost against others, by the object's strategy. */
export interface SupersededMutation {
  /** The id of the mutation. */
  id: string;
  objectName: string;
  recordId: RecordId;
  mutation: MutationEntry;
  /** The values that nobody has any more; null for a delete. */
  lost: Record<string, JsonValue> | null;
  /** The record as the server has it; null if it was deleted there. */
  serverRecord: Record<string, JsonValue> | null;
}

/** What `db.status` tells. */
export interface Status {
  /**
   * `local`: no `sync` option. `idle`: nothing to do. `waiting`: there are mutations, the debounce runs. `syncing`: a request is
   * under way. `retrying`: the last request failed, another follows at `retryAt`. `unauthorized`: the server refused the
   * credentials; everything is kept and waits. `storage-failed`: IndexedDB does not take writes. `closed`. `opening`: after `startDatabase`; nothing else
   * is known then.
   */
  state: 'opening' | 'local' | 'idle' | 'waiting' | 'syncing' | 'retrying' | 'unauthorized' | 'storage-failed' | 'closed';
  /** Mutations not yet settled, conflicts included. */
  pending: number;
  /** When the oldest of them was recorded, ISO 8601; null where there is none. */
  pendingSince: string | null;
  conflicts: number;
  rejected: number;
  /** How many writes `undo()` can take back, one after the other. */
  undoable: number;
  /** How many of these `redo()` can make again. */
  redoable: number;
  /** Whether this tab is the one that syncs. */
  leader: boolean;
  /** Whether the server tells this tab of changes at once; in a tab that does not sync: false. */
  realtime: boolean;
  /** Whether what is written outlives the page: false with `storage: 'memory'`, and where `fallback` went on in memory. */
  durable: boolean;
  clientId: string;
  /** When the last sync ended well, ISO 8601; null: not since the database was opened. */
  lastSyncedAt: string | null;
  /** When the next attempt follows a failure, ISO 8601. */
  retryAt: string | null;
  /** Why the last attempt failed; null after one that did not. */
  error: { code: string; message: string } | null;
}

/** What `db.storage()` tells: how this browser keeps the database. */
export interface StorageReport {
  /** Where the log is. */
  kind: 'indexeddb' | 'memory';
  /** What a resolved write survives; see `durability`. `none`: not even that the page is closed. */
  durability: 'strict' | 'relaxed' | 'none';
  /** Whether the browser promised not to evict this site's data on its own; null where it does not say. */
  persisted: boolean | null;
  /** About how many bytes this site uses, and how many it may; null where the browser does not say. */
  usage: number | null;
  quota: number | null;
  /** How many mutations are not settled, and since when the oldest of them is not, ISO 8601: what an eviction would lose. */
  pending: number;
  pendingSince: string | null;
}

/**
 * A reason to worry. `full`: more than 80 %, or 95 %, of what this site may store is used; writes are refused when all of it is.
 * `unpushed`: mutations wait since more than 3 days, on storage that the browser may evict.
 */
export interface StorageWarning {
  reason: 'full' | 'unpushed';
  storage: StorageReport;
}

/**
 * What was lost on this device. `damaged`: something that is stored cannot be read; everything else goes on, and the server's records are
 * collected anew. `cleared`: the site's data were removed while the database was open, by a person or the browser; it begins anew,
 * under another client id. `evicted`: that happened while no page had it open; `details` says how many mutations were in it.
 */
export interface DataLoss {
  reason: 'damaged' | 'cleared' | 'evicted';
  /** The mutations that the server had not taken, pending or rejected, and that are lost, as far as they are known. */
  mutations: MutationEntry[];
  /** What is lost, for people. */
  details: string[];
}

/** What `db.import` reads. */
export type ImportSource = ReadableStream<Uint8Array<ArrayBuffer>> | Blob | ArrayBuffer | Uint8Array<ArrayBuffer> | string | Response;

/** How `db.import` writes. */
export interface ImportOptions {
  /** `merge` (default): records that are not in the file stay. `replace`: they are deleted. */
  mode?: 'merge' | 'replace';
}

/** How `db.transaction` runs. */
export interface TransactionOptions {
  /** How often it is run again where what it read was changed meanwhile. Default: 10. */
  retries?: number;
}

/** What one `sync()` did. */
export interface SyncReport {
  /** Mutations that got a verdict. */
  pushed: number;
  /** Changes that came from the server, the echoes of the own ones included. */
  pulled: number;
  applied: number;
  /** Mutations whose values lost against others. */
  superseded: number;
  conflicts: number;
  rejected: number;
  /** Requests sent. */
  requests: number;
  /** Bytes of the bodies sent and received. */
  bytes: number;
  /** How long it took, in milliseconds. */
  durationMs: number;
}

/** How far a sync has come: told after each answer, with what was done since it began. `durationMs` is 0 until the end. */
export interface SyncProgress extends SyncReport {
  /** Mutations that are still to be settled, those that wait for a decision left out. */
  remaining: number;
  /** Whether the server has more changes than came so far. */
  hasMore: boolean;
}

/** The records of a commit, by object: what `change` handlers get. */
export interface ChangeEvent {
  /** The ids of the records that changed, by object name. */
  changes: { objectName: string; recordIds: RecordId[] }[];
  /** Whether it came from this tab's writes, another tab's, or the server. */
  origin: 'local' | 'tab' | 'server';
}

/** The events of a database and what their handlers get. */
export interface DatabaseEvents {
  status: Status;
  change: ChangeEvent;
  conflict: Conflict;
  rejected: RejectedMutation;
  superseded: SupersededMutation;
  progress: SyncProgress;
  /** Also told to a handler that comes later: it may be found out while the database is opened. */
  dataLost: DataLoss;
  storage: StorageWarning;
  error: ObjectqlError;
}
