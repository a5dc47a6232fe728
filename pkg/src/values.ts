import { type ErrorCode, errorWithCode, type ObjectqlError, QueryError, ValueError } from './errors.js';
import { filterInNewerForm, inNewerForm } from './older-forms.js';
import type { RecordId, Resolution } from './types.js';

/** How deep a record's values may be nested, the record itself being the first level; the driver has the same limit. */
const MAX_DEPTH = 32;

/**
 * The longest JSON text of a record that is handed to the driver, in UTF-16 units. The driver's own limit is 1 MiB and
 * counted exactly; this one keeps a gigabyte from being copied into wasm memory to find that out.
 */
const MAX_TEXT_LENGTH = 2 << 20;

/** How many values one record can hold at most: each takes two bytes of the text. Bounds the walk over shared values. */
const MAX_VALUES = 1 << 20;

type Key = string | number;
type Fields = { [name: string]: unknown };

/** Where a walk is, and what it has found. */
interface Walk {
  /** What the path in a message begins with, and the value it stands for. */
  readonly root: string;
  readonly value: unknown;
  /** The keys from the root to the container being looked at; entries past its depth are left over from siblings. */
  readonly path: Key[];
  /** How many values were met. */
  values: number;
  /** In a filter a forgotten value would widen what it matches, so `undefined` is refused there rather than dropped. */
  readonly refusesUndefined: boolean;
  /** Whether something other than a `Date` was met that stands for another value (it has a `toJSON`). */
  hasStandIns: boolean;
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
  const text = encode(record, objectName);
  if (!text.startsWith('{')) throw new ValueError('INVALID_VALUE', `${objectName} must be an object, not ${describe(record)}`);
  return text;
}

/** Turns many records into the JSON text of an array; errors as {@link encodeRecord}, with the place in the array. */
export function encodeRecords(records: unknown, objectName: string): string {
  return encodeEach(records, objectName, encodeRecord);
}

/** Turns changes to records into JSON text: the id and the change of each. */
export function encodeUpdates(updates: unknown, objectName: string): string {
  return encodeEach(updates, objectName, (update, root) => {
    const { id, data } = (typeof update === 'object' && update !== null ? update : {}) as { id: RecordId; data: unknown };
    return `[${encodeId(id)},${encodeRecord(data, `${root}.data`)}]`;
  });
}

/** Turns the ids of records into JSON text. */
export function encodeIds(ids: unknown): string {
  return encodeEach(ids, 'ids', (id) => encodeId(id as RecordId));
}

function encodeEach(items: unknown, name: string, encodeOne: (item: unknown, root: string) => string): string {
  if (Array.isArray(items)) return `[${Array.from(items, (item, at) => encodeOne(item, `${name}[${at}]`)).join(',')}]`;
  throw new ValueError('INVALID_VALUE', `${name} must be an array, not ${describe(items)}`);
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
  if (typeof id === 'string' ? id !== '' && isWellFormed(id) : Number.isSafeInteger(id)) return JSON.stringify(id);
  const shown = typeof id === 'number' || typeof id === 'string' ? JSON.stringify(id) : describe(id);
  throw new ValueError('INVALID_ID', `a record id must be a non-empty string or a safe integer, not ${shown}`);
}

function encode(value: unknown, root: string, refusesUndefined = false): string {
  const walk: Walk = { root, value, path: [], values: 0, refusesUndefined, hasStandIns: false };
  check(value, walk, 0, '');
  if (walk.hasStandIns) {
    // `JSON.stringify` would call each `toJSON` again, and what that returns need not be what was checked.
    return encode(withoutStandIns(value, walk, 0, ''), root, refusesUndefined);
  }
  const text = JSON.stringify(value);
  if (text.length > MAX_TEXT_LENGTH) throw tooLarge(walk);
  return text;
}

/** Looks at `value`, which stands under `key` at `depth` levels below the root, and at all that is in it. */
function check(value: unknown, walk: Walk, depth: number, key: Key): void {
  switch (typeof value) {
    case 'string':
      if (!isText(value)) throw refusal('INVALID_VALUE', 'is text with U+0000 or half a surrogate pair', walk, depth, key);
      return;
    case 'number':
      if (!Number.isFinite(value)) throw refusal('INVALID_VALUE', `is ${value}, which JSON cannot hold`, walk, depth, key);
      return;
    case 'boolean':
      return;
    case 'object':
      if (value !== null) checkContainer(value, walk, depth, key);
      return;
    default:
      throw refusal('INVALID_VALUE', `is ${describe(value)}, which JSON cannot hold`, walk, depth, key);
  }
}

function checkContainer(value: object, walk: Walk, depth: number, key: Key): void {
  enter(walk, depth, key);
  if (Array.isArray(value)) checkItems(value, walk, depth + 1);
  else if (value instanceof Date) checkDate(value, walk, depth, key);
  else if (isStandIn(value)) walk.hasStandIns = true;
  else if (isPlain(value)) checkFields(value, walk, depth + 1);
  else throw refusal('INVALID_VALUE', `is ${describe(value)}, not a plain object`, walk, depth, key);
}

function checkItems(items: readonly unknown[], walk: Walk, depth: number): void {
  spend(items.length, walk);
  for (let at = 0; at < items.length; at++) {
    const item = items[at];
    if (item === undefined) throw refusal('INVALID_VALUE', 'is undefined, in an array', walk, depth, at);
    check(item, walk, depth, at);
  }
}

function checkFields(fields: Fields, walk: Walk, depth: number): void {
  const names = Object.keys(fields);
  spend(names.length, walk);
  for (const name of names) {
    const field = fields[name];
    if (field === undefined) {
      if (!walk.refusesUndefined) continue;
      throw refusal('INVALID_QUERY', 'is undefined: leave it out, or say null', walk, depth, name);
    }
    if (!isText(name)) {
      throw refusal('INVALID_VALUE', 'has U+0000 or half a surrogate pair in its name', walk, depth, name);
    }
    check(field, walk, depth, name);
  }
}

function checkDate(date: Date, walk: Walk, depth: number, key: Key): void {
  if (Number.isNaN(date.getTime())) throw refusal('INVALID_VALUE', 'is an invalid Date', walk, depth, key);
}

/** Copies `value` with what its stand-ins stand for. Without a prototype, so that a key `__proto__` stays a key. */
function withoutStandIns(value: unknown, walk: Walk, depth: number, key: Key): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Date) return value;
  enter(walk, depth, key);
  if (isStandIn(value)) return withoutStandIns(value.toJSON(String(key)), walk, depth + 1, 'toJSON()');
  if (Array.isArray(value)) return value.map((item, at) => withoutStandIns(item, walk, depth + 1, at));
  if (!isPlain(value)) return value;
  const copy = Object.create(null) as Fields;
  for (const [name, field] of Object.entries(value)) copy[name] = withoutStandIns(field, walk, depth + 1, name);
  return copy;
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
  return errorWithCode('VALUE_TOO_LARGE', `${walk.root} is too large: a record's JSON text may have 1 MiB`);
}

function tooDeep(walk: Walk, depth: number): ObjectqlError {
  const places = new Map<unknown, number>();
  let value = walk.value;
  for (let level = 0; level <= depth; level++) {
    const before = places.get(value);
    if (before !== undefined) {
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
  return walk.root + steps.join('');
}

/** What kind of thing a refused value is, for messages; never what it holds. */
function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== 'object') return `a ${typeof value}`;
  if (Array.isArray(value)) return 'an array';
  const { constructor } = value as { constructor?: unknown };
  return typeof constructor === 'function' && constructor.name !== '' ? `a ${constructor.name}` : 'an object';
}
