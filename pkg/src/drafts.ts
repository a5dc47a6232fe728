// Records that are to be made: read and copied when that is asked for, and given to the app once they are stored.
import type { ObjectDefinition, RecordId } from './types.js';
import { begin, checkEach, copyEach, copyRecord, type Defaults, type Fields, MAX_CALL_LENGTH, stringify, textOf, type Walk } from './values.js';

/** As much as is in a call's 16 MiB whatever it is: a UTF-16 unit takes three bytes at the most. */
const MAX_SAFE_LENGTH = Math.floor((16 << 20) / 3);

/** What the driver sets. */
export const SET_BY_DRIVER = ['id', 'created_at', 'updated_at'];

/** The objects of a database, with the defaults of their fields: those that are values, as the driver has them (`protocol/src/definition.rs`). */
export function defaultsOf(objects: readonly ObjectDefinition[]): ReadonlyMap<string, Defaults> {
  const isValue = (value: unknown) =>
    value !== undefined && value !== null && value !== 'NOW()' && value !== 'current_user' && ((value as { dialect?: unknown }).dialect ?? null) === null;
  return new Map(objects.map((object) => {
    const given = Object.entries(object?.fields ?? {}).map(([field, definition]) => [field, (definition as { defaultValue?: unknown } | null)?.defaultValue] as const);
    const defaults = given.filter(([field, value]) => isValue(value) && !SET_BY_DRIVER.includes(field));
    return [object?.name, defaults.map(([field, value]) => [field, JSON.stringify(value)] as const)];
  }));
}

/** A record that is to be made, as it was when that was asked for. */
export class RecordDraft {
  readonly #walk: Walk;
  readonly #fields: Fields;

  /** Reads the app's record. Errors: as {@link encodeRecord}, but for those of `text`. */
  constructor(record: unknown, objectName: string, defaults: Defaults) {
    this.#walk = begin(objectName, record);
    this.#fields = copyRecord(record, this.#walk, defaults);
  }

  /** Its JSON text. Errors: those of {@link encodeRecord} for text that is too long, or cannot be. */
  text(): string {
    return textOf(this.#fields, this.#walk);
  }

  /** The text of an array of records; nothing where one of them has to be looked at by itself, or it is too long for a call. */
  static texts(records: readonly RecordDraft[]): string | undefined {
    const text = stringify(records.map((record) => record.#fields));
    return text === undefined || text.length > MAX_SAFE_LENGTH || text.includes('\\u') ? undefined : text;
  }

  /** The record as it was stored. Nothing but what the driver puts in was not known before, so nothing else has to come back. */
  complete(id: RecordId, time: string): object {
    return complete(this.#fields, id, time);
  }
}

/** Records that are to be made, all or none. */
export interface NewRecords {
  /** The JSON text of an array of them. */
  readonly text: string;
  /** The records as they were stored, given what the driver says. */
  complete(answer: string): object[];
}

/** Turns records that are to be made into JSON text; errors as {@link encodeRecord}, with the place in the array. */
export function encodeNewRecords(records: unknown, objectName: string, defaults: Defaults): NewRecords {
  const walk = begin(objectName, records);
  const copies = copyEach(records, walk, (record) => copyRecord(record, walk, defaults));
  const text = textOf(copies, walk, MAX_CALL_LENGTH, () => checkEach(copies, walk));
  return {
    text,
    complete(answer) {
      let at = 0;
      forEachMade(answer, (id, time) => complete(copies[at++] as Fields, id as RecordId, time));
      return copies;
    },
  };
}

function complete(fields: Fields, id: RecordId, time: string): object {
  fields['id'] = id;
  fields['created_at'] = time;
  fields['updated_at'] = time;
  return fields;
}

/** Goes through what became of records, in their order: of each its id and its time, or why it was not made. */
export function forEachMade(answer: string, tell: (outcome: RecordId | { code: string; message: string }, time: string) => void): void {
  // Those of one time are together, behind it.
  for (const [time, ...outcomes] of JSON.parse(answer) as [string, ...Parameters<typeof tell>[0][]][]) {
    for (const outcome of outcomes) tell(outcome, time);
  }
}
