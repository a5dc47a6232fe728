import { filterInNewerForm } from '../older-forms.js';
import { FilterError } from './failures.js';
import { dayAfter, inStoredForm, type TemporalKind } from './temporal.js';

/** What an object's fields are compared as. */
export type Kinds = ReadonlyMap<string, TemporalKind>;

type Operators = { [operator: string]: unknown };

const COMPARISONS = ['$eq', '$ne', '$gt', '$gte', '$lt', '$lte'];
const LISTS = ['$in', '$nin'];
const TEXTS = ['$contains', '$notContains', '$startsWith', '$endsWith', '$icontains'];
const PATTERNS = ['$like', '$ilike'];
const OPERATORS = [...COMPARISONS, ...LISTS, '$between', ...TEXTS, ...PATTERNS, '$null', '$exists'];

/**
 * Turns an engine's filter into one of this package: times into the form in which they are stored, `$lte` of a day into all of that day,
 * `$exists` into having a value, patterns into the operators that say the same, and ids that look like numbers into both.
 *
 * # Errors
 * `INVALID_FILTER` for what is not understood, which would otherwise match other records than it was to.
 */
export function filterOf(where: unknown, kinds: Kinds): object | undefined {
  if (where === undefined || where === null) return undefined;
  let filter: unknown;
  try {
    filter = filterInNewerForm(where);
  } catch (cause) {
    throw new FilterError((cause as Error).message, { cause });
  }
  return filter === undefined ? undefined : conditionOf(filter, kinds, 'where');
}

/** Whether an id is one of a string and one of a number at once, to somebody who has strings only; and the number. */
export function numberOf(id: unknown): number | undefined {
  const number = typeof id === 'number' ? id : typeof id === 'string' && /^(0|-?[1-9]\d*)$/.test(id) ? Number(id) : NaN;
  return Number.isSafeInteger(number) ? number : undefined;
}

function conditionOf(filter: unknown, kinds: Kinds, path: string): object {
  if (!isPlain(filter)) throw new FilterError(`${path} must be an object of fields, $and, $or and $not, not ${shown(filter)}`);
  const condition: { [key: string]: unknown } = {};
  const more: object[] = [];
  for (const [key, value] of Object.entries(filter)) {
    const here = `${path}.${key}`;
    if (key === '$not') condition[key] = conditionOf(value, kinds, here);
    else if (key === '$and' || key === '$or') {
      if (!Array.isArray(value)) throw new FilterError(`${here} must be an array of filters, not ${shown(value)}`);
      condition[key] = value.map((inner, at) => conditionOf(inner, kinds, `${here}[${at}]`));
    } else if (key.startsWith('$')) throw new FilterError(`${here}: filters are combined with $and, $or and $not only`);
    else {
      const [operators, ...others] = constraintOf(key, value, kinds.get(key), here);
      define(condition, key, operators);
      more.push(...others.map((other) => define({}, key, other)));
    }
  }
  return more.length > 0 ? { $and: [condition, ...more] } : condition;
}

/** What must hold of a field: operators, and others that have the name of one of these. */
function constraintOf(field: string, value: unknown, kind: TemporalKind | undefined, path: string): Operators[] {
  if (!isPlain(value)) return [operatorsOf('$eq', value, field, kind, path)];
  const names = Object.keys(value);
  if (names.length === 0) throw new FilterError(`${path} has no operator: it would match every record, or none`);
  // An object that is a value.
  if (!names.some((name) => name.startsWith('$'))) return [{ $eq: value }];
  const unknown = names.filter((name) => !OPERATORS.includes(name));
  if (unknown.length > 0) {
    const isExpression = unknown.some((name) => name === '$regex' || name === '$options');
    const others = isExpression ? '$icontains, $contains or $startsWith' : OPERATORS.join(' ');
    throw new FilterError(`${path} has ${unknown.join(' and ')}, which is no operator: use ${others}`);
  }
  const all: Operators = {};
  const others: Operators[] = [];
  for (const name of names) {
    const operators = operatorsOf(name, value[name], field, kind, `${path}.${name}`);
    // As `$lt` and `$lte` of a day do.
    if (Object.keys(operators).some((name) => Object.hasOwn(all, name))) others.push(operators);
    else Object.assign(all, operators);
  }
  return [all, ...others];
}

