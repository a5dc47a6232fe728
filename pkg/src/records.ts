import { encodeNewRecords, RecordDraft } from './drafts.js';
import { type Answer, crossing, type Driver, parse, type Question, whenLoaded, withAnswer, type Write } from './driver.js';
import { errorWithCode } from './errors.js';
import { encodeAggregation, type EncodedQuery, encodeGivenWhere, encodeQuery, encodeWhere } from './queries.js';
import type { ReadRecord } from './rows.js';
import type {
  AggregateQuery,
  AggregateRow,
  AnySchema,
  BulkUpdate,
  Expand,
  Expandable,
  ExpandedRow,
  FieldName,
  NewRecord,
  ObjectName,
  OlderFilter,
  Patch,
  Query,
  RecordId,
  RecordWithId,
  SchemaOf,
  Stored,
  Where,
} from './types.js';
import { type Defaults, encodeId, encodeIds, encodeRecord, encodeUpdates } from './values.js';

/** The part of a query that says what to put in from other objects. */
export type Expanding<Schema, Name extends ObjectName<Schema>, E> = { readonly expand?: E & Expandable<Schema, Name, E> };

/** What a write is about, as a driver takes it. */
export type Written = readonly [object: string, first: string | Uint8Array, second: string];

/** Where records are read. */
export interface Source {
  get(object: string, id: RecordId): Answer<ReadRecord | undefined>;
  find(object: string, query: EncodedQuery): Answer<readonly ReadRecord[]>;
}

/** Reading and writing records: of a database, or in a transaction. */
export abstract class Records<Schema extends SchemaOf<Schema> = AnySchema> {
  /** @internal */
  protected abstract readonly source: Source;
  /** The objects, with what their records have that are made without it. @internal */
  protected abstract readonly objects: ReadonlyMap<string, Defaults>;
  /** The transaction's number. @internal */
  protected abstract readonly within: number | undefined;

  /** Makes a record; `encoded` gives its object and the record, or throws. @internal */
  protected abstract make(encoded: () => readonly [object: string, record: RecordDraft]): Promise<object>;

  /** Writes what `encoded` gives, or throws. @internal */
  protected abstract write(kind: Write, encoded: () => Written): Promise<unknown>;

  /** Runs `task`, at once where the database is open: what it takes is encoded before the call returns. @internal */
  protected abstract run<R>(task: (driver: Driver) => R | Promise<R>): Promise<R>;

  /**
   * Creates a record; resolves with it as it was stored, with `id`, `created_at` and `updated_at`.
   *
   * # Errors
   * `ALREADY_EXISTS`, `UNIQUE_VIOLATION`, `READ_ONLY_OBJECT`, `INVALID_ID`, `INVALID_VALUE`, `VALUE_TOO_DEEP`, `VALUE_TOO_LARGE`.
   *
   * ```ts
   * const { id } = await db.create('story', { title: 'Ship it', due: new Date() });
   * ```
   */
  create<Name extends ObjectName<Schema>>(object: Name, record: NewRecord<Schema[Name]>): Promise<Stored<Schema[Name]>> {
    const encoded = attempt(() => [objectName(object), new RecordDraft(record, object, this.objects.get(object) ?? [])] as const);
    return this.make(encoded) as Promise<Stored<Schema[Name]>>;
  }

  /**
   * Creates many records, or none of them: they are one commit. Resolves with them as they were stored, in the same order.
   * All of them may have 16 MiB of JSON text; with more, or where none hangs on the others, several calls do as well.
   *
   * # Errors
   * As `create`; the message names the place in the array.
   *
   * ```ts
   * await db.bulkCreate('story', titles.map((title) => ({ title })));
   * ```
   */
  async bulkCreate<Name extends ObjectName<Schema>>(
    object: Name,
    records: readonly NewRecord<Schema[Name]>[],
  ): Promise<Stored<Schema[Name]>[]> {
    const encoded = attempt(() => {
      const { text, complete } = encodeNewRecords(records, object, this.objects.get(objectName(object)) ?? []);
      return { written: [objectName(object), crossing(text), ''] as const, complete };
    });
    const answer = (await this.write('create', () => encoded().written)) as string;
    return encoded().complete(answer) as Stored<Schema[Name]>[];
  }

  /**
   * Changes the fields that are given and leaves the others; resolves with the record as it then is.
   *
   * # Errors
   * `NOT_FOUND`, `UNIQUE_VIOLATION`, `READ_ONLY_OBJECT`, `INVALID_ID`, `INVALID_VALUE`, `VALUE_TOO_DEEP`, `VALUE_TOO_LARGE`.
   *
   * ```ts
   * await db.update('story', id, { status: 'done', due: null });
   * ```
   */
  update<Name extends ObjectName<Schema>>(
    object: Name,
    id: RecordId,
    patch: Patch<Schema[Name]>,
  ): Promise<Stored<Schema[Name]>> {
    return this.#json('update', object, () => encodeId(id), () => encodeRecord(patch, object));
  }

