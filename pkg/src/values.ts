import { type ErrorCode, errorWithCode, type ObjectqlError, ValueError } from './errors.js';
import type { RecordId, Resolution } from './types.js';

/** How deep a record's values may be nested, the record itself being the first level; the driver has the same limit. */
const MAX_DEPTH = 32;

/**
 * The longest JSON text of a record that is handed to the driver, in UTF-16 units. The driver's own limit is 1 MiB and
 * counted exactly; this one keeps a gigabyte from being copied into wasm memory to find that out.
 */
const MAX_TEXT_LENGTH = 2 << 20;

/** The longest JSON text of a call, likewise: there the driver's limit is 16 MiB. */
export const MAX_CALL_LENGTH = 32 << 20;

/** How many values one record can hold at most: each takes two bytes of the text. Bounds the walk over shared values. */
const MAX_VALUES = 1 << 20;

type Key = string | number;
export type Fields = { [name: string]: unknown };

/** The defaults of an object: what a record that is made without a field has there, as JSON text. */
export type Defaults = readonly (readonly [field: string, json: string])[];

/** Where a walk is. */
export interface Walk {
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

export function copyEach<R>(items: unknown, walk: Walk, copyOne: (item: unknown) => R): R[] {
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

/** Turns the outcome of a conflict into JSON text: whose side, or the record to keep. */
export function encodeResolution(resolution: Resolution, root = 'resolution'): string {
  if (resolution === 'mine' || resolution === 'theirs') return JSON.stringify(resolution);
  return encodeRecord(resolution, root);
}

/** Turns plain data, such as options, into JSON text. */
export function encodePlain(value: object, root: string): string {
  return encodeValue(value, root);
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

/** Turns a value into JSON text; errors as {@link encodeRecord}. */
export function encodeValue(value: unknown, root: string, refusesUndefined = false): string {
  const walk = begin(root, value, '', refusesUndefined);
  return textOf(copy(value, walk, 0, ''), walk);
}

export function begin(root: string, value: unknown, within = '', refusesUndefined = false): Walk {
  return { root, at: undefined, within, value, path: [], values: 0, refusesUndefined };
}

/** The JSON text of what was copied. */
export function textOf(copied: unknown, walk: Walk, most = MAX_TEXT_LENGTH, check = () => checkTexts(copied, walk, 0, '')): string {
  const text = stringify(copied);
  if (text === undefined || text.length > most) throw tooLarge(walk);
  // What no text may hold is escaped in this way, and little else: it is looked for only where there is such an escape.
  if (text.includes('\\u')) check();
  return text;
}

/** The JSON text of a copy; nothing where it is longer than a string can be. */
export function stringify(copied: unknown): string | undefined {
  try {
    return JSON.stringify(copied);
  } catch {
    return undefined;
  }
}

export function checkEach(list: readonly Fields[], walk: Walk): void {
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
export function copyRecord(record: unknown, walk: Walk, defaults?: Defaults): Fields {
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
export function describe(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  if (typeof value !== 'object') return `a ${typeof value}`;
  if (Array.isArray(value)) return 'an array';
  const { constructor } = value as { constructor?: unknown };
  return typeof constructor === 'function' && constructor.name !== '' ? `a ${constructor.name}` : 'an object';
}
