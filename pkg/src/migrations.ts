import { defaultsOf, SET_BY_DRIVER } from './drafts.js';
import { type Driver, nextTask, whenLoaded } from './driver.js';
import { errorWithCode, toObjectqlError } from './errors.js';
import type { JsonValue, Migration, MutationEntry, OpenOptions } from './types.js';
import { type Defaults, encodeRecord } from './values.js';

/** So many characters of what functions returned are handed over at a time: the driver takes 16 MiB of UTF-8. */
const MOST_LENGTH = 5 << 20;
/** So many are kept between the look at everything and the writing; what is more is computed again. */
const MOST_KEPT = 8 << 20;
/** The most bytes that the driver takes for the fields of a record, as JSON in UTF-8. A UTF-16 unit is three of them at most. */
const MOST_BYTES = 1 << 20;
const BYTES_PER_UNIT = 3;

/** After so many portions in a row that another tab made stale, tabs of the release before are stopped first: one may write without a pause. */
const MOST_STALE = 5;

type Migrations = NonNullable<OpenOptions['migrations']>;
type Data = { [field: string]: JsonValue };

/** A portion of what is to be migrated: records and mutations, each with a flag whether it is one of these. */
type Portion = [at: string, next: string | null, values: (readonly [isMutation: boolean, value: Data])[]];

/** An object whose data are to be migrated, the version that they have, and the one that they get next. */
type Lagging = [object: string, from: number, to: number];

/** What makes data of one object those of a later version. */
interface Task {
  readonly object: string;
  readonly to: number;
  readonly steps: Steps;
  /** What whole records get besides. */
  readonly defaults: Defaults;
}

/** The version of each object by its migrations: the highest one. Errors: `INVALID_OPTIONS`. */
export function readVersions({ migrations, objects }: OpenOptions): { [object: string]: number } | undefined {
  if (migrations === undefined) return undefined;
  const wrong = (what: string) => errorWithCode('INVALID_OPTIONS', what);
  if (!isPlainObject(migrations)) throw wrong('migrations must be an object of migrations by object');
  const versions = Object.entries(migrations).map(([object, steps]) => {
    const at = `migrations.${object}`;
    if (!objects.some(({ name }) => name === object)) throw wrong(`${at}: there is no such object in \`objects\``);
    if (!isPlainObject(steps)) throw wrong(`${at} must be an object of migrations by version`);
    const numbers = Object.entries(steps).map(([version, step]: [string, unknown]) => {
      if (!/^[1-9]\d{0,8}$/.test(version) || version === '1') throw wrong(`${at}: ${version} must be a whole number from 2 on: records begin with version 1`);
      if (!isPlainObject(step)) throw wrong(`${at}[${version}] must be an object with functions`);
      for (const [name, task] of Object.entries(step)) {
        if (name !== 'record' && name !== 'mutation') throw wrong(`${at}[${version}]: there is no ${name}; it may have record and mutation`);
        if (task !== undefined && typeof task !== 'function') throw wrong(`${at}[${version}].${name} must be a function`);
      }
      return Number(version);
    });
    return [object, Math.max(1, ...numbers)] as const;
  });
  const later = versions.filter(([, version]) => version > 1);
  return later.length === 0 ? undefined : Object.fromEntries(later);
}

/**
 * Brings the data of each object to the version of its definition. All functions are run before anything is written, so that one that
 * fails leaves everything as it was; an app that is killed meanwhile goes on where it was, with the next opening.
 *
 * Errors: `MIGRATION_FAILED`; those of reading and writing.
 */
export async function migrate(driver: Driver, { migrations, objects }: Pick<OpenOptions, 'migrations' | 'objects'>): Promise<void> {
  if (migrations === undefined) return;
  const defaults = defaultsOf(objects);
  const taskOf = ([object, from, to]: Lagging): Task => {
    return { object, to, steps: stepsOf(migrations[object] ?? {}, from, to), defaults: defaults.get(object) ?? [] };
  };
  for (let lagging = await laggingIn(driver); lagging.length > 0; lagging = await laggingIn(driver)) {
    const kept = new Map<string, string[]>();
    let length = 0;
    for (const object of lagging) {
      for (let at: string | null = ''; at !== null; ) {
        const portion: Portion = await read(driver, object[0], at);
        const made = run(portion, taskOf(object));
        length += lengthOf(made);
        if (length > MOST_KEPT) kept.clear();
        else kept.set(`${object[0]} ${portion[0]}`, made);
        at = portion[1];
        await nextTask();
      }
    }
    for (const object of lagging) {
      // Another tab may be at it, too, or write meanwhile: each portion is of what there is now.
      let stale = 0;
      while ((await laggingIn(driver)).some(([name, from, to]) => name === object[0] && from === object[1] && to === object[2])) {
        const portion = await read(driver, object[0], '');
        const made = stale < MOST_STALE ? (kept.get(`${object[0]} ${portion[0]}`) ?? run(portion, taskOf(object))) : [];
        stale = (await write(driver, object[0], portion[0], made)) ? 0 : stale + 1;
      }
    }
  }
}

