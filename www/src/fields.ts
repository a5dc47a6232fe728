import type { FieldDefinition, JsonValue } from 'objectql-offline';
import { story } from './generated';

/** A record's fields, or some of them. */
export type Values = Record<string, JsonValue>;

/** What the driver sets by itself: nobody has to read it or decide about it. */
const DRIVERS_OWN = new Set(['id', 'created_at', 'updated_at']);

const DEFINITIONS: Record<string, FieldDefinition> = story.fields ?? {};
const ORDER = Object.keys(DEFINITIONS);

/** The names of the app's fields among `values`, in the order of the definition, those it does not know last. */
export function fieldNames(...values: (Values | null | undefined)[]): string[] {
  const names = new Set(values.flatMap((each) => Object.keys(each ?? {})));
  const place = (name: string) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
  return [...names].filter((name) => !DRIVERS_OWN.has(name)).sort((a, b) => place(a) - place(b));
}

/** The app's fields among `values`. */
export function appFields(values: Values): Values {
  return Object.fromEntries(fieldNames(values).map((name) => [name, values[name]!]));
}

/** The names of all fields that the definition knows, in its order. */
export function definedFields(): readonly string[] {
  return ORDER;
}

export function fieldDefinition(name: string): FieldDefinition {
  return DEFINITIONS[name] ?? { type: 'text' };
}

/** What a person calls a field. */
export function fieldLabel(name: string): string {
  return DEFINITIONS[name]?.label ?? name;
}

/** The choices of a select field. */
export function fieldOptions(name: string): { value: string; label: string }[] {
  return (DEFINITIONS[name]?.options ?? []).map((option) =>
    typeof option === 'string' ? { value: option, label: option } : { value: option.value, label: option.label ?? option.value },
  );
}

/** A value as a person reads it; a dash where there is none. */
export function shownValue(name: string, value: JsonValue | undefined): string {
  if (value === undefined || value === null || value === '') return '–';
  if (typeof value === 'object') return JSON.stringify(value);
  return fieldOptions(name).find((option) => option.value === value)?.label ?? String(value);
}

/** Whether two values are equal; one that is absent and one that is null are. */
export function sameValue(a: JsonValue | undefined, b: JsonValue | undefined): boolean {
  return JSON.stringify(a ?? null) === JSON.stringify(b ?? null);
}

/** Some fields in a line, the position of a card left out where there is anything else: nobody thinks in positions. */
export function shownValues(values: Values): string {
  const names = fieldNames(values);
  const telling = names.filter((name) => name !== 'position');
  return (telling.length > 0 ? telling : names).map((name) => `${fieldLabel(name)}: ${shownValue(name, values[name])}`).join(', ');
}
