import type { Driver } from './driver.js';
import { type Definitions, type Find, Shape } from './expand.js';
import type { Watch } from './live-query.js';
import { freeze, type ReadRecord, Rows } from './rows.js';
import type { ChangeEvent, ObjectDefinition, RecordId } from './types.js';
import { type Defaults, type EncodedQuery, readDefaults } from './values.js';

/** How many shapes are kept, so that the rows of a query that is made again are the same objects. */
const MOST_SHAPES = 16;

/** A live query that is followed. */
interface Live {
  /** The objects that its rows have records of, besides its own. */
  readonly related: ReadonlySet<string> | undefined;
  /** From `start`, so many records are gone, and those found stand there. */
  change(start: number, removed: number, records: readonly ReadRecord[]): void;
  /** Hands over its rows, if they are not those of the last time. */
  show(): void;
}

/** What an open database is read by: its records, queries over them, and the live ones among these. */
export class Reading {
  readonly #driver: Driver;
  readonly #rows: Rows;
  readonly #definitions: Definitions;
  readonly #defaults: ReadonlyMap<string, Defaults>;
  /** Those of the last queries with `fields` or `expand`; the one used last comes last. */
  readonly #shapes = new Map<string, Shape>();
  readonly #lives = new Map<number, Live>();

  constructor(driver: Driver, objects: readonly ObjectDefinition[]) {
    this.#driver = driver;
    this.#rows = new Rows(driver);
    this.#definitions = new Map(objects.map((object) => [object.name, object]));
    this.#defaults = new Map(objects.map((object) => [object.name, readDefaults(object)]));
  }

  /** The names of the objects that are defined. */
  objects(): Iterable<string> {
    return this.#definitions.keys();
  }

  defaults(object: string): Defaults {
    return this.#defaults.get(object) ?? [];
  }

  get(object: string, id: RecordId): ReadRecord | undefined {
    return this.#rows.get(object, id);
  }

  find(object: string, query: EncodedQuery): readonly ReadRecord[] {
    return this.#rowsOf(object, query, this.#find);
  }

  /** The rows of a query in a transaction, with what that wrote. */
  findIn(transaction: number, object: string, query: Partial<EncodedQuery> & Pick<EncodedQuery, 'json'>): readonly ReadRecord[] {
    return this.#rowsOf(object, query, (object, queryJson) => {
      return freeze(JSON.parse(this.#driver.ask('find', object, queryJson, '', transaction)) as ReadRecord[]);
    });
  }

  #rowsOf(object: string, query: Partial<EncodedQuery> & Pick<EncodedQuery, 'json'>, find: Find): readonly ReadRecord[] {
    const shape = this.#shape(object, query);
    const records = find(object, query.json);
    return shape?.rows(records, find) ?? records;
  }

  /** Prepares to follow the result of a query. */
  watch(object: string, query: EncodedQuery): Watch<ReadRecord> {
    const shape = this.#shape(object, query);
    return (onRows) => {
      let records: readonly ReadRecord[] = [];
      let shown: readonly ReadRecord[] | undefined;
      const live = this.#driver.watch(object, query.json);
      const unwatch = () => {
        if (this.#lives.delete(live)) this.#driver.unwatch(live);
      };
      this.#lives.set(live, {
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

  /** Whether it has to know which records change: rows with related ones do not say by themselves that they did. */
  get wantsChanges(): boolean {
    for (const { related } of this.#lives.values()) if (related?.size) return true;
    return false;
  }

  /** Records changed, as the event says: those who follow a result that did are told. */
  tell(eventJson: string): void {
    if (this.#lives.size === 0) return;
    const expanded = [...this.#lives].filter(([, { related }]) => related?.size);
    const changes = expanded.length > 0 && eventJson !== '' ? (JSON.parse(eventJson) as ChangeEvent).changes : [];
    const concerned = expanded.filter(([, { related }]) => changes.some(({ objectName }) => related?.has(objectName)));
    this.#tell(new Set(concerned.map(([live]) => live)));
  }

  /** Shows the results that changed, and those that are due. */
  #tell(due: Set<number>, only?: number): void {
    for (const [live, start, removed, found] of this.#driver.liveChanges(only)) {
      const records = this.#rows.read(found);
      this.#lives.get(live)?.change(start, removed, records);
      due.add(live);
    }
    for (const live of due) this.#lives.get(live)?.show();
  }

  readonly #find: Find = (object, queryJson) => this.#rows.read(this.#driver.find(object, queryJson));

  #shape(object: string, { fields, expand }: Partial<EncodedQuery>): Shape | undefined {
    if (fields === undefined && expand === undefined) return undefined;
    const key = JSON.stringify([object, fields, expand]);
    const shape = this.#shapes.get(key) ?? new Shape(object, { fields, expand }, this.#definitions);
    this.#shapes.delete(key);
    this.#shapes.set(key, shape);
    for (const oldest of this.#shapes.keys()) if (this.#shapes.size > MOST_SHAPES) this.#shapes.delete(oldest);
    return shape;
  }
}
