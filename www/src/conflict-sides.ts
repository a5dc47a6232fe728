import type { Conflict, JsonValue } from 'objectql-offline';
import { appFields, fieldNames, sameValue, type Values } from './fields';

/** Whose value a field gets. */
export type Side = 'base' | 'mine' | 'theirs';

/** A field on which the two versions of a record differ. */
export interface Difference {
  name: string;
  base: JsonValue | undefined;
  mine: JsonValue | undefined;
  theirs: JsonValue | undefined;
  /** Who changed it since the two parted. */
  changedBy: 'both' | 'mine' | 'theirs';
  /** The side that the server suggests, if it suggests one. */
  suggested: Side | undefined;
}

/** The fields that differ, those that both changed first: they are what the question is about. */
export function differences(conflict: Conflict): Difference[] {
  const { baseRecord, serverRecord, clientMutation, suggestedResolution } = conflict;
  const written = clientMutation.data;
  const mine: Values = clientMutation.operation === 'update' ? { ...baseRecord, ...written } : (written ?? {});
  const found = fieldNames(mine, serverRecord).filter((name) => !sameValue(mine[name], serverRecord?.[name]));
  const all = found.map((name): Difference => {
    const sides = { base: baseRecord?.[name], mine: mine[name], theirs: serverRecord?.[name] };
    const isMine = written !== undefined && Object.hasOwn(written, name);
    const changedBy = conflict.conflictingFields.includes(name) ? 'both' : isMine ? 'mine' : 'theirs';
    const suggestion = suggestedResolution?.[name];
    const suggested = suggestedResolution && (['mine', 'theirs', 'base'] as const).find((side) => sameValue(sides[side], suggestion));
    return { name, ...sides, changedBy, suggested };
  });
  return [...all.filter(({ changedBy }) => changedBy === 'both'), ...all.filter(({ changedBy }) => changedBy !== 'both')];
}

/** What is chosen of a field before anybody chose: the suggestion, else whoever changed it, else one's own value. */
export function firstChoice(difference: Difference): Side {
  return difference.suggested ?? (difference.changedBy === 'theirs' ? 'theirs' : 'mine');
}

/** The server's record with the chosen value in each field that differs. */
export function mergedRecord(conflict: Conflict, found: readonly Difference[], choices: Readonly<Record<string, Side>>): Values {
  const record = appFields(conflict.serverRecord ?? {});
  for (const difference of found) record[difference.name] = difference[choices[difference.name] ?? firstChoice(difference)] ?? null;
  return record;
}
