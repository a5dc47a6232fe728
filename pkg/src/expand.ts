import { errorWithCode, QueryError } from './errors.js';
import type { ReadRecord } from './rows.js';
import type { ObjectDefinition, RecordId } from './types.js';
import type { EncodedQuery } from './queries.js';

/** How many ids one query asks for: what the driver looks for by an index at most. */
const MOST_IDS = 256;

/** The objects of a database by name. */
export type Definitions = ReadonlyMap<string, ObjectDefinition>;

/** Reads the records of an object that match a query. */
export type Find = (object: string, queryJson: string) => readonly ReadRecord[];

/** How the records of one object lead to those of another: by a lookup, at this end or at the other. */
interface Relation {
  /** The object of the related records. */
  readonly object: string;
  /** The lookup's name. */
  readonly field: string;
  readonly isMultiple: boolean;
  /** Whether the lookup is at the other end, so that there may be any number of related records. */
  readonly isToChildren: boolean;
}

/** A relation that a query follows. */
interface Expansion extends Relation {
  readonly key: string;
  readonly query: { readonly where?: unknown; readonly orderBy?: unknown; readonly limit?: number };
  readonly shape: Shape;
}

/** What a query makes of the records that it finds: rows that have some of their fields, and related records. */
export class Shape {
  /** The objects that its rows have records of, besides the query's own. */
  readonly objects = new Set<string>();
  readonly #fields: readonly string[] | undefined;
  readonly #expansions: readonly Expansion[];
  /** The row that was made of a record last, and what is in it: as long as that is the same, so is the row. */
  readonly #rows = new WeakMap<ReadRecord, { readonly row: ReadRecord; readonly related: readonly unknown[] }>();

