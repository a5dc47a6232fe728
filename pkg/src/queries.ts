// What an app asks for, as the driver takes it.
import { QueryError } from './errors.js';
import { filterInNewerForm, inNewerForm } from './older-forms.js';
import { describe, encodeValue, type Fields } from './values.js';

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
  const texts = members.map(([name, value]) => `${JSON.stringify(name)}:${encodeValue(value, name, FILTERS.includes(name))}`);
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
  return encodeValue(filterInNewerForm(where) ?? {}, 'where', true);
}

/** Turns a filter into JSON text, which must be there: a forgotten one would have all records changed. */
export function encodeGivenWhere(where: unknown): string {
  if (where === undefined || where === null) throw new QueryError('INVALID_QUERY', 'say which records: {} for all of them');
  return encodeWhere(where);
}
