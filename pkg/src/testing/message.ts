import type { JsonValue, MutationEntry, RecordId } from '../types.js';
import { encodeRecord } from '../values.js';

/** The fields of a record, or of a change to one. */
export type Fields = { [name: string]: JsonValue };

/** A mutation as it goes over the wire. */
export type SyncMutation = Omit<MutationEntry, 'state'>;

/** What a client sends; a pull where it has no mutations. */
export interface SyncRequest {
  clientId: string;
  mutations: SyncMutation[];
  lastCheckpoint: string | null;
}

/** What the server tells of one change. */
export interface SyncChange {
  objectName: string;
  recordId: RecordId;
  operation: 'create' | 'update' | 'delete';
  data?: Fields;
  serverVersion: number;
  timestamp: string;
}

/** What somebody has to decide. */
export interface SyncConflict {
  objectName: string;
  recordId: RecordId;
  clientMutation: SyncMutation;
  serverRecord: Fields | null;
  conflictingFields: string[];
  suggestedResolution?: Fields;
  serverVersion?: number;
}

/** What became of a mutation. */
export type SyncVerdict =
  | { status: 'applied'; serverVersion: number }
  | { status: 'conflict'; conflict: SyncConflict }
  | { status: 'rejected'; reason: string };

/** What the server answers. */
export interface SyncAnswer {
  results: SyncVerdict[];
  serverChanges: SyncChange[];
  checkpoint: string;
  hasMore?: true;
}

/** A request as it was read: the mutations apart from each other, so that a bad one does not sink the rest. */
export interface ReceivedRequest {
  clientId: string;
  mutations: ReceivedMutation[];
  lastCheckpoint: string | null;
}

/** One mutation of a request, or what is wrong with it and its id, where that much could be read. */
export type ReceivedMutation = { mutation: SyncMutation } | { mutation?: undefined; id: string | undefined; problem: string };

/** The longest JSON text of a record, in bytes. */
export const MAX_FIELDS_BYTES = 1 << 20;

const MAX_ID_BYTES = 256;
const MUTATION_ID = /^[\da-f]{8}-[\da-f]{4}-7[\da-f]{3}-[\da-f]{4}-[\da-f]{12}$/i;
const OBJECT_NAME = /^[A-Za-z_]\w{0,127}$/;
const TIMESTAMP = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?(?:[Zz]|([+-])([01]\d|2[0-3]):([0-5]\d))$/;
/** The last millisecond that four digits of a year can write. */
const LAST_MS = 253_402_300_799_999;

type Unread = { readonly [name: string]: unknown };

/** Reads the body of a request; returns what is wrong when it is none. */
export function readRequest(text: string): ReceivedRequest | string {
  const body = parsed(text);
  if (!isObject(body)) return 'the body is no JSON object';
  const { clientId, mutations, lastCheckpoint = null } = body;
  if (!isId(clientId)) return 'clientId must be a string of 1 to 256 bytes';
  if (!Array.isArray(mutations)) return 'mutations must be an array';
  if (lastCheckpoint !== null && typeof lastCheckpoint !== 'string') return 'lastCheckpoint must be a string or null';
  return { clientId, mutations: mutations.map((mutation: unknown) => readMutation(mutation, clientId)), lastCheckpoint };
}

/** Reads ISO 8601 as milliseconds since 1970; undefined when it is none. */
export function readTimestamp(value: unknown): number | undefined {
  const [, date, clock, fraction = '', sign, hours, minutes] = (typeof value === 'string' && TIMESTAMP.exec(value)) || [];
  const local = Date.parse(`${date}T${clock}.${fraction.padEnd(3, '0').slice(0, 3)}Z`);
  // 31 April is no date, but some engines take it for 1 May.
  if (Number.isNaN(local) || !new Date(local).toISOString().startsWith(`${date}T${clock}`)) return undefined;
  const offset = sign === undefined ? 0 : Number(`${sign}1`) * (Number(hours) * 60 + Number(minutes)) * 60_000;
  const time = local - offset;
  return time >= Date.parse('0000-01-01T00:00:00.000Z') && time <= LAST_MS ? time : undefined;
}

/** How long the JSON text of some fields is, in bytes. */
export function bytesOf(fields: Fields): number {
  return new TextEncoder().encode(JSON.stringify(fields)).length;
}

function readMutation(value: unknown, sender: string): ReceivedMutation {
  const unread = isObject(value) ? value : {};
  const id = typeof unread['id'] === 'string' && MUTATION_ID.test(unread['id']) ? unread['id'].toLowerCase() : undefined;
  const problem = problemOf(unread, id, sender);
  if (problem !== undefined) return { id, problem };
  const { objectName, recordId, operation, data, timestamp, clientId, sequence, baseVersion } = unread as unknown as SyncMutation;
  const time = new Date(readTimestamp(timestamp) as number).toISOString();
  // In the order of the wire format, without what it does not know: a conflict shows the mutation again.
  const read = { id: id as string, objectName, recordId, operation, ...(data && { data }), timestamp: time, clientId, sequence };
  return { mutation: { ...read, baseVersion: baseVersion ?? null } };
}

function problemOf(unread: Unread, id: string | undefined, sender: string): string | undefined {
  const { objectName, recordId, operation, timestamp, clientId, sequence } = unread;
  const data = unread['data'] ?? undefined;
  if (id === undefined) return 'id must be a UUID of version 7';
  if (typeof objectName !== 'string' || !OBJECT_NAME.test(objectName)) return 'objectName is no name of an object';
  if (!isId(recordId) && !Number.isSafeInteger(recordId)) return 'recordId must be a string of 1 to 256 bytes or a safe integer';
  if (operation !== 'create' && operation !== 'update' && operation !== 'delete') return `there is no operation ${JSON.stringify(operation)}`;
  if (readTimestamp(timestamp) === undefined) return 'timestamp must be ISO 8601';
  if (!isCount(sequence)) return 'sequence must be a whole number';
  if (!isCount(unread['baseVersion'] ?? 0)) return 'baseVersion must be a whole number or null';
  if (clientId !== sender) return "the mutation's clientId is not the request's";
  if (operation === 'delete') return data === undefined ? undefined : 'a delete carries no data';
  if (data === undefined) return 'a create or update needs data';
  if (!isObject(data)) return 'data must be an object';
  if (Object.hasOwn(data, 'id') && data['id'] !== recordId) return 'the id inside data is not the recordId';
  return problemOfFields(data as Fields);
}

function problemOfFields(data: Fields): string | undefined {
  try {
    encodeRecord(data, 'data');
  } catch (error) {
    return (error as Error).message;
  }
  return bytesOf(data) > MAX_FIELDS_BYTES ? `a record's JSON text is longer than ${MAX_FIELDS_BYTES} bytes` : undefined;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isObject(value: unknown): value is Unread {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isId(value: unknown): value is string {
  if (typeof value !== 'string' || value === '' || /\0|\p{Surrogate}/u.test(value)) return false;
  return new TextEncoder().encode(value).length <= MAX_ID_BYTES;
}

function isCount(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
