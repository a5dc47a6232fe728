// What becomes of one mutation: pure decisions, the same as those of `server/src/decide.rs`, `record.rs` and `validate.rs`, which
// say why they are as they are. The golden exchanges hold both to the same answers.
import type { FieldDefinition, JsonValue, ObjectDefinition, SyncConfig } from '../types.js';
import { bytesOf, type Fields, MAX_FIELDS_BYTES, readTimestamp, type SyncMutation } from './message.js';

/** One write to a record: the version it made, when (milliseconds since 1970, never later than the server's clock), and by whom. */
export interface Write {
  readonly version: number;
  readonly timestamp: number;
  readonly clientId: string;
}

/** A record that is there. */
export interface LiveRecord {
  /** All of its fields, `id` included; never changed in place. */
  readonly data: Fields;
  readonly last: Write;
  /** The write that made it, or made it anew after a delete. */
  readonly born: Write;
  /** The last write of each field that was written since. */
  readonly writes: ReadonlyMap<string, Write>;
}

/** What the server holds of a record: the record, or the write that deleted it. */
export type ServerRecord = LiveRecord | { readonly data: null; readonly last: Write };

/** What is done to a record. */
export type Effect = { operation: 'create' | 'update'; data: Fields } | { operation: 'delete' };

/** What becomes of a mutation. */
export type Decision =
  /** It is written; the verdict is `applied` with the version the write makes. */
  | { kind: 'write'; effect: Effect }
  /** Nothing is written; the verdict is `applied` with the present version. */
  | { kind: 'settled' }
  | { kind: 'conflict'; fields: string[]; suggestion?: Fields }
  /** The reason begins with a code. */
  | { kind: 'refused'; reason: string };

/** What a decision needs of a mutation. */
export type Proposal = Omit<SyncMutation, 'id' | 'sequence'>;

const SETTLED: Decision = { kind: 'settled' };
const DELETED: Decision = { kind: 'refused', reason: 'RECORD_DELETED: the record was deleted' };
const NOT_FOUND: Decision = { kind: 'refused', reason: 'RECORD_NOT_FOUND: there is no such record' };

/** The fields the driver itself sets: they never make an overlap. */
const SYSTEM_FIELDS = new Set(['id', 'created_at', 'updated_at']);

/** Decides on one mutation, given the record as it is and the server's time. */
export function decide(record: ServerRecord | undefined, mutation: Proposal, sync: SyncConfig, now: number): Decision {
  const judged = new Case(record, mutation, sync, now);
  const live = record?.data ? record : undefined;
  const data = mutation.data ?? {};
  switch (mutation.operation) {
    case 'create':
      return live ? judged.merge(live, data) : judged.create(data);
    case 'update':
      if (live) return judged.update(live, data);
      return record ? judged.updateDeleted(record.last, data) : NOT_FOUND;
    case 'delete':
      return live ? judged.delete(live) : SETTLED;
  }
}

/** When a mutation was made, as the server counts it: a clock that runs ahead gains nothing. */
export function timeOf(mutation: Proposal, now: number): number {
  return Math.min(readTimestamp(mutation.timestamp) ?? now, now);
}

/** The record after a write. Times of a record, and of each of its fields, never go back. */
export function after(before: ServerRecord | undefined, effect: Effect, write: Write): ServerRecord {
  const last = notBefore(write, before?.last);
  if (effect.operation === 'delete') return { data: null, last };
  if (effect.operation === 'create' || !before?.data) return { data: effect.data, last, born: last, writes: new Map() };
  const writes = new Map(before.writes);
  for (const name of ownFields(effect.data)) {
    const known = Object.hasOwn(before.data, name) ? lastWrite(before, name) : undefined;
    writes.set(name, notBefore(write, known));
  }
  return { data: { ...before.data, ...effect.data }, last, born: before.born, writes };
}

