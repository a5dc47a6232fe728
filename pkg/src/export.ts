import { type Driver, whenLoaded, withAnswer } from './driver.js';
import { errorWithCode, type ObjectqlError, toObjectqlError } from './errors.js';
import type { ImportSource, JsonValue } from './types.js';

const FORMAT = 'objectql-offline';
const VERSION = 1;

/** The first line of a file. */
interface Head {
  readonly format: string;
  readonly version: number;
}

/** The lines between: a portion of the records of one object. */
export interface Portion {
  readonly object: string;
  readonly records: readonly { readonly [field: string]: JsonValue }[];
}

/** A portion as it was read: the driver reads the text again, because it refuses what JavaScript would change. */
export interface Line {
  readonly object: string;
  readonly ids: readonly unknown[];
  readonly text: string;
}

/** The last line: without it the file was cut. */
interface Tail {
  readonly records: number;
}

/** Writes a database as lines of JSON: what it is, portions of records, how many they were. */
export function exportLines(driver: Driver, name: string): ReadableStream<Uint8Array<ArrayBuffer>> {
  const encoder = new TextEncoder();
  let number: number | undefined;
  let isCancelled = false;
  const end = () => withAnswer(driver.ask('endExport', '', '', '', number), () => undefined);
  const begin = (): void | Promise<void> => {
    if (isCancelled) return;
    try {
      return withAnswer(driver.ask('beginExport', '', '', ''), (answer) => {
        number = Number(answer);
        return isCancelled ? end() : undefined;
      });
    } catch (thrown) {
      const loading = whenLoaded(driver, thrown);
      if (loading === undefined) throw toObjectqlError(thrown);
      return loading.then(begin, (failure: unknown) => {
        throw toObjectqlError(failure);
      });
    }
  };
  const beginning = begin();
  const head = { format: FORMAT, version: VERSION, name, exportedAt: new Date().toISOString() };
  let records = 0;
  return new ReadableStream({
    async start(controller) {
      await beginning;
      controller.enqueue(encoder.encode(`${JSON.stringify(head)}\n`));
    },
    pull(controller) {
      return withAnswer(asked(() => driver.ask('nextExport', '', '', '', number)), (line) => {
        const portion = JSON.parse(line) as Portion | null;
        records += portion?.records.length ?? 0;
        controller.enqueue(encoder.encode(`${portion ? line : JSON.stringify({ records } satisfies Tail)}\n`));
        if (!portion) controller.close();
      });
    },
    cancel() {
      isCancelled = true;
      return number === undefined ? undefined : end();
    },
  });
}

/**
 * Reads what {@link exportLines} wrote, whole.
 *
 * # Errors
 * `INVALID_FILE`, also where the end is missing.
 */
export async function readLines(source: ImportSource): Promise<Line[]> {
  const file = await new Response(source instanceof Response ? source.body : source).text();
  const texts = file.trimEnd().split('\n');
  const lines = texts.map((line, at) => readLine(line, at + 1));
  const { format, version } = lines.shift() as Partial<Head>;
  if (format !== FORMAT) throw wrong('it is not an export of a database');
  if (version !== VERSION) throw wrong(`it has the format ${version}: import it with a newer version of the package`);
  const { records } = (lines.pop() ?? {}) as Partial<Tail>;
  const portions = lines as unknown as Portion[];
  if (!portions.every(({ object, records }) => typeof object === 'string' && Array.isArray(records))) throw wrong('a line is none');
  const count = portions.reduce((sum, { records }) => sum + records.length, 0);
  if (records !== count) throw wrong(`it was cut: ${typeof records === 'number' ? `${count} of ${records} records are there` : 'its end is missing'}`);
  return portions.map(({ object, records }, at) => ({ object, ids: records.map((record) => record?.['id']), text: texts[at + 1] as string }));
}

function asked<R>(ask: () => R): R {
  try {
    return ask();
  } catch (thrown) {
    throw toObjectqlError(thrown);
  }
}

function readLine(line: string, number: number): object {
  try {
    const value = JSON.parse(line) as unknown;
    if (typeof value === 'object' && value !== null) return value;
  } catch {
    // Said below.
  }
  throw wrong(`line ${number} is no JSON object`);
}

function wrong(what: string): ObjectqlError {
  return errorWithCode('INVALID_FILE', `the file cannot be imported: ${what}; nothing was written`);
}
