import type { Driver } from './driver.js';
import type { Watch } from './live-query.js';
import { pick, type ReadRecord, Rows } from './rows.js';
import type { RecordId } from './types.js';
import type { EncodedQuery } from './values.js';

/** What an open database is read by: its records, queries over them, and the live ones among these. */
export class Reading {
  readonly #driver: Driver;
  readonly #rows: Rows;
  /** What to do about a change in the result of a live query. */
  readonly #lives = new Map<number, (start: number, removed: number, rows: readonly ReadRecord[]) => void>();

  constructor(driver: Driver) {
    this.#driver = driver;
    this.#rows = new Rows(driver);
  }

  get(object: string, id: RecordId): ReadRecord | undefined {
    return this.#rows.get(object, id);
  }

  find(object: string, { json, fields }: EncodedQuery): ReadRecord[] {
    const rows = this.#rows.read(this.#driver.find(object, json));
    return fields === undefined ? rows : rows.map((row) => pick(row, fields));
  }

  /** Prepares to follow the result of a query. */
  watch(object: string, { json, fields }: EncodedQuery): Watch<ReadRecord> {
    return (onRows) => {
      let rows: readonly ReadRecord[] = [];
      // What was picked from a record that did not change stays the same object, too.
      const picked = new WeakMap<ReadRecord, ReadRecord>();
      const shown = (row: ReadRecord): ReadRecord => {
        if (fields === undefined) return row;
        const known = picked.get(row) ?? pick(row, fields);
        picked.set(row, known);
        return known;
      };
      const live = this.#driver.watch(object, json);
      this.#lives.set(live, (start, removed, news) => {
        rows = [...rows.slice(0, start), ...news, ...rows.slice(start + removed)];
        onRows(fields === undefined ? rows : rows.map(shown));
      });
      // Nothing changes in a result that is empty, but that it is has to be said.
      if (!this.#tell(live)) onRows(rows);
      return () => {
        if (this.#lives.delete(live)) this.#driver.unwatch(live);
      };
    };
  }

  /** Records changed: those who follow a result that did are told. */
  tell(): void {
    if (this.#lives.size > 0) this.#tell();
  }

  #tell(only?: number): boolean {
    const changes = this.#driver.liveChanges(only).map(([live, start, removed, found]) => {
      return { live, start, removed, rows: this.#rows.read(found) };
    });
    for (const { live, start, removed, rows } of changes) this.#lives.get(live)?.(start, removed, rows);
    return changes.length > 0;
  }
}