/** Whether the fields of a mutation have values that the definition allows; the reason if not. Unknown fields are taken as they are. */
export function refusalOfFields(object: ObjectDefinition, { operation, data }: Proposal): string | undefined {
  if (data === undefined) return undefined;
  for (const [name, field] of Object.entries(object.fields ?? {})) {
    if (!Object.hasOwn(data, name) && operation !== 'create') continue;
    const value = valueOf(data, name);
    if (value === null) {
      if (field.required) return `INVALID_FIELD: the field ${JSON.stringify(name)} is required`;
    } else if (field.type === 'select' && !isOption(value, field)) {
      return `INVALID_FIELD: the field ${JSON.stringify(name)} does not have one of its options`;
    }
  }
  return undefined;
}

/** One mutation and what it is judged by. */
class Case {
  readonly #sync: SyncConfig;
  readonly #recordId: Proposal['recordId'];
  readonly #clientId: string;
  readonly #time: number;
  readonly #now: number;
  readonly #base: number | null;

  constructor(record: ServerRecord | undefined, mutation: Proposal, sync: SyncConfig, now: number) {
    this.#sync = sync;
    this.#recordId = mutation.recordId;
    this.#clientId = mutation.clientId;
    this.#time = timeOf(mutation, now);
    this.#now = now;
    // A base above the record's version is none of this server's: nothing is known then.
    const { baseVersion } = mutation;
    this.#base = baseVersion !== null && record && baseVersion <= record.last.version ? baseVersion : null;
  }

  create(data: Fields): Decision {
    const whole = Object.hasOwn(data, 'id') ? data : { id: this.#recordId, ...data };
    return sized({ operation: 'create', data: this.#withoutFuture(whole) });
  }

  update(live: LiveRecord, data: Fields): Decision {
    return !this.#isManual && this.#sawOnlyAnEarlierLife(live) ? DELETED : this.merge(live, data);
  }

  updateDeleted(deletion: Write, data: Fields): Decision {
    return this.#isManual && this.#isNew(deletion) ? { kind: 'conflict', fields: ownFields(data) } : DELETED;
  }

  delete(live: LiveRecord): Decision {
    const deletion: Decision = { kind: 'write', effect: { operation: 'delete' } };
    if (!this.#isManual) return this.#sawOnlyAnEarlierLife(live) ? SETTLED : deletion;
    const fields = ownFields(live.data).filter((name) => this.#isNew(lastWrite(live, name)));
    return fields.length === 0 ? deletion : { kind: 'conflict', fields, suggestion: live.data };
  }

  /** An update of a record that is there, or a create of one. */
  merge(live: LiveRecord, data: Fields): Decision {
    if (this.#sync.strategy === 'crdt') return this.#writeWinners(live, data);
    const differing = ownFields(data).filter((name) => !isSame(valueOf(data, name), valueOf(live.data, name)));
    const overlap = differing.filter((name) => this.#newWrite(live, name));
    const asks = this.#isManual || overlap.some((name) => this.#sync.conflict_fields?.includes(name));
    if (overlap.length > 0 && asks) return this.#conflict(live, data, overlap);
    return overlap.every((name) => this.#wins(live, name)) ? this.#write(live, data) : SETTLED;
  }

  #writeWinners(live: LiveRecord, data: Fields): Decision {
    const winners = this.#winners(live, data);
    const hasLost = Object.keys(winners).length < Object.keys(data).length;
    // With all of its values gone the mutation leaves no trace, not even in updated_at.
    return hasLost && ownFields(winners).length === 0 ? SETTLED : this.#write(live, winners);
  }

  #write(live: LiveRecord, data: Fields): Decision {
    const patch = this.#settable(live, data);
    return Object.keys(patch).length === 0 ? SETTLED : sized({ operation: 'update', data: patch }, live);
  }

  #conflict(live: LiveRecord, data: Fields, fields: string[]): Decision {
    const suggestion = { ...live.data, ...this.#settable(live, this.#winners(live, data)) };
    return { kind: 'conflict', fields, ...(bytesOf(suggestion) <= MAX_FIELDS_BYTES && { suggestion }) };
  }

  #winners(live: LiveRecord, data: Fields): Fields {
    return filtered(data, (name) => SYSTEM_FIELDS.has(name) || this.#wins(live, name));
  }

  #wins(live: LiveRecord, name: string): boolean {
    const write = this.#newWrite(live, name);
    if (write === undefined) return true;
    return this.#time === write.timestamp ? this.#clientId >= write.clientId : this.#time > write.timestamp;
  }

  /** The last write of a field of the record, if it is somebody else's and new to the author of the mutation. */
  #newWrite(live: LiveRecord, name: string): Write | undefined {
    // A field that the record does not have was written by nobody.
    const write = Object.hasOwn(live.data, name) ? lastWrite(live, name) : undefined;
    return write && this.#isNew(write) ? write : undefined;
  }

  #isNew(write: Write): boolean {
    return write.clientId !== this.#clientId && (this.#base === null || write.version > this.#base);
  }

  #sawOnlyAnEarlierLife({ born, writes }: LiveRecord): boolean {
    const isOwn = ({ clientId }: Write) => clientId === this.#clientId;
    return this.#base !== null && this.#base < born.version && !isOwn(born) && ![...writes.values()].some(isOwn);
  }

  /** The fields that a write may set: not the id, not when it was made, and when it was last changed only forwards. */
  #settable({ data: current }: LiveRecord, data: Fields): Fields {
    return filtered(this.#withoutFuture(data), (name, value) => {
      if (name === 'id') return false;
      if (name === 'created_at') return valueOf(current, name) === null;
      if (name !== 'updated_at') return true;
      const old = readTimestamp(valueOf(current, name));
      return old === undefined || (readTimestamp(value) ?? old) > old;
    });
  }