  /**
   * Changes records, of each its own fields, or none of them: they are one commit. Resolves with them as they then are, in the same order.
   *
   * # Errors
   * As `update`.
   *
   * ```ts
   * await db.bulkUpdate('story', stories.map(({ id }, at) => ({ id, data: { rank: at } })));
   * ```
   */
  bulkUpdate<Name extends ObjectName<Schema>>(
    object: Name,
    updates: readonly BulkUpdate<Schema[Name]>[],
  ): Promise<Stored<Schema[Name]>[]> {
    return this.#json('bulkUpdate', object, () => encodeUpdates(updates, object));
  }

  /**
   * Changes the same fields of all records that match, in one commit; resolves with how many there were. `{}` matches all.
   *
   * # Errors
   * `INVALID_QUERY`, and as `update` without `NOT_FOUND`; `VALUE_TOO_LARGE` also for more than 16 MiB of changes, each with 64 bytes, name and id.
   *
   * ```ts
   * await db.updateMany('story', { status: 'open', due: { $lt: today } }, { status: 'late' });
   * ```
   */
  updateMany<Name extends ObjectName<Schema>>(
    object: Name,
    where: Where<Schema[Name]> | OlderFilter,
    patch: Patch<Schema[Name]>,
  ): Promise<number> {
    return this.#write('updateMany', object, () => encodeGivenWhere(where), () => encodeRecord(patch, object));
  }

  /**
   * Creates the record, or changes the one with its id; resolves with the record as it then is.
   *
   * # Errors
   * `UNIQUE_VIOLATION`, `READ_ONLY_OBJECT`, `INVALID_ID`, `INVALID_VALUE`, `VALUE_TOO_DEEP`, `VALUE_TOO_LARGE`.
   *
   * ```ts
   * await db.upsert('setting', { id: 'theme', value: 'dark' });
   * ```
   */
  upsert<Name extends ObjectName<Schema>>(object: Name, record: RecordWithId<Schema[Name]>): Promise<Stored<Schema[Name]>> {
    return this.#json('upsert', object, () => encodeRecord(record, object));
  }

  /**
   * Deletes a record; resolves with whether there was one.
   *
   * # Errors
   * `READ_ONLY_OBJECT`, `INVALID_ID`.
   *
   * ```ts
   * if (!(await db.delete('story', id))) console.log('somebody was faster');
   * ```
   */
  delete<Name extends ObjectName<Schema>>(object: Name, id: RecordId): Promise<boolean> {
    return this.#write('delete', object, () => encodeId(id));
  }

  /**
   * Deletes records, or none of them, in one commit; resolves with how many there were.
   *
   * # Errors
   * As `delete`.
   *
   * ```ts
   * await db.bulkDelete('story', selected);
   * ```
   */
  bulkDelete<Name extends ObjectName<Schema>>(object: Name, ids: readonly RecordId[]): Promise<number> {
    return this.#write('bulkDelete', object, () => encodeIds(ids));
  }

  /**
   * Deletes all records that match, in one commit; resolves with how many there were. `{}` matches all.
   *
   * # Errors
   * `INVALID_QUERY`, `READ_ONLY_OBJECT`, `VALUE_TOO_LARGE` for some 100,000 records: 16 MiB, each with 64 bytes, name and id.
   *
   * ```ts
   * await db.deleteMany('story', { status: 'done' });
   * ```
   */
  deleteMany<Name extends ObjectName<Schema>>(object: Name, where: Where<Schema[Name]> | OlderFilter): Promise<number> {
    return this.#write('deleteMany', object, () => encodeGivenWhere(where));
  }

  /**
   * Reads a record by its id; resolves with `undefined` when there is none.
   *
   * # Errors
   * `INVALID_ID`.
   *
   * ```ts
   * const story = await db.get('story', id);
   * ```
   */
  get<Name extends ObjectName<Schema>>(object: Name, id: RecordId): Promise<Readonly<Stored<Schema[Name]>> | undefined> {
    return this.run((driver) => {
      const read = () => this.source.get(objectName(object), id) as Answer<Readonly<Stored<Schema[Name]>> | undefined>;
      try {
        return read();
      } catch (thrown) {
        // One record does not wait for the others.
        const loading = this.within === undefined ? whenLoaded(driver, thrown, encodeId(id)) : undefined;
        if (loading === undefined) throw thrown;
        return loading.then(read);
      }
    });
  }

