import { type ErrorCode, errorWithCode, type ObjectqlError, QueryError, ValueError } from './errors.js';
import { filterInNewerForm, inNewerForm } from './older-forms.js';
import type { ObjectDefinition, RecordId, Resolution } from './types.js';

/** How deep a record's values may be nested, the record itself being the first level; the driver has the same limit. */
const MAX_DEPTH = 32;

/**
 * The longest JSON text of a record that is handed to the driver, in UTF-16 units. The driver's own limit is 1 MiB and
 * counted exactly; this one keeps a gigabyte from being copied into wasm memory to find that out.
 */
const MAX_TEXT_LENGTH = 2 << 20;

/** The longest JSON text of a call, likewise: there the driver's limit is 16 MiB. */
const MAX_CALL_LENGTH = 32 << 20;

/** How many values one record can hold at most: each takes two bytes of the text. Bounds the walk over shared values. */
const MAX_VALUES = 1 << 20;

type Key = string | number;
type Fields = { [name: string]: unknown };

/** Where a walk is. */
interface Walk {
  /** What the path in a message begins with: a name, the place in a list, and what follows it. */
  readonly root: string;
  at: number | undefined;
  readonly within: string;
  /** What that stands for. */
  value: unknown;
  /** The keys from the root to the container being looked at; entries past its depth are left over from siblings. */
  readonly path: Key[];
  /** How many values were met. */
  values: number;
  /** In a filter a forgotten value would widen what it matches, so `undefined` is refused there rather than dropped. */
  readonly refusesUndefined: boolean;
}

/**
 * Turns a record, or a change to one, into JSON text.
 *
 * `Date` becomes ISO 8601 text and whatever has a `toJSON` what that returns; fields that are `undefined` are left out.
 * Keys such as `__proto__` are plain data.
 *
 * # Errors
 * `INVALID_VALUE`, `VALUE_TOO_DEEP`, `VALUE_TOO_LARGE`, with the path of the value in the message: `story.tags[2].name`.
 */
export function encodeRecord(record: unknown, objectName: string): string {
  const walk = begin(objectName, record);
  return textOf(copyRecord(record, walk), walk);
}

/** The defaults of an object: what a record that is made without a field has there, as JSON text. */
export type Defaults = readonly (readonly [field: string, json: string])[];

/** Reads the defaults out of a definition. The driver has the same rule, for the records that do not come from here. */
export function readDefaults({ fields = {} }: ObjectDefinition): Defaults {
  return Object.entries(fields).flatMap(([name, { defaultValue }]) => {
    // What ObjectQL computes is no value.
    const isComputed = defaultValue === 'NOW()' || defaultValue === 'current_user' || hasDialect(defaultValue);
    return (defaultValue ?? null) === null || isComputed || isSetByDriver(name) || name === 'id' ? [] : [[name, JSON.stringify(defaultValue)] as const];
  });
}

function hasDialect(value: unknown): boolean {
  return typeof value === 'object' && value !== null && ((value as Fields)['dialect'] ?? null) !== null;
}

/** A record that is to be made, as it was when that was asked for. */
export class RecordDraft {
  readonly #walk: Walk;
  readonly #fields: Fields;

  /** Reads the app's record. Errors: as {@link encodeRecord}, but for those of `text`. */
  constructor(record: unknown, objectName: string, defaults: Defaults) {
    this.#walk = begin(objectName, record);
    this.#fields = copyRecord(record, this.#walk, defaults);
  }

