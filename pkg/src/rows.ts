import type { Found, LocalDriver } from './driver.js';
import type { RecordId } from './types.js';
import { encodeId } from './values.js';

/** A record as it is read: frozen, and one object for as long as it does not change. */
export type ReadRecord = { readonly id: RecordId; readonly [field: string]: unknown };

/**
 * The records that this page has made objects of, by the stamp of their state. The driver knows which they are, hands over the JSON of
 * the others only, and says which are not needed any more.
 */
export class Rows {
  readonly #byStamp = new Map<number, ReadRecord>();
  /** The last known stamp of a record; it may be one that is forgotten. */
  readonly #stamps = new Map<string, Map<RecordId, number>>();
  #revision = 0;

  /** One record. Errors: those of the driver, where the page does not know it. */
  get(driver: LocalDriver, object: string, id: RecordId): ReadRecord | undefined {
    const revision = driver.revision();
    if (revision !== this.#revision) {
      this.#revision = revision;
      this.#forget(driver.takeStale());
    }
    let stamps = this.#stamps.get(object);
    const stamp = stamps?.get(id);
    const known = stamp === undefined ? undefined : this.#byStamp.get(stamp);
    if (known !== undefined) return known;
    const answer = driver.get(object, encodeId(id));
    if (answer === undefined) {
      stamps?.delete(id);
      return undefined;
    }
    // Not all of the object is in memory: the record has no stamp to be known by.
    if (answer.startsWith('?')) return freeze(JSON.parse(answer.slice(1)) as ReadRecord);
    const start = answer.startsWith('!') ? 1 : 0;
    if (start > 0) this.#forget(driver.takeStale());
    const found = parseInt(answer.slice(start), 10);
    if (stamps === undefined) this.#stamps.set(object, (stamps = new Map()));
    stamps.set(id, found);
    const colon = answer.indexOf(':');
    if (colon > 0) this.#byStamp.set(found, freeze(JSON.parse(answer.slice(colon + 1)) as ReadRecord));
    return this.#byStamp.get(found);
  }

  /** The records that the driver found. Each `Found` must be read, once, in the order in which they came. */
  read([stamps, unknown, stale]: Found): ReadRecord[] {
    this.#forget(stale);
    const news = parseRecords(unknown);
    const rows = new Array<ReadRecord>(stamps.length);
    let next = 0;
    for (let at = 0; at < stamps.length; at++) {
      const stamp = stamps[at] as number;
      let row = this.#byStamp.get(stamp);
      if (row === undefined) {
        row = news[next++] as ReadRecord;
        this.#byStamp.set(stamp, row);
      }
      rows[at] = row;
    }
    return rows;
  }

  #forget(stale: Uint32Array): void {
    for (const stamp of stale) this.#byStamp.delete(stamp);
  }
}

/** The records of a JSON text, or of none, frozen. */
export function parseRecords(json: string): ReadRecord[] {
  const records = json === '' ? [] : (JSON.parse(json) as ReadRecord[]);
  for (let at = 0; at < records.length; at++) freeze(records[at] as ReadRecord);
  return records;
}

/** Freezes a value and all that is in it. Arrays are gone through by place: by name that is several times slower. */
export function freeze<T extends object>(value: T): T {
  if (Array.isArray(value)) for (let at = 0; at < value.length; at++) freezeInner(value[at]);
  else for (const name in value) freezeInner(value[name]);
  return Object.freeze(value);
}

function freezeInner(value: unknown): void {
  if (typeof value === 'object' && value !== null) freeze(value);
}
