/** What a field holds, where that is a time. */
export type TemporalKind = 'date' | 'datetime' | 'time';

/**
 * Writes a time in the one form in which it is stored and compared: a `datetime` as an ISO 8601 instant in UTC with milliseconds, a `date`
 * as `2026-11-26`, a `time` as `14:30:00` or `14:30:00.500`. What cannot be understood as one stays as it is.
 */
export function inStoredForm(value: unknown, kind: TemporalKind | undefined): unknown {
  if (kind === undefined || value === null || value === undefined) return value;
  if (Array.isArray(value)) return value.map((item) => inStoredForm(item, kind));
  if (kind === 'datetime') return instantOf(value) ?? value;
  return (kind === 'date' ? dayOf(value) : timeOf(value)) ?? value;
}

/** The day after one that is written as `2026-11-26`; undefined for anything else. */
export function dayAfter(value: unknown): string | undefined {
  if (typeof value !== 'string' || !/^\d{4}-\d{2}-\d{2}$/.test(value.trim())) return undefined;
  const midnight = Date.parse(`${value.trim()}T00:00:00.000Z`);
  return Number.isNaN(midnight) ? undefined : isoOf(midnight + 24 * 60 * 60 * 1000)?.slice(0, 10);
}

function instantOf(value: unknown): string | undefined {
  if (value instanceof Date) return isoOf(value.getTime());
  if (typeof value === 'number') return isoOf(value);
  if (typeof value !== 'string') return undefined;
  const text = value.trim();
  if (/^-?\d+$/.test(text)) return isoOf(Number(text));
  // Without a zone it would be the time of wherever the code runs.
  const [, day, time] = /^(\d{4}-\d{2}-\d{2})(?:[ T](\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?))?$/.exec(text) ?? [];
  return isoOf(Date.parse(day === undefined ? text : `${day}T${time ?? '00:00'}Z`));
}

function dayOf(value: unknown): string | undefined {
  if (value instanceof Date) return isoOf(value.getTime())?.slice(0, 10);
  return typeof value === 'string' ? /^\d{4}-\d{2}-\d{2}/.exec(value.trim())?.[0] : undefined;
}

function timeOf(value: unknown): string | undefined {
  const clock = typeof value === 'string' ? /^(\d{2}:\d{2})(?::(\d{2})(?:\.(\d+))?)?$/.exec(value.trim()) : null;
  const text = clock ? `${clock[1]}:${clock[2] ?? '00'}.${(clock[3] ?? '').padEnd(3, '0').slice(0, 3)}` : instantOf(value)?.slice(11, 23);
  if (text === undefined || !/^([01]\d|2[0-3]):[0-5]\d:[0-5]\d\.\d{3}$/.test(text)) return undefined;
  return text.replace('.000', '');
}

/** ISO 8601 as it sorts: a year of more than four digits does not. */
function isoOf(ms: number): string | undefined {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}
