import type { FieldDefinition, JsonValue, ObjectDefinition, SyncConfig } from 'objectql-offline';
import { isAlias, isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';

/** An object as it was read, without what is a default. */
export interface ReadObject extends ObjectDefinition {
  file: string;
  fields: { [name: string]: FieldDefinition };
}

/** The field types of ObjectQL; `protocol/src/object.rs` has the same list, and a test compares them. */
export const FIELD_TYPES = [
  'text', 'textarea', 'markdown', 'html', 'code', 'number', 'integer', 'currency', 'percent', 'boolean', 'date', 'datetime', 'time',
  'select', 'lookup', 'master_detail', 'email', 'phone', 'url', 'password', 'object', 'json', 'array', 'location', 'formula', 'summary',
  'auto_number', 'image', 'file', 'avatar', 'color', 'rating', 'vector', 'grid', 'tags',
] as const;
export type FieldType = (typeof FIELD_TYPES)[number];

/** The fields that every record has without being listed. */
export const DRIVER_FIELDS: readonly string[] = ['id', 'created_at', 'updated_at'];

const STRATEGIES = ['last-write-wins', 'crdt', 'manual'] as const;
const DIRECTIONS = ['bidirectional', 'push-only', 'pull-only'] as const;
const MAX_NAME_BYTES = 128;
const MAX_DEBOUNCE_MS = 3_600_000;
const MAX_BATCH_SIZE = 10_000;

/** Reads one `*.object.yml` file by the rules of `protocol/src/object.rs`; every problem comes as `file:line:column: what`. */
export function readObject(file: string, text: string, nameOfFile: string): { object?: ReadObject; problems: string[] } {
  const reader = new Reader(file, text);
  const object = reader.problems.length === 0 ? reader.object(nameOfFile) : undefined;
  return { ...(reader.problems.length === 0 && object && { object }), problems: reader.problems };
}

type Value = Node | null | undefined;
type Entries = Map<string, { key: Node; value: Value }>;

class Reader {
  readonly problems: string[] = [];
  readonly #file: string;
  readonly #lines = new LineCounter();
  readonly #document;

  constructor(file: string, text: string) {
    this.#file = file;
    this.#document = parseDocument(text, { lineCounter: this.#lines, prettyErrors: false });
    for (const { message, pos } of this.#document.errors) this.#problem(pos[0], message);
  }

  object(nameOfFile: string): ReadObject {
    const top: Entries = this.#mapping(this.#document.contents, undefined, 'the definition') ?? new Map();
    const name = this.#text(top.get('name')?.value, 'name') ?? nameOfFile;
    this.#checkName(name, top.get('name')?.value, 'name');
    const label = this.#text(top.get('label')?.value, 'label');
    const fields = this.#fields(top.get('fields'));
    const names = [...DRIVER_FIELDS, ...Object.keys(fields)];
    const indexes = this.#indexes(top.get('indexes'), names);
    const sync = this.#sync(top.get('sync'), names);
    return { file: this.#file, name, ...(label && { label }), fields, ...(indexes && { indexes }), ...(sync && { sync }) };
  }

  #fields(entry: Entry): ReadObject['fields'] {
    const fields = Object.create(null) as ReadObject['fields'];
    for (const [name, { key, value }] of this.#mappingIn(entry, 'fields')) {
      const at = `field ${name}`;
      if (name === '' || Buffer.byteLength(name) > MAX_NAME_BYTES) this.#wrong(key, `${at}: its name must have 1 to ${MAX_NAME_BYTES} bytes`);
      fields[name] = this.#field(at, key, value);
    }
    return fields;
  }

  #field(at: string, key: Node, value: Value): FieldDefinition {
    const entries = this.#mapping(value, key, at);
    if (entries === undefined) return { type: '' };
    const type = this.#text(entries.get('type')?.value, `${at}: type`);
    const options = this.#options(entries.get('options'), at);
    const target = this.#text(entries.get('reference_to')?.value, `${at}: reference_to`);
    if (target !== undefined) this.#checkName(target, entries.get('reference_to')?.value, `${at}: reference_to`);
    if (type === undefined) this.#wrong(key, `${at}: needs a type`);
    else if (!isOneOf(FIELD_TYPES, type)) this.#wrong(entries.get('type')?.value ?? key, `${at}: unknown type ${JSON.stringify(type)}`);
    if (type === 'select' && !options?.length) this.#wrong(key, `${at}: a select needs options`);
    if ((type === 'lookup' || type === 'master_detail') && target === undefined) this.#wrong(key, `${at}: a ${type} needs reference_to`);
    const label = this.#text(entries.get('label')?.value, `${at}: label`);
    const defaultValue = this.#value(entries.get('defaultValue')?.value, `${at}: defaultValue`);
    return {
      type: type ?? '',
      ...(label && { label }),
      ...(this.#flag(entries.get('required')?.value, `${at}: required`) && { required: true }),
      ...(this.#flag(entries.get('unique')?.value, `${at}: unique`) && { unique: true }),
      ...(this.#flag(entries.get('multiple')?.value, `${at}: multiple`) && { multiple: true }),
      ...(options?.length && { options }),
      ...(target && { reference_to: target }),
      ...(defaultValue !== undefined && { defaultValue }),
    };
  }

  /** Any value that JSON can hold; undefined where there is none, or null. */
  #value(value: Value, at: string): JsonValue | undefined {
    const plain: unknown = this.#resolved(value)?.toJS(this.#document);
    if (plain === undefined || plain === null) return undefined;
    try {
      const text = JSON.stringify(plain, (_name, inner: unknown) => {
        if (typeof inner === 'bigint' || (typeof inner === 'number' && !Number.isFinite(inner))) throw new TypeError();
        return inner;
      });
      return JSON.parse(text) as JsonValue;
    } catch {
      this.#wrong(value, `${at} must be a value that JSON can hold`);
      return undefined;
    }
  }

  #options(entry: Entry, at: string): FieldDefinition['options'] {
    return this.#items(entry, `${at}: options`)?.map((item) => {
      const node = this.#resolved(item);
      if (!isMap(node)) return this.#text(item, `${at}: an option`) ?? '';
      const entries = this.#mapping(node, undefined, `${at}: an option`);
      const value = this.#text(entries?.get('value')?.value, `${at}: an option's value`);
      if (value === undefined) this.#wrong(node, `${at}: an option needs a value`);
      const label = this.#text(entries?.get('label')?.value, `${at}: an option's label`);
      return label === undefined ? (value ?? '') : { value: value ?? '', label };
    });
  }

  #indexes(entry: Entry, known: readonly string[]): ObjectDefinition['indexes'] {
    const indexes = Object.create(null) as NonNullable<ObjectDefinition['indexes']>;
    for (const [name, { key, value }] of this.#mappingIn(entry, 'indexes')) {
      const entries = this.#mapping(value, key, `index ${name}`);
      if (entries === undefined) continue;
      const fields = this.#fieldNames(entries.get('fields'), `index ${name}`, known);
      if (fields?.length === 0) this.#wrong(key, `index ${name}: needs fields`);
      const isUnique = this.#flag(entries.get('unique')?.value, `index ${name}: unique`);
      indexes[name] = { fields: fields ?? [], ...(isUnique && { unique: true }) };
    }
    return Object.keys(indexes).length > 0 ? indexes : undefined;
  }

  #sync(entry: Entry, known: readonly string[]): SyncConfig | undefined {
    const entries = this.#mappingIn(entry, 'sync');
    const strategy = this.#choice(entries.get('strategy')?.value, 'sync.strategy', STRATEGIES);
    const direction = this.#choice(entries.get('direction')?.value, 'sync.direction', DIRECTIONS);
    const conflictFields = this.#fieldNames(entries.get('conflict_fields'), 'sync.conflict_fields', known);
    const debounceMs = this.#integer(entries.get('debounce_ms')?.value, 'sync.debounce_ms', 0, MAX_DEBOUNCE_MS);
    const batchSize = this.#integer(entries.get('batch_size')?.value, 'sync.batch_size', 1, MAX_BATCH_SIZE);
    const sync: SyncConfig = {
      ...(this.#flag(entries.get('enabled')?.value, 'sync.enabled') && { enabled: true }),
      ...(strategy && strategy !== 'last-write-wins' && { strategy }),
      ...(conflictFields?.length && { conflict_fields: conflictFields }),
      ...(direction && direction !== 'bidirectional' && { direction }),
      ...(debounceMs !== undefined && debounceMs !== 1000 && { debounce_ms: debounceMs }),
      ...(batchSize !== undefined && batchSize !== 50 && { batch_size: batchSize }),
    };
    return Object.keys(sync).length > 0 ? sync : undefined;
  }

  /** The names in a list of fields, which may be left out; undefined where it is no list. */
  #fieldNames(entry: Entry, at: string, known: readonly string[]): string[] | undefined {
    if (entry === undefined) return [];
    return this.#items(entry, at)?.map((item) => {
      const name = this.#text(item, at) ?? '';
      if (name !== '' && !known.includes(name)) this.#wrong(item, `${at}: there is no field ${JSON.stringify(name)}`);
      return name;
    });
  }

  #mappingIn(entry: Entry, at: string): Entries {
    return (entry && this.#mapping(entry.value, entry.key, at)) ?? new Map();
  }

  /** The entries of a mapping; none where it is something else, which is told at the value or, without one, at its key. */
  #mapping(value: Value, key: Value, at: string): Entries | undefined {
    const node = this.#resolved(value);
    if (!isMap(node)) {
      this.#wrong(value ?? key, `${at} must be a mapping`);
      return undefined;
    }
    const entries: Entries = new Map();
    for (const item of node.items as NonNullable<Entry>[]) {
      if (isScalar(item.key)) entries.set(item.key.source ?? String(item.key.value), item);
      else this.#wrong(item.key, `${at}: a name must be text`);
    }
    return entries;
  }

  #items(entry: Entry, at: string): Node[] | undefined {
    if (entry === undefined) return undefined;
    const node = this.#resolved(entry.value);
    if (isSeq(node)) return node.items as Node[];
    this.#wrong(entry.value ?? entry.key, `${at} must be a list`);
    return undefined;
  }

  #text(value: Value, at: string): string | undefined {
    const plain = this.#scalar(value, at);
    if (plain === undefined || plain === null || typeof plain === 'string') return plain ?? undefined;
    this.#wrong(value, `${at} must be text: put ${String(plain)} in quotes`);
    return undefined;
  }

  #checkName(text: string, value: Value, at: string): void {
    if (/^[A-Za-z_]\w*$/.test(text) && text.length <= MAX_NAME_BYTES) return;
    this.#wrong(value, `${at}: ${JSON.stringify(text.slice(0, 40))} must be a letter or _ followed by letters, digits or _, ${MAX_NAME_BYTES} at most`);
  }

  #flag(value: Value, at: string): boolean {
    const plain = this.#scalar(value, at);
    if (plain === undefined || typeof plain === 'boolean') return plain ?? false;
    this.#wrong(value, `${at} must be true or false`);
    return false;
  }

  #integer(value: Value, at: string, least: number, most: number): number | undefined {
    const plain = this.#scalar(value, at);
    if (plain === undefined) return undefined;
    if (typeof plain === 'number' && Number.isInteger(plain) && plain >= least && plain <= most) return plain;
    this.#wrong(value, `${at} must be a whole number from ${least} to ${most}`);
    return undefined;
  }

  #choice<Choice extends string>(value: Value, at: string, choices: readonly Choice[]): Choice | undefined {
    const plain = this.#scalar(value, at);
    if (plain === undefined) return undefined;
    if (typeof plain === 'string' && isOneOf(choices, plain)) return plain;
    this.#wrong(value, `${at} must be one of ${choices.join(', ')}`);
    return undefined;
  }

  /** The value of a scalar; undefined where there is no node. */
  #scalar(value: Value, at: string): unknown {
    const node = this.#resolved(value);
    if (node === undefined || node === null) return undefined;
    if (isScalar(node)) return node.value;
    this.#wrong(value, `${at} must be a single value`);
    return undefined;
  }

  #resolved(value: Value): Value {
    return isAlias(value) ? value.resolve(this.#document) : value;
  }

  #wrong(at: Value, message: string): void {
    this.#problem(at?.range?.[0] ?? 0, message);
  }

  #problem(offset: number, message: string): void {
    const { line, col } = this.#lines.linePos(offset);
    this.problems.push(`${this.#file}:${Math.max(line, 1)}:${Math.max(col, 1)}: ${message}`);
  }
}

type Entry = { key: Node; value: Value } | undefined;

function isOneOf<Choice extends string>(choices: readonly Choice[], text: string): text is Choice {
  return (choices as readonly string[]).includes(text);
}
