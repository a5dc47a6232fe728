import { type LocalDriver, nextTask, NO_ROWS, NotReady, whenLoaded } from './driver.js';
import { type Find, Shapes } from './expand.js';
import type { Watch } from './live-query.js';
import type { EncodedQuery } from './queries.js';
import { freeze, type ReadRecord, Rows } from './rows.js';
import type { Reader } from './start.js';
import type { ChangeEvent, ObjectDefinition, RecordId } from './types.js';

/** A live query that is followed. */
interface Live {
  readonly object: string;
  /** Whether the page has to get to know its records before it is shown. */
  isLate: boolean;
  /** The objects that its rows have records of, besides its own. */
  readonly related: ReadonlySet<string> | undefined;
  /** From `start`, so many records are gone, and those found stand there. */
  change(start: number, removed: number, records: readonly ReadRecord[]): void;
  /** Hands over its rows, if they are not those of the last time. */
  show(): void;
  fail(thrown: unknown): void;
}

/** What an open database is read by: its records, queries over them, and the live ones among these. */
export class Reading implements Reader {
  readonly #driver: LocalDriver;
  readonly #rows = new Rows();
  readonly #shapes: Shapes;
  readonly #lives = new Map<number, Live>();
  /** The queries to whose records the page was introduced, and that are about to be asked again. */
  readonly #introduced = new Set<string>();

  constructor(driver: LocalDriver, objects: readonly ObjectDefinition[]) {
    this.#driver = driver;
    this.#shapes = new Shapes(objects);
  }

  get(object: string, id: RecordId): ReadRecord | undefined {
    return this.#rows.get(this.#driver, object, id);
  }

  find(object: string, query: EncodedQuery): readonly ReadRecord[] {
    return this.#rowsOf(object, query, this.#find);
  }

  findIn(transaction: number, object: string, query: Partial<EncodedQuery> & Pick<EncodedQuery, 'json'>): readonly ReadRecord[] {
    return this.#rowsOf(object, query, (object, queryJson) => {
      return freeze(JSON.parse(this.#driver.ask('find', object, queryJson, '', transaction)) as ReadRecord[]);
    });
  }

  #rowsOf(object: string, query: Partial<EncodedQuery> & Pick<EncodedQuery, 'json'>, find: Find): readonly ReadRecord[] {
    const shape = this.#shapes.of(object, query);
    const records = find(object, query.json);
    return shape?.rows(records, find) ?? records;
  }

  watch(object: string, query: EncodedQuery): Watch<ReadRecord> {
    const shape = this.#shapes.of(object, query);
    return (onRows, onError) => {
      let records: readonly ReadRecord[] = [];
      let shown: readonly ReadRecord[] | undefined;
      const live = this.#driver.watch(object, query.json);
      const unwatch = () => {
        if (this.#lives.delete(live)) this.#driver.unwatch(live);
      };
      this.#lives.set(live, {
        object,
        isLate: false,
        fail: onError,
        related: shape?.objects,
        change(start, removed, news) {
          records = [...records.slice(0, start), ...news, ...records.slice(start + removed)];
        },
        show: () => {
          const rows = shape?.rows(records, this.#find) ?? records;
          if (shown?.length === rows.length && rows.every((row, at) => row === shown?.[at])) return;
          shown = rows;
          onRows(rows);
        },
      });
      try {
        this.#tell(new Set([live]), live);
      } catch (error) {
        unwatch();
        throw error;
      }
      return unwatch;
    };
  }

  /** Rows with related records do not say by themselves that these changed. */
  get wantsChanges(): boolean {
    for (const { related } of this.#lives.values()) if (related?.size) return true;
    return false;
  }

  tell(eventJson: string): void {
    if (this.#lives.size === 0) return;
    const expanded = [...this.#lives].filter(([, { related }]) => related?.size);
    const changes = expanded.length > 0 && eventJson !== '' ? (JSON.parse(eventJson) as ChangeEvent).changes : [];
    const concerned = expanded.filter(([, { related }]) => changes.some(({ objectName }) => related?.has(objectName)));
    this.#tell(new Set(concerned.map(([live]) => live)));
  }

  /**
   * Shows the results that changed, and those that are due. Of the one that is asked for alone it throws what is in the way; it may be one whose
   * records the page was introduced to.
   */
  #tell(due: Set<number>, only?: number, isIntroduced = false): void {
    for (const [live, start, removed, found] of this.#driver.liveChanges(only, isIntroduced)) {
      const records = this.#rows.read(found);
      const ahead = found[3];
      if (ahead === undefined) {
        this.#lives.get(live)?.change(start, removed, records);
        due.add(live);
      } else {
        due.delete(live);
        this.#showLater(live, (object) => this.#introduce(object, ahead));
      }
    }
    for (const id of due) {
      const live = this.#lives.get(id);
      try {
        if (live?.isLate === false) live.show();
      } catch (thrown) {
        const loading = id === only ? undefined : whenLoaded(this.#driver, thrown);
        if (loading === undefined) throw thrown;
        this.#showLater(id, () => loading);
      }
    }
  }

  /** Shows the result of a live query when what it wants is there. */
  #showLater(id: number, prepare: (object: string) => Promise<void>): void {
    const live = this.#lives.get(id);
    // Somebody is at it already, and looks again.
    if (live === undefined || live.isLate) return;
    live.isLate = true;
    const show = () => {
      live.isLate = false;
      if (this.#lives.has(id)) this.#tell(new Set([id]), id, true);
    };
    prepare(live.object).then(show).catch((thrown: unknown) => {
      live.isLate = false;
      const loading = whenLoaded(this.#driver, thrown);
      if (loading === undefined) live.fail(thrown);
      else this.#showLater(id, () => loading);
    });
  }

  readonly #find: Find = (object, queryJson) => {
    const key = `${object} ${queryJson}`;
    const found = this.#introduced.has(key) ? this.#driver.find(object, queryJson, NO_ROWS) : this.#driver.find(object, queryJson);
    // It may have had to wait for something else first.
    this.#introduced.delete(key);
    const records = this.#rows.read(found);
    const ahead = found[3];
    if (ahead === undefined) return records;
    throw new NotReady(async () => {
      await this.#introduce(object, ahead);
      this.#introduced.add(key);
    });
  };

  /** Makes objects of records, of each portion in a task of its own: others want to run between. */
  async #introduce(object: string, portions: Uint32Array[]): Promise<void> {
    for (const portion of portions) {
      this.#rows.read(this.#driver.find(object, '', portion));
      await nextTask();
    }
  }
}