  /** Errors: `INVALID_QUERY` for what is no relation of the object, `UNKNOWN_OBJECT` for a relation to one that is not defined. */
  constructor(object: string, { fields, expand = {} }: Omit<EncodedQuery, 'json'>, definitions: Definitions) {
    this.#fields = fields;
    const relations = relationsOf(object, definitions);
    this.#expansions = Object.entries(expand).map(([key, query]) => {
      const relation = relations.get(key);
      if (!relation) throw wrong(unknownKey(object, key, relations));
      const shape = new Shape(relation.object, query, definitions);
      for (const name of [relation.object, ...shape.objects]) this.objects.add(name);
      return { ...relation, key, query: readQuery(key, query, relation), shape };
    });
  }

  /** The rows of these records, in the same order. */
  rows(records: readonly ReadRecord[], find: Find): readonly ReadRecord[] {
    if (this.#fields === undefined && this.#expansions.length === 0) return records;
    const columns = this.#expansions.map((expansion) => relatedTo(records, expansion, find));
    return records.map((record, at) => this.#row(record, columns.map((column) => column[at])));
  }

  #row(record: ReadRecord, related: readonly unknown[]): ReadRecord {
    const known = this.#rows.get(record);
    if (known?.related.every((value, at) => isSame(value, related[at]))) return known.row;
    const fields = Object.entries(record).filter(([name]) => name === 'id' || (this.#fields?.includes(name) ?? true));
    const entries = [...fields, ...this.#expansions.map(({ key }, at) => [key, related[at]])];
    // Not by assignment: a field may be called `__proto__`.
    const row = Object.freeze(Object.fromEntries(entries)) as ReadRecord;
    this.#rows.set(record, { row, related });
    return row;
  }
}

/** How many shapes are kept, so that the rows of a query that is made again are the same objects. */
const MOST_SHAPES = 16;

/** The shapes of the last queries with `fields` or `expand`. */
export class Shapes {
  readonly #definitions: Definitions;
  /** The one used last comes last. */
  readonly #shapes = new Map<string, Shape>();

  constructor(objects: readonly ObjectDefinition[]) {
    this.#definitions = new Map(objects.map((object) => [object.name, object]));
  }

  /** What a query makes of what it finds, if that is not the records themselves. Errors: as `Shape`. */
  of(object: string, { fields, expand }: Partial<EncodedQuery>): Shape | undefined {
    if (fields === undefined && expand === undefined) return undefined;
    const key = JSON.stringify([object, fields, expand]);
    const shape = this.#shapes.get(key) ?? new Shape(object, { fields, expand }, this.#definitions);
    this.#shapes.delete(key);
    this.#shapes.set(key, shape);
    for (const oldest of this.#shapes.keys()) if (this.#shapes.size > MOST_SHAPES) this.#shapes.delete(oldest);
    return shape;
  }
}

/** What stands under an expansion's key in the row of each record. */
function relatedTo(records: readonly ReadRecord[], expansion: Expansion, find: Find): unknown[] {
  const { object, field, isMultiple, isToChildren, query, shape } = expansion;
  const idsOf = (record: ReadRecord) => [isToChildren ? record.id : record[field]].flat().filter(isId);
  const ids = [...new Set(records.flatMap(idsOf))];
  // No query finds lists that have one of several values: those that are there are all looked at.
  const isByList = isToChildren && isMultiple && ids.length > 0;
  let found: readonly ReadRecord[] = [];
  // At least once, so that a query that cannot run is refused whatever the records are.
  for (let from = 0; from === 0 || (from < ids.length && !isByList); from += MOST_IDS) {
    const own = isByList ? { [field]: { $null: false } } : { [isToChildren ? field : 'id']: { $in: ids.slice(from, from + MOST_IDS) } };
    const where = query.where ? { $and: [own, query.where] } : own;
    found = found.concat(find(object, JSON.stringify({ where, orderBy: query.orderBy })));
  }
  const rows = shape.rows(found, find);
  const byId = new Map<unknown, ReadRecord[]>();
  found.forEach((record, at) => {
    for (const id of new Set([isToChildren ? record[field] : record.id].flat())) {
      const group = byId.get(id);
      if (group) group.push(rows[at] as ReadRecord);
      else byId.set(id, [rows[at] as ReadRecord]);
    }
  });
  return records.map((record) => {
    const related = idsOf(record).flatMap((id) => byId.get(id) ?? []);
    if (isToChildren || isMultiple || Array.isArray(record[field])) return Object.freeze(related.slice(0, query.limit));
    return related[0] ?? null;
  });
}

/** The relations of an object by key; null where several have the same one. */
function relationsOf(object: string, definitions: Definitions): ReadonlyMap<string, Relation | null> {
  const own = new Map<string, Relation>();
  const children = new Map<string, Relation | null>();
  for (const { name, fields } of definitions.values()) {
    for (const [field, { type, reference_to: target, multiple: isMultiple = false }] of Object.entries(fields ?? {})) {
      if ((type !== 'lookup' && type !== 'master_detail') || target === undefined) continue;
      if (name === object) own.set(field, { object: target, field, isMultiple, isToChildren: false });
      if (target !== object) continue;
      const relation = { object: name, field, isMultiple, isToChildren: true };
      children.set(name, children.has(name) ? null : relation).set(`${name}.${field}`, relation);
    }
  }
  if (!definitions.has(object)) throw errorWithCode('UNKNOWN_OBJECT', `there is no object ${JSON.stringify(object)}: list its definition in \`objects\` when opening the database`);
  return new Map([...children, ...own]);
}

function unknownKey(object: string, key: string, relations: ReadonlyMap<string, Relation | null>): string {
  const keys = [...relations].filter(([, relation]) => relation).map(([name]) => name);
  const problem = relations.has(key) ? 'which several lookups lead to' : `but no lookup leads there from ${object}`;
  return `expand has ${JSON.stringify(key)}, ${problem}: use one of ${keys.join(', ')}`;
}

function readQuery(key: string, { json }: EncodedQuery, { object, isToChildren }: Relation): Expansion['query'] {
  const { object: name = object, ...query } = JSON.parse(json) as Expansion['query'] & { object?: unknown };
  const parts = isToChildren ? ['where', 'orderBy', 'limit'] : ['where'];
  const { limit = 0 } = query;
  if (name === object && Object.keys(query).every((part) => parts.includes(part)) && Number.isSafeInteger(limit) && limit >= 0) return query;
  throw wrong(`expand.${key} is for ${object}, and takes fields, expand, ${parts.join(', ')}`);
}

function isId(value: unknown): value is RecordId {
  return typeof value === 'string' || typeof value === 'number';
}

function isSame(one: unknown, other: unknown): boolean {
  if (!Array.isArray(one) || !Array.isArray(other)) return one === other;
  return one.length === other.length && one.every((item, at) => item === other[at]);
}

function wrong(message: string): QueryError {
  return new QueryError('INVALID_QUERY', message);
}