  /** The fields with an `updated_at` that is not later than the server's clock: it could never be overtaken. */
  #withoutFuture(data: Fields): Fields {
    const time = readTimestamp(valueOf(data, 'updated_at'));
    if (time === undefined || time <= this.#now) return data;
    return { ...filtered(data, (name) => name !== 'updated_at'), updated_at: new Date(this.#now).toISOString() };
  }

  get #isManual(): boolean {
    return this.#sync.strategy === 'manual';
  }
}

function sized(effect: { operation: 'create' | 'update'; data: Fields }, live?: LiveRecord): Decision {
  // Clients refuse a longer one, and a change that all clients refuse would stop them all.
  if (bytesOf({ ...live?.data, ...effect.data }) <= MAX_FIELDS_BYTES) return { kind: 'write', effect };
  return { kind: 'refused', reason: `VALUE_TOO_LARGE: with this change the record would be longer than ${MAX_FIELDS_BYTES} bytes` };
}

function lastWrite(live: LiveRecord, name: string): Write {
  return live.writes.get(name) ?? live.born;
}

function notBefore(write: Write, earlier: Write | undefined): Write {
  return earlier && earlier.timestamp > write.timestamp ? { ...write, timestamp: earlier.timestamp } : write;
}

/** The names of the app's own fields. */
function ownFields(data: Fields): string[] {
  return Object.keys(data).filter((name) => !SYSTEM_FIELDS.has(name));
}

/** The value of a field; one that is absent and one that is null mean the same. A field may be called `constructor`. */
function valueOf(data: Fields, name: string): JsonValue {
  return Object.hasOwn(data, name) ? (data[name] ?? null) : null;
}

/** Some of the fields; `fromEntries` because a field may be called `__proto__`. */
function filtered(data: Fields, keep: (name: string, value: JsonValue) => boolean): Fields {
  return Object.fromEntries(Object.entries(data).filter(([name, value]) => keep(name, value)));
}

function isSame(a: JsonValue, b: JsonValue): boolean {
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return a === b;
  if (Array.isArray(a) !== Array.isArray(b)) return false;
  const [mine, theirs] = [a as Fields, b as Fields];
  const names = Object.keys(mine);
  if (names.length !== Object.keys(theirs).length) return false;
  return names.every((name) => Object.hasOwn(theirs, name) && isSame(mine[name] as JsonValue, theirs[name] as JsonValue));
}

function isOption(value: JsonValue, field: FieldDefinition): boolean {
  const options = (field.options ?? []).map((option) => (typeof option === 'string' ? option : option.value));
  const isOne = (one: JsonValue) => typeof one === 'string' && options.includes(one);
  return Array.isArray(value) ? value.every(isOne) : isOne(value);
}
