import { errorWithCode } from '../errors.js';
import type { FieldDefinition, ObjectDefinition } from '../types.js';
import type { FieldSchema, ObjectSchema } from './contract.js';
import type { TemporalKind } from './temporal.js';

/** The engine's field types that have another name here, or are kept as something near. */
const TYPES: { readonly [type: string]: string } = {
  secret: 'password',
  richtext: 'html',
  toggle: 'boolean',
  radio: 'select',
  multiselect: 'tags',
  checkboxes: 'tags',
  tree: 'lookup',
  user: 'lookup',
  video: 'file',
  audio: 'file',
  autonumber: 'auto_number',
  composite: 'object',
  record: 'object',
  address: 'object',
  repeater: 'array',
  signature: 'text',
  qrcode: 'text',
  slider: 'number',
  progress: 'number',
};

/** Those that are the same. */
const SAME =
  'text textarea markdown html code number integer currency percent boolean date datetime time select lookup master_detail email phone url ' +
  'password object json array location formula summary auto_number image file avatar color rating vector grid tags';

/** The driver's own fields, which no definition lists. */
const OWN = ['id', 'created_at', 'updated_at'];

/** Turns an engine's definition of an object into one of this package. Errors: `INVALID_NAME`. */
export function definitionOf(object: string, schema: ObjectSchema): ObjectDefinition {
  if (!/^[A-Za-z_]\w*$/.test(object)) {
    throw errorWithCode('INVALID_NAME', `the object ${JSON.stringify(object)} cannot be kept: a name has letters, digits and _ only`);
  }
  const fields: { [name: string]: FieldDefinition } = {};
  for (const [name, field] of Object.entries(schema.fields ?? {})) if (!OWN.includes(name)) fields[name] = fieldOf(object, field);
  const indexes: NonNullable<ObjectDefinition['indexes']> = {};
  for (const { name, fields: listed = [], unique } of schema.indexes ?? []) {
    const names = listed.filter((name) => typeof name === 'string' && name !== '') as string[];
    if (names.length === 0) continue;
    // An index over a field that is not defined is refused here, and would be no loss in an engine.
    for (const field of names) if (!OWN.includes(field)) fields[field] ??= { type: 'json' };
    indexes[name ?? names.join('_')] = { fields: names, unique: isUnique(unique) };
  }
  return { name: object, fields, indexes };
}

/** Puts what an app says of an object over what an engine does. */
export function merged(engine: ObjectDefinition | undefined, app: ObjectDefinition | undefined): ObjectDefinition {
  const { fields, indexes, ...rest } = app ?? ({} as ObjectDefinition);
  return { ...(engine as ObjectDefinition), ...rest, fields: { ...engine?.fields, ...fields }, indexes: { ...engine?.indexes, ...indexes } };
}

/** The fields of an object that hold times. */
export function temporalFieldsOf({ fields = {} }: ObjectDefinition): ReadonlyMap<string, TemporalKind> {
  const found = new Map<string, TemporalKind>([['created_at', 'datetime'], ['updated_at', 'datetime']]);
  for (const [name, { type }] of Object.entries(fields)) {
    if (type === 'date' || type === 'datetime' || type === 'time') found.set(name, type);
  }
  return found;
}

function fieldOf(object: string, { type = 'text', required, unique, multiple, options = [], reference, reference_to }: FieldSchema): FieldDefinition {
  const common = { required: required === true, unique: isUnique(unique), multiple: multiple === true };
  const near = TYPES[type] ?? (SAME.split(' ').includes(type) ? type : 'json');
  if (near === 'select') {
    const values = options.map(valueOf).filter((value) => value !== undefined);
    // One that may have several values is checked by the server as one that has one.
    if (multiple === true) return { ...common, type: 'tags' };
    return values.length > 0 ? { ...common, type: 'select', options: values } : { ...common, type: 'text' };
  }
  if (near === 'lookup' || near === 'master_detail') {
    const target = reference ?? reference_to ?? (type === 'user' ? 'sys_user' : type === 'tree' ? object : undefined);
    return typeof target === 'string' ? { ...common, type: near, reference_to: target } : { ...common, type: 'text' };
  }
  return { ...common, type: near };
}

function valueOf(option: unknown): string | undefined {
  const value = typeof option === 'object' && option !== null ? (option as { value?: unknown }).value : option;
  return typeof value === 'string' ? value : undefined;
}

/** `true`, or a scope: a database belongs to one tenant, so that all scopes are the same. */
function isUnique(unique: unknown): boolean {
  return unique === true || (typeof unique === 'string' && unique !== '');
}
