import { QueryError } from './errors.js';

/** The operators of the newer form, each with what else it is called in the older one, without spaces and underscores. */
const OPERATORS = [
  '$eq = == equals',
  '$ne != <> neq notequals',
  '$gt > greaterthan after',
  '$gte >= greaterthanorequal greaterorequal',
  '$lt < lessthan before',
  '$lte <= lessthanorequal lessorequal',
  '$in',
  '$nin notin',
  '$between',
  '$contains',
  '$icontains',
  '$notContains',
  '$startsWith',
  '$endsWith',
  '$null isnull isempty',
  // The same, but not so.
  '$null isnotnull isnotempty',
].map((line) => line.split(' '));

/** The older names of a query's parts. */
const NAMES = { filters: 'where', sort: 'orderBy', skip: 'offset' } as const;

/** How deep lists of conditions may be nested. What they become is twice as deep, and has a limit of its own. */
const MAX_DEPTH = 16;

/**
 * Gives what a query says in older forms its newer name and form: `filters`, `sort`, `skip`, and a `where` that is an array.
 *
 * # Errors
 * `INVALID_QUERY` for a part that has both names, and for what is not understood.
 */
export function inNewerForm(query: { readonly [name: string]: unknown }): { readonly [name: string]: unknown } {
  const newer = { ...query };
  for (const [older, name] of Object.entries(NAMES)) {
    const value = newer[older];
    delete newer[older];
    if (value === undefined || value === null) continue;
    if (newer[name] !== undefined && newer[name] !== null) throw wrong(`${older} is the older name of ${name}: leave one of them out`);
    newer[name] = older === 'sort' ? orderOf(value) : value;
  }
  newer.where = filterInNewerForm(newer.where);
  return newer;
}

/** Turns a filter that is an array into one that is an object; any other is left as it is. */
export function filterInNewerForm(filter: unknown): unknown {
  if (!Array.isArray(filter)) return filter;
  return filter.length === 0 ? undefined : conditionOf(filter, 0);
}

function conditionOf(condition: unknown, depth: number): unknown {
  if (typeof condition === 'object' && condition !== null && !Array.isArray(condition)) return condition;
  if (!Array.isArray(condition) || depth > MAX_DEPTH) throw wrongFilter();
  const [first] = condition as unknown[];
  return typeof first === 'string' && wordOf(first) === undefined ? comparisonOf(first, condition) : listOf(condition, depth);
}

/** A list of conditions: with a word before all of them, the same word between them, or none, which means `and`. */
function listOf(list: readonly unknown[], depth: number): unknown {
  const words = list.map(wordOf);
  const kinds = new Set(words.filter((word) => word !== undefined));
  // What "a or b and c" means is not the same to all who know this form: to one it is what SQL makes of it, to another it goes from left to right.
  if (kinds.size > 1) throw wrong("a list of a filter has 'and' as well as 'or': put what belongs together into a list of its own");
  const order = words.map((word) => (word === undefined ? 'c' : 'w')).join('');
  if (!/^(w?c+|c(wc)+)$/.test(order)) throw wrongFilter();
  const conditions = list.filter((_, at) => words[at] === undefined).map((condition) => conditionOf(condition, depth + 1));
  return conditions.length === 1 ? conditions[0] : { [kinds.has('or') ? '$or' : '$and']: conditions };
}

function comparisonOf(field: string, [, name, value, ...more]: readonly unknown[]): unknown {
  const plain = String(name).toLowerCase().replace(/[\s_]/g, '');
  const [operator] = OPERATORS.find(([newer, ...names]) => `$${plain}` === newer?.toLowerCase() || names.includes(plain)) ?? [];
  if (operator === undefined || plain === 'null') {
    const names = OPERATORS.map(([newer, older]) => older ?? newer?.slice(1)).join(' ');
    throw wrong(`a filter has no operator ${JSON.stringify(name)} (field ${field}): use one of ${names}`);
  }
  const isNull = operator === '$null';
  // Clients send a value for these, too, which is true and says nothing.
  if (more.length > 0 || (isNull ? value === false : value === undefined)) throw wrongFilter();
  return { [field]: { [operator]: isNull ? !plain.startsWith('isnot') : value } };
}

function wordOf(item: unknown): string | undefined {
  const word = typeof item === 'string' ? item.toLowerCase() : undefined;
  return word === 'and' || word === 'or' ? word : undefined;
}

/** From `'a, b desc'`, `'-a'`, `['a', ['b', 'desc']]` and `{ a: 'desc' }` to the keys of an order. */
function orderOf(sort: unknown): unknown[] {
  if (typeof sort === 'string') return sort.split(',').map(keyOfText);
  if (Array.isArray(sort)) return sort.map(keyOf);
  if (typeof sort === 'object' && sort !== null) return Object.entries(sort).map(keyOf);
  throw wrongSort();
}

function keyOf(key: unknown): unknown {
  if (typeof key === 'string') return keyOfText(key);
  // The newer form.
  if (!Array.isArray(key)) return key;
  const [field, direction = 'asc', ...more] = key as unknown[];
  const order = direction === 1 ? 'asc' : direction === -1 ? 'desc' : String(direction).toLowerCase();
  if (typeof field !== 'string' || !/^(asc|desc)$/.test(order) || more.length > 0) throw wrongSort();
  return { field, order };
}

function keyOfText(text: string): unknown {
  const [, minus, field, direction] = /^\s*(-?)(.+?)(?:\s+(asc|desc))?\s*$/i.exec(text) ?? [];
  // A list of a field and a direction would be taken for one of two fields.
  if (field === undefined || /^(asc|desc)$/i.test(field) || (minus && direction)) throw wrongSort();
  return { field, order: minus ? 'desc' : (direction?.toLowerCase() ?? 'asc') };
}

function wrongFilter(): QueryError {
  return wrong("a filter must be [field, operator, value], or a list of such with 'and' or 'or' between any two or before all of them");
}

function wrongSort(): QueryError {
  return wrong("sort must be 'a', '-a', 'a desc, b', ['a', ['b', 'desc']] or { a: 'desc' }");
}

function wrong(message: string): QueryError {
  return new QueryError('INVALID_QUERY', message);
}
