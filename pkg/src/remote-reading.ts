import { type Find, Shapes } from './expand.js';
import type { Watch } from './live-query.js';
import type { EncodedQuery } from './queries.js';
import type { RemoteDriver } from './remote.js';
import type { ReadRecord } from './rows.js';
import type { Reader } from './start.js';
import type { ObjectDefinition, RecordId } from './types.js';
import { encodeId } from './values.js';

/**
 * What a database is read by whose driver is in a worker. That asks the driver at one moment for all that belongs to a row; the
 * row is made here, of the objects that this page has.
 */
export class RemoteReading implements Reader {
  readonly #driver: RemoteDriver;
  readonly #shapes: Shapes;

  constructor(driver: RemoteDriver, objects: readonly ObjectDefinition[]) {
    this.#driver = driver;
    this.#shapes = new Shapes(objects);
  }

  /** The worker always knows. */
  get wantsChanges(): boolean {
    return false;
  }

  get(object: string, id: RecordId): Promise<ReadRecord | undefined> {
    return this.#driver.get(object, encodeId(id));
  }

  find(object: string, query: EncodedQuery): Promise<readonly ReadRecord[]> {
    return this.#rowsOf(object, query);
  }

  findIn(transaction: number, object: string, query: Partial<EncodedQuery> & Pick<EncodedQuery, 'json'>): Promise<readonly ReadRecord[]> {
    return this.#rowsOf(object, query, transaction);
  }

  async #rowsOf(object: string, query: Partial<EncodedQuery> & Pick<EncodedQuery, 'json'>, within?: number): Promise<readonly ReadRecord[]> {
    const shape = this.#shapes.of(object, query);
    const find = await this.#driver.find(object, query, within);
    const records = find(object, query.json);
    return shape?.rows(records, find) ?? records;
  }

  watch(object: string, query: EncodedQuery): Watch<ReadRecord> {
    const shape = this.#shapes.of(object, query);
    return (onRows, onError) => {
      let records: readonly ReadRecord[] = [];
      let shown: readonly ReadRecord[] | undefined;
      return this.#driver.watch(object, query, {
        change(start, removed, news) {
          records = [...records.slice(0, start), ...news, ...records.slice(start + removed)];
        },
        show(find: Find) {
          const rows = shape?.rows(records, find) ?? records;
          if (shown?.length === rows.length && rows.every((row, at) => row === shown?.[at])) return;
          shown = rows;
          onRows(rows);
        },
        fail: onError,
      });
    };
  }

  /** The worker tells, by itself and before the event. */
  tell(): void {}
}