  /**
   * Reads the records that match; all of the object's without a query. `expand` puts records of other objects in.
   *
   * # Errors
   * `INVALID_QUERY`, also where a value in `where` is `undefined`: a filter that lost its value would match every record. `UNKNOWN_OBJECT`
   * also where `expand` leads to an object that is not among the definitions.
   *
   * ```ts
   * const open = await db.find('story', {
   *   where: { status: { $in: ['open', 'started'] }, points: { $gte: 3 } },
   *   orderBy: [{ field: 'created_at', order: 'desc' }],
   *   expand: { assignee: true, task: { where: { done: false }, limit: 5 } },
   *   limit: 20,
   * });
   * ```
   */
  find<Name extends ObjectName<Schema>, Field extends FieldName<Schema[Name]> = never, const E extends Expand<Schema, Name> = never>(
    object: Name,
    query?: Query<Schema[Name], Field> & Expanding<Schema, Name, E>,
  ): Promise<ExpandedRow<Schema, Name, Field, E>[]> {
    const encoded = attempt(() => [objectName(object), encodeQuery(query)] as const);
    return this.run(() => this.source.find(...encoded()) as unknown as Answer<ExpandedRow<Schema, Name, Field, E>[]>);
  }

  /**
   * Reads the first record that matches; resolves with `undefined` when there is none.
   *
   * # Errors
   * As `find`.
   *
   * ```ts
   * const newest = await db.findOne('story', { orderBy: [{ field: 'created_at', order: 'desc' }] });
   * ```
   */
  async findOne<Name extends ObjectName<Schema>, Field extends FieldName<Schema[Name]> = never, const E extends Expand<Schema, Name> = never>(
    object: Name,
    query?: Omit<Query<Schema[Name], Field>, 'limit'> & Expanding<Schema, Name, E>,
  ): Promise<ExpandedRow<Schema, Name, Field, E> | undefined> {
    const encoded = attempt(() => [objectName(object), encodeQuery({ ...query, limit: 1 })] as const);
    const rows = await this.run(() => this.source.find(...encoded()));
    return rows[0] as unknown as ExpandedRow<Schema, Name, Field, E> | undefined;
  }

  /**
   * Counts the records that match; all of the object's without a filter.
   *
   * # Errors
   * `INVALID_QUERY`.
   *
   * ```ts
   * const left = await db.count('story', { status: { $ne: 'done' } });
   * ```
   */
  count<Name extends ObjectName<Schema>>(object: Name, where?: Where<Schema[Name]> | OlderFilter): Promise<number> {
    return this.#ask('count', object, () => encodeWhere(where));
  }

  /**
   * Computes over groups of records; resolves with a row for each group. Null and absent fields are no values; the sum of none is 0.
   *
   * # Errors
   * `INVALID_QUERY`.
   *
   * ```ts
   * const load = await db.aggregate('story', {
   *   groupBy: ['assignee'],
   *   aggregations: [{ function: 'sum', field: 'points', alias: 'points' }],
   *   having: { points: { $gt: 8 } },
   * });
   * ```
   */
  aggregate<Name extends ObjectName<Schema>, const Q extends AggregateQuery<Schema[Name]>>(
    object: Name,
    query: Q & { [Key in Exclude<keyof Q, keyof AggregateQuery<Schema[Name]>>]: never },
  ): Promise<AggregateRow<Schema[Name], Q>[]> {
    return this.#ask('aggregate', object, () => encodeAggregation(query));
  }

  /**
   * Reads the different values of a field, in the order in which they first came; null is none.
   *
   * # Errors
   * `INVALID_QUERY`.
   *
   * ```ts
   * const statuses = await db.distinct('story', 'status');
   * ```
   */
  distinct<Name extends ObjectName<Schema>, Field extends FieldName<Schema[Name]>>(
    object: Name,
    field: Field,
    where?: Where<Schema[Name]> | OlderFilter,
  ): Promise<NonNullable<Stored<Schema[Name]>[Field]>[]> {
    return this.#ask('distinct', object, () => fieldName(field), () => encodeWhere(where));
  }

  #write<R>(kind: Write, object: string, first: () => string, second: () => string = nothing): Promise<R> {
    // Once and now: the call may have to wait, and what the app changes meanwhile is not what it wrote.
    const encoded = attempt(() => [objectName(object), crossing(first()), second()] as const);
    return this.write(kind, encoded) as Promise<R>;
  }

  async #json<R>(kind: Write, object: string, first: () => string, second?: () => string): Promise<R> {
    return JSON.parse(await this.#write(kind, object, first, second)) as R;
  }

  #ask<R>(kind: Question, object: string, first: () => string, second: () => string = nothing): Promise<R> {
    const encoded = attempt(() => [objectName(object), first(), second()] as const);
    return this.run((driver) => withAnswer(driver.ask(kind, ...encoded(), this.within), parse<R>));
  }
}

function nothing(): string {
  return '';
}

/** What a task gives or throws, which it does now, and once. */
function attempt<R>(task: () => R): () => R {
  try {
    const result = task();
    return () => result;
  } catch (thrown) {
    return () => {
      throw thrown;
    };
  }
}

/** A name that came from the app. */
export function objectName(name: unknown): string {
  if (typeof name === 'string') return name;
  throw errorWithCode('INVALID_NAME', `an object's name must be a string, not a ${typeof name}`);
}

function fieldName(name: unknown): string {
  if (typeof name === 'string') return name;
  throw errorWithCode('INVALID_QUERY', `a field's name must be a string, not a ${typeof name}`);
}