function operatorsOf(name: string, value: unknown, field: string, kind: TemporalKind | undefined, path: string): Operators {
  if (TEXTS.includes(name)) return { [name]: textOf(value, path, name === '$icontains') };
  if (PATTERNS.includes(name)) return patternOf(textOf(value, path, false), name === '$ilike', path);
  const stored = comparandOf(value, kind, path);
  switch (name) {
    case '$null':
    case '$exists':
      if (typeof value !== 'boolean') throw new FilterError(`${path} must be true or false, not ${shown(value)}`);
      // To an engine, a field exists when it has a value.
      return { $null: value === (name === '$null') };
    case '$lte':
      return atMost(stored, value, kind);
    case '$between': {
      if (!Array.isArray(stored) || stored.length !== 2) {
        throw new FilterError(`${path} must be the lowest and the highest value, not ${shown(value)}`);
      }
      return { $gte: stored[0] as unknown, ...atMost(stored[1], (value as unknown[])[1], kind) };
    }
    case '$in':
    case '$nin':
      if (!Array.isArray(stored)) throw new FilterError(`${path} must be an array, not ${shown(value)}`);
      return { [name]: field === 'id' ? stored.flatMap(idsOf) : stored };
    case '$eq':
    case '$ne': {
      const ids = field === 'id' ? idsOf(stored) : [];
      return ids.length > 1 ? { [name === '$eq' ? '$in' : '$nin']: ids } : { [name]: stored };
    }
    default:
      return { [name]: stored };
  }
}

/** Up to a moment; or to the end of a day, where one is named and the field holds moments. */
function atMost(stored: unknown, value: unknown, kind: TemporalKind | undefined): Operators {
  const next = kind === 'datetime' ? dayAfter(value) : undefined;
  return next === undefined ? { $lte: stored } : { $lt: inStoredForm(next, kind) };
}

function comparandOf(value: unknown, kind: TemporalKind | undefined, path: string): unknown {
  if (Array.isArray(value)) return value.map((item, at) => comparandOf(item, kind, `${path}[${at}]`));
  if (value === undefined) throw new FilterError(`${path} is undefined: leave it out, or say null`);
  if (typeof value === 'bigint') {
    if (Number.isSafeInteger(Number(value))) return Number(value);
    throw new FilterError(`${path} is ${value}, which no number holds exactly`);
  }
  if (isPlain(value) && Object.hasOwn(value, '$field')) {
    if (Object.keys(value).length === 1 && typeof value.$field === 'string') return value;
    throw new FilterError(`${path} must be the name of another field only, as { $field: 'due' }: nothing is added to its value`);
  }
  return inStoredForm(value, kind);
}

function textOf(value: unknown, path: string, mustHaveSome: boolean): string {
  if (typeof value === 'string' && (value !== '' || !mustHaveSome)) return value;
  throw new FilterError(`${path} must be text${mustHaveSome ? ' that is not empty' : ''}, not ${value === '' ? 'empty' : shown(value)}`);
}

/** A pattern with `%` at its ends only, as the operator that says the same. */
function patternOf(pattern: string, isFolded: boolean, path: string): Operators {
  const [, start = '', text = '', end = ''] = /^(%*)((?:[^%_\\]|\\[^])*?)(%*)$/.exec(pattern) ?? [];
  if (start + text + end !== pattern) {
    throw new FilterError(`${path}: of patterns, only text with or without % before and after it can be looked for, not ${JSON.stringify(pattern)}`);
  }
  const literal = text.replace(/\\([^])/g, '$1');
  if (isFolded) {
    if (start && end && literal) return { $icontains: literal };
    throw new FilterError(`${path}: without regard to case, only '%text%' can be looked for, not ${JSON.stringify(pattern)}`);
  }
  if (start && (end || !literal)) return { $contains: literal };
  if (start) return { $endsWith: literal };
  return end ? { $startsWith: literal } : { $eq: literal };
}

function idsOf(id: unknown): unknown[] {
  const number = numberOf(id);
  return number === undefined ? [id] : [String(number), number];
}

/** Whether it is an object that is nothing but its fields. */
export function isPlain(value: unknown): value is { [key: string]: unknown } {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** Not by assignment: a field may be called `__proto__`. */
function define(condition: object, key: string, value: unknown): object {
  return Object.defineProperty(condition, key, { value, enumerable: true, writable: true, configurable: true });
}

/** What kind of thing it is, never what it holds. */
function shown(value: unknown): string {
  if (value === null || value === undefined) return String(value);
  return Array.isArray(value) ? 'an array' : `a ${typeof value}`;
}