  /** Its JSON text. Errors: those of {@link encodeRecord} for text that is too long, or cannot be. */
  text(): string {
    return textOf(this.#fields, this.#walk);
  }

  /** The text of an array of records; nothing where one of them has to be looked at by itself. */
  static texts(records: readonly RecordDraft[]): string | undefined {
    const text = stringify(records.map((record) => record.#fields));
    return text === undefined || text.length > MAX_TEXT_LENGTH || text.includes('\\u') ? undefined : text;
  }

  /** The record as it was stored. Nothing but what the driver puts in was not known before, so nothing else has to come back. */
  complete(id: RecordId, time: string): object {
    return complete(this.#fields, id, time);
  }
}

/** Records that are to be made, all or none. */
export interface NewRecords {
  /** The JSON text of an array of them. */
  readonly text: string;
  /** The records as they were stored, given what the driver says. */
  complete(answer: string): object[];
}

/** Turns records that are to be made into JSON text; errors as {@link encodeRecord}, with the place in the array. */
export function encodeNewRecords(records: unknown, objectName: string, defaults: Defaults): NewRecords {
  const walk = begin(objectName, records);
  const copies = copyEach(records, walk, (record) => copyRecord(record, walk, defaults));
  const text = textOf(copies, walk, MAX_CALL_LENGTH, () => checkEach(copies, walk));
  return {
    text,
    complete(answer) {
      let at = 0;
      forEachMade(answer, (id, time) => complete(copies[at++] as Fields, id as RecordId, time));
      return copies;
    },
  };
}

function complete(fields: Fields, id: RecordId, time: string): object {
  fields['id'] = id;
  fields['created_at'] = time;
  fields['updated_at'] = time;
  return fields;
}

/** Goes through what became of records, in their order: of each its id and its time, or why it was not made. */
export function forEachMade(answer: string, tell: (outcome: RecordId | { code: string; message: string }, time: string) => void): void {
  // Those of one time are together, behind it.
  for (const [time, ...outcomes] of JSON.parse(answer) as [string, ...Parameters<typeof tell>[0][]][]) {
    for (const outcome of outcomes) tell(outcome, time);
  }
}

/** Turns changes to records into JSON text: the id and the change of each. */
export function encodeUpdates(updates: unknown, objectName: string): string {
  const walk = begin(objectName, updates, '.data');
  const copies = copyEach(updates, walk, (update) => {
    const { id, data } = (typeof update === 'object' && update !== null ? update : {}) as { id: RecordId; data: unknown };
    walk.value = data;
    return [checkedId(id), copyRecord(data, walk)] as const;
  });
  return textOf(copies, walk, MAX_CALL_LENGTH, () => checkEach(copies.map(([, data]) => data), walk));
}

/** Turns the ids of records into JSON text. */
export function encodeIds(ids: unknown): string {
  return JSON.stringify(copyEach(ids, begin('ids', ids), (id) => checkedId(id as RecordId)));
}

function copyEach<R>(items: unknown, walk: Walk, copyOne: (item: unknown) => R): R[] {
  if (!Array.isArray(items)) throw new ValueError('INVALID_VALUE', `${walk.root} must be an array, not ${describe(items)}`);
  const copies = new Array<R>(items.length);
  for (let at = 0; at < items.length; at++) {
    walk.value = items[at];
    walk.at = at;
    walk.values = 0;
    copies[at] = copyOne(items[at]);
  }
  walk.value = items;
  walk.at = undefined;
  return copies;
}

/** A query as the driver takes it, and what is done with what it finds. */
export interface EncodedQuery {
  readonly json: string;
  /** The fields that are to be picked. */
  readonly fields: readonly string[] | undefined;
  /** Which related records are to be put in, and the query for these. */
  readonly expand: { readonly [key: string]: EncodedQuery } | undefined;
}

/** How many levels of related records a query may have. */
const MAX_EXPAND = 3;

/** The parts of a query with filters in them, where an `undefined` is refused: it would match every record. */
const FILTERS = ['where', 'having', 'aggregations'];

/** Turns a query into JSON text, in the newer form. */
export function encodeQuery(query: object | undefined, level = 0): EncodedQuery {
  if (level === 0 && (query === undefined || query === null)) return { json: '{}', fields: undefined, expand: undefined };
  if (typeof query !== 'object' || query === null || Array.isArray(query)) {
    throw new QueryError('INVALID_QUERY', `a query must be ${level === 0 ? '' : 'true or '}an object, not ${describe(query)}`);
  }
  const { fields, expand, ...rest } = inNewerForm(query as Fields);
  const members = Object.entries(rest).filter(([, value]) => value !== undefined);
  const texts = members.map(([name, value]) => `${JSON.stringify(name)}:${encode(value, name, FILTERS.includes(name))}`);
  return { json: `{${texts.join()}}`, fields: readFields(fields), expand: encodeExpand(expand, level + 1) };
}

function encodeExpand(expand: unknown, level: number): EncodedQuery['expand'] {
  if (expand === undefined || expand === null) return undefined;
  if (typeof expand !== 'object' || Array.isArray(expand)) {
    throw new QueryError('INVALID_QUERY', `expand must be an object such as { assignee: true }, not ${describe(expand)}`);
  }
  if (level > MAX_EXPAND) throw new QueryError('INVALID_QUERY', `expand is nested deeper than ${MAX_EXPAND} levels`);
  const queries = Object.entries(expand).filter(([, query]) => query !== undefined);
  return Object.fromEntries(queries.map(([key, query]) => [key, encodeQuery(query === true ? {} : (query as object), level)]));
}

/** Turns a query for `aggregate` into JSON text. */
export function encodeAggregation(query: object): string {
  const { json, fields, expand } = encodeQuery(query);
  if (fields === undefined && expand === undefined) return json;
  throw new QueryError('INVALID_QUERY', 'aggregate has no fields and no expand: a row has what groupBy and aggregations name');
}

function readFields(fields: unknown): readonly string[] | undefined {
  if (fields === undefined || fields === null) return undefined;
  if (Array.isArray(fields) && fields.every((name) => typeof name === 'string')) return [...(fields as string[])];
  throw new QueryError('INVALID_QUERY', `fields must be an array of names, not ${describe(fields)}`);
}

/** Turns a filter into JSON text; none matches every record. */
export function encodeWhere(where: unknown): string {
  return encode(filterInNewerForm(where) ?? {}, 'where', true);
}

/** Turns a filter into JSON text, which must be there: a forgotten one would have all records changed. */
export function encodeGivenWhere(where: unknown): string {
  if (where === undefined || where === null) throw new QueryError('INVALID_QUERY', 'say which records: {} for all of them');
  return encodeWhere(where);
}

/** Turns the outcome of a conflict into JSON text: whose side, or the record to keep. */
export function encodeResolution(resolution: Resolution, root = 'resolution'): string {
  if (resolution === 'mine' || resolution === 'theirs') return JSON.stringify(resolution);
  return encodeRecord(resolution, root);
}

/** Turns plain data, such as options, into JSON text. */
export function encodePlain(value: object, root: string): string {
  return encode(value, root);
}

/** Turns a record's id into JSON text. */
export function encodeId(id: RecordId): string {
  return JSON.stringify(checkedId(id));
}

function checkedId(id: RecordId): RecordId {
  if (typeof id === 'string' ? id !== '' && isWellFormed(id) : Number.isSafeInteger(id)) return id;
  const shown = typeof id === 'number' || typeof id === 'string' ? JSON.stringify(id) : describe(id);
  throw new ValueError('INVALID_ID', `a record id must be a non-empty string or a safe integer, not ${shown}`);
}

function encode(value: unknown, root: string, refusesUndefined = false): string {
  const walk = begin(root, value, '', refusesUndefined);
  return textOf(copy(value, walk, 0, ''), walk);
}

function begin(root: string, value: unknown, within = '', refusesUndefined = false): Walk {
  return { root, at: undefined, within, value, path: [], values: 0, refusesUndefined };
}

/** The JSON text of what was copied. */
function textOf(copied: unknown, walk: Walk, most = MAX_TEXT_LENGTH, check = () => checkTexts(copied, walk, 0, '')): string {
  const text = stringify(copied);
  if (text === undefined || text.length > most) throw tooLarge(walk);
  // What no text may hold is escaped in this way, and little else: it is looked for only where there is such an escape.
  if (text.includes('\\u')) check();
  return text;
}

/** The JSON text of a copy; nothing where it is longer than a string can be. */
function stringify(copied: unknown): string | undefined {
  try {
    return JSON.stringify(copied);
  } catch {
    return undefined;
  }
}

function checkEach(list: readonly Fields[], walk: Walk): void {
  list.forEach((item, at) => {
    checkTexts(item, Array.isArray(walk.value) ? { ...walk, at } : walk, 0, '');
  });
}

/** Looks for text that JSON cannot carry, or the driver does not take, in a copy. */
function checkTexts(value: unknown, walk: Walk, depth: number, key: Key): void {
  if (typeof value === 'string') {
    if (!isText(value)) throw refusal('INVALID_VALUE', 'is text with U+0000 or half a surrogate pair', walk, depth, key);
  } else if (typeof value === 'object' && value !== null) {
    enter(walk, depth, key);
    for (const [name, inner] of Object.entries(value)) {
      const place = Array.isArray(value) ? Number(name) : name;
      if (!isText(name)) throw refusal('INVALID_VALUE', 'has U+0000 or half a surrogate pair in its name', walk, depth + 1, name);
      checkTexts(inner, walk, depth + 1, place);
    }
  }
}

/**
 * Copies a record, or a change to one. With defaults it is to be made: they are put in, and what the driver puts in is left out, but for the
 * place of its id.
 */
function copyRecord(record: unknown, walk: Walk, defaults?: Defaults): Fields {
  if (typeof record === 'object' && record !== null && !Array.isArray(record) && !isStandIn(record) && isPlain(record)) {
    const copies = copyFields(record, walk, 1, defaults !== undefined);
    for (const [name, json] of defaults ?? []) if (!Object.hasOwn(copies, name)) put(copies, name, JSON.parse(json));
    return copies;
  }
  const copied = copy(record, walk, 0, '');
  if (typeof copied === 'object' && copied !== null && !Array.isArray(copied)) return copyRecord(copied, walk, defaults);
  throw new ValueError('INVALID_VALUE', `${show(walk, 0)} must be an object, not ${describe(record)}`);
}

/** Copies `value`, which stands under `key` at `depth` levels below the root, with all that is in it, as JSON has it. */
function copy(value: unknown, walk: Walk, depth: number, key: Key): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value;
    case 'number':
      if (!Number.isFinite(value)) throw refusal('INVALID_VALUE', `is ${value}, which JSON cannot hold`, walk, depth, key);
      // JSON has no negative zero.
      return value + 0;
    case 'object':
      return value === null ? null : copyContainer(value, walk, depth, key);
    default:
      throw refusal('INVALID_VALUE', `is ${describe(value)}, which JSON cannot hold`, walk, depth, key);
  }
}

function copyContainer(value: object, walk: Walk, depth: number, key: Key): unknown {
  enter(walk, depth, key);
  if (Array.isArray(value)) return copyItems(value, walk, depth + 1);
  if (value instanceof Date) return dateText(value, walk, depth, key);
  if (isStandIn(value)) return copy(value.toJSON(String(key)), walk, depth + 1, 'toJSON()');
  if (isPlain(value)) return copyFields(value, walk, depth + 1);
  throw refusal('INVALID_VALUE', `is ${describe(value)}, not a plain object`, walk, depth, key);
}

function copyItems(items: readonly unknown[], walk: Walk, depth: number): unknown[] {
  spend(items.length, walk);
  const copies = new Array<unknown>(items.length);
  for (let at = 0; at < items.length; at++) {
    const item = items[at];
    if (item === undefined) throw refusal('INVALID_VALUE', 'is undefined, in an array', walk, depth, at);
    copies[at] = copy(item, walk, depth, at);
  }
  return copies;
}

function copyFields(fields: Fields, walk: Walk, depth: number, isNew = false): Fields {
  // Nothing is written of what is undefined.
  const copies: Fields = isNew ? { id: undefined } : {};
  const names = Object.keys(fields);
  spend(names.length, walk);
  for (const name of names) {
    const field = fields[name];
    if (field === undefined) {
      if (!walk.refusesUndefined) continue;
      throw refusal('INVALID_QUERY', 'is undefined: leave it out, or say null', walk, depth, name);
    }
    const copied = copy(field, walk, depth, name);
    if (isNew && isSetByDriver(name)) continue;
    put(copies, name, copied);
  }
  return copies;
}

function put(fields: Fields, name: string, value: unknown): void {
  // Set, it would be the prototype.
  if (name === '__proto__') Object.defineProperty(fields, name, { value, enumerable: true, writable: true, configurable: true });
  else fields[name] = value;
}

function isSetByDriver(name: string): boolean {
  return name === 'created_at' || name === 'updated_at';
}

function dateText(date: Date, walk: Walk, depth: number, key: Key): string {
  if (Number.isNaN(date.getTime())) throw refusal('INVALID_VALUE', 'is an invalid Date', walk, depth, key);
  return date.toISOString();
}

/** Notes the way to a container, and ends a walk that goes too deep; one through a cycle always does. */
function enter(walk: Walk, depth: number, key: Key): void {
  if (depth === 0) return;
  walk.path[depth - 1] = key;
  if (depth >= MAX_DEPTH) throw tooDeep(walk, depth);
}

/** Ends a walk over more values than a record can hold: one object that is shared by many is written out for each. */
function spend(values: number, walk: Walk): void {
  walk.values += values;
  if (walk.values > MAX_VALUES) throw tooLarge(walk);
}

/** Whether something stands for another value; a `Date` does as well. */
function isStandIn(value: object): value is { toJSON(key: string): unknown } {
  return typeof (value as { toJSON?: unknown }).toJSON === 'function';
}

function isPlain(value: object): value is Fields {
  const prototype: unknown = Object.getPrototypeOf(value);
  // An object from another frame has that one's `Object.prototype`, which in turn has none.
  return prototype === Object.prototype || prototype === null || Object.getPrototypeOf(prototype) === null;
}

function isText(text: string): boolean {
  return isWellFormed(text) && !text.includes('\0');
}

/** Whether a string has no half of a surrogate pair. `isWellFormed` is in Safari since 16.4 and in Firefox since 119. */
const isWellFormed: (text: string) => boolean =
  typeof String.prototype.isWellFormed === 'function'
    ? (text) => text.isWellFormed()
    : (text) => !/\p{Surrogate}/u.test(text);

function tooLarge(walk: Walk): ObjectqlError {
  return errorWithCode('VALUE_TOO_LARGE', `${show(walk, 0)} is too large: a record's JSON text may have 1 MiB, that of a call 16 MiB`);
}

function tooDeep(walk: Walk, depth: number): ObjectqlError {
  const places = new Map<unknown, number>();
  let value = walk.value;
  for (let level = 0; level <= depth; level++) {
    const before = places.get(value);
    if (before !== undefined && typeof value === 'object') {
      const [to, from] = [show(walk, before), show(walk, level)];
      return errorWithCode('VALUE_TOO_DEEP', `${from} refers back to ${to}, which JSON cannot hold`);
    }
    places.set(value, level);
    value = (value as { [key: Key]: unknown } | undefined)?.[walk.path[level] ?? ''];
  }
  return errorWithCode('VALUE_TOO_DEEP', `${show(walk, depth)} is nested deeper than ${MAX_DEPTH} levels`);
}

function refusal(code: ErrorCode, what: string, walk: Walk, depth: number, key: Key): ObjectqlError {
  if (depth > 0) walk.path[depth - 1] = key;
  return errorWithCode(code, `${show(walk, depth)} ${what}`);
}

/** The path to the place `depth` levels below the root: `story.tags[2].name`. */
function show(walk: Walk, depth: number): string {
  const steps = walk.path.slice(0, depth).map((key) => {
    if (typeof key === 'number') return `[${key}]`;
    return /^[\w$]+(\(\))?$/.test(key) ? `.${key}` : `[${JSON.stringify(key)}]`;
  });
  return `${walk.root}${walk.at === undefined ? '' : `[${walk.at}]${walk.within}`}${steps.join('')}`;
}

/** What kind of thing a refused value is, for messages; never what it holds. */
function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== 'object') return `a ${typeof value}`;
  if (Array.isArray(value)) return 'an array';
  const { constructor } = value as { constructor?: unknown };
  return typeof constructor === 'function' && constructor.name !== '' ? `a ${constructor.name}` : 'an object';
}