async function laggingIn(driver: Driver): Promise<Lagging[]> {
  return JSON.parse(await driver.ask('objectsToMigrate', '', '', '')) as Lagging[];
}

/** The portion at a place, or the next one, once the object's records are in memory. */
async function read(driver: Driver, object: string, at: string): Promise<Portion> {
  for (;;) {
    try {
      return JSON.parse(await driver.ask('portionToMigrate', object, at, '')) as Portion;
    } catch (thrown) {
      const loading = whenLoaded(driver, thrown);
      if (loading === undefined) throw thrown;
      await loading;
    }
  }
}

/** Hands over what became of a portion, or as much of it as goes at a time. Whether it was taken: all was as when the portion was read. */
async function write(driver: Driver, object: string, at: string, made: readonly string[]): Promise<boolean> {
  let length = 0;
  const taken = made.filter((text) => (length += text.length) <= MOST_LENGTH);
  try {
    // As bytes: long texts cross faster so.
    return (await driver.write('migrate', object, new TextEncoder().encode(`[${taken.join()}]`), at)) as boolean;
  } catch (thrown) {
    const error = toObjectqlError(thrown);
    // What is counted here as the driver does it was looked at before: this is for the last bytes.
    throw error.code.startsWith('VALUE_TOO_') ? failed(`the object ${object}: ${error.message}`, error) : error;
  }
}

function lengthOf(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + text.length, 0);
}

type Steps = readonly (readonly [version: number, step: Migration])[];

function stepsOf(migrations: Migrations[string], from: number, to: number): Steps {
  return Object.entries(migrations)
    .map(([version, step]) => [Number(version), step] as const)
    .filter(([version]) => version > from && version <= to)
    .sort(([a], [b]) => a - b);
}

/** What becomes of each value of a portion, as JSON text. */
function run([, , values]: Portion, task: Task): string[] {
  return values.map(([isMutation, value]) => (isMutation ? runOnMutation(task, value as unknown as MutationEntry) : runOnRecord(task, value)));
}

function runOnRecord(task: Task, record: Data): string {
  const { id } = record;
  return through(task, record, ({ record: change }) => change, () => `record ${JSON.stringify(id)}`);
}

/** The data of a mutation. Those of a create are a record: a function for records does for them. */
function runOnMutation(task: Task, mutation: MutationEntry): string {
  const { id, operation, recordId, data } = mutation;
  const pick = ({ record, mutation: change }: Migration) => {
    return change ? (data: Data) => change({ ...mutation, data }) : operation === 'create' ? record : undefined;
  };
  const ofData = operation === 'create' ? task : { ...task, defaults: [] };
  return through(ofData, data ?? {}, pick, () => `the ${operation} ${id} of record ${JSON.stringify(recordId)}`);
}

/** What becomes of a value by one function after the other, as JSON text: each gets a value of its own. */
function through(task: Task, value: Data, pick: (step: Migration) => ((value: Data) => unknown) | undefined, name: () => string): string {
  const { object, steps } = task;
  // What stays as it was, whatever functions return.
  const kept = SET_BY_DRIVER.filter((field) => Object.hasOwn(value, field)).map((field) => [field, value[field]] as const);
  let text: string | undefined;
  for (const [version, step] of steps) {
    const change = pick(step);
    if (change === undefined) continue;
    try {
      const made = change(text === undefined ? value : (JSON.parse(text) as Data));
      if (typeof (made as { then?: unknown } | null | undefined)?.then === 'function') {
        // What becomes of it is of no interest any more.
        Promise.resolve(made).catch(() => undefined);
        throw new TypeError('it returned a promise: a migration must return its result at once');
      }
      text = encodeRecord(made, object);
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw failed(`the migration of ${object} to version ${version} failed on ${name()}: ${reason}`, cause);
    }
  }
  text ??= JSON.stringify(value);
  if (bytesOf(text, kept, task.defaults) > MOST_BYTES) {
    const reason = 'with the defaults of its fields it is larger than 1 MiB';
    throw failed(`the migration of ${object} to version ${task.to} failed on ${name()}: ${reason}`, errorWithCode('VALUE_TOO_LARGE', reason));
  }
  return text;
}

/** How many bytes a value will have; 0 where that cannot be too many. A default, too, may make it too large. */
function bytesOf(text: string, kept: readonly (readonly [field: string, value: unknown])[], defaults: Defaults): number {
  const most = text.length + defaults.reduce((sum, [field, json]) => sum + field.length + json.length + 4, 0);
  if (most * BYTES_PER_UNIT <= MOST_BYTES) return 0;
  const record = { ...Object.fromEntries(defaults.map(([field, json]) => [field, JSON.parse(json) as unknown])), ...(JSON.parse(text) as Data), ...Object.fromEntries(kept) };
  return new TextEncoder().encode(JSON.stringify(record)).length;
}

function failed(message: string, cause: unknown): Error {
  return errorWithCode('MIGRATION_FAILED', `${message}. Nothing is lost: mend it and open the database again`, { cause });
}

function isPlainObject(value: unknown): value is { [name: string]: unknown } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
