import { checkEncryption } from './encryption.js';
import { errorWithCode, type ObjectqlError } from './errors.js';
import { holdLock, whenGone } from './lock.js';
import { DIALECT, type FromWorker, type PageEvent, type ToWorker } from './messages.js';
import { absoluteUrl } from './realtime.js';
import { RemoteDriver } from './remote.js';
import { RemoteReading } from './remote-reading.js';
import type { Opened, Opening, PageHooks, Place } from './start.js';
import type { OpenOptions } from './types.js';

/** How long a worker may take to say hello: 30 seconds. */
const HELLO_MS = 30_000;
/** Where there are no locks: how often it is asked whether it is there, and how often it may leave that unanswered. Every 15 seconds, twice. */
const PING_MS = 15_000;
const MOST_UNANSWERED = 2;

type Kind = 'dedicated' | 'shared';

/** The workers of this page: one of each kind and URL, for all databases. They stay, as the wasm does in a page. */
const workers = new Map<string, Promise<WorkerPlace>>();

/**
 * Starts a worker for drivers, or takes the one that there is.
 *
 * # Errors
 * `WASM_FAILED`.
 */
export async function connectWorker(kind: Kind, url: OpenOptions['workerUrl']): Promise<Place> {
  const key = `${kind} ${url ?? ''}`;
  const known = workers.get(key);
  if (known !== undefined) return await known;
  const forget = () => void (workers.get(key) === starting && workers.delete(key));
  const starting = WorkerPlace.start(kind, url, forget);
  workers.set(key, starting);
  starting.catch(forget);
  return await starting;
}

/** What both kinds of workers are talked to by. */
interface Line {
  readonly target: Worker | SharedWorker;
  readonly port: Worker | MessagePort;
}

/** A worker, in which drivers run. */
class WorkerPlace implements Place {
  readonly #port: Line['port'];
  /** What is told when the worker ends. */
  readonly #drivers = new Set<RemoteDriver>();
  #isEnded = false;

  private constructor(port: Line['port']) {
    this.#port = port;
  }

  static async start(kind: Kind, url: OpenOptions['workerUrl'], onEnd: () => void): Promise<WorkerPlace> {
    const pageLock = kind === 'shared' ? await holdLock('page') : undefined;
    const { target, port } = startWorker(kind, url);
    const workerLock = await new Promise<string | undefined>((resolve, reject) => {
      const timer = setTimeout(() => fail(`it did not answer within ${HELLO_MS / 1000} s`), HELLO_MS);
      const fail = (reason: string) => {
        clearTimeout(timer);
        if ('terminate' in target) target.terminate();
        reject(startFailure(url, reason));
      };
      target.onerror = (event) => fail((event as Partial<ErrorEvent>).message || 'its script could not be loaded');
      port.onmessage = ({ data }: MessageEvent<FromWorker>) => {
        if (data[0] !== 'hello') return;
        const [, dialect, lock] = data;
        clearTimeout(timer);
        if (dialect === DIALECT) resolve(lock);
        else fail('it is of another version of the package');
      };
      port.postMessage(['hello', pageLock] satisfies ToWorker);
    });
    target.onerror = null;
    const place = new WorkerPlace(port);
    const end = () => {
      onEnd();
      place.#end();
    };
    // It is there to be had when the worker ends, for whatever reason. Nothing else tells.
    if (!whenGone(workerLock, end)) place.#ping(end);
    place.#watchPage(kind);
    return place;
  }

  async open(opening: Opening, hooks: PageHooks): Promise<Opened> {
    if (opening.encryption !== undefined && !opening.isInMemory) checkEncryption(opening.encryption);
    const driver = this.#driver(hooks);
    const has = { headers: hooks.headers !== undefined, fetch: hooks.fetch !== undefined };
    await driver.attach(['open', { ...opening, wasm: sendable(opening.wasm) }, has], this.#port);
    return { driver, reader: new RemoteReading(driver, opening.driver.objects) };
  }

  async destroy(name: string, isInMemory: boolean, wasm: OpenOptions['wasm']): Promise<void> {
    await this.#driver(undefined).attach(['destroy', name, isInMemory, sendable(wasm)], this.#port);
  }

  #driver(hooks: PageHooks | undefined): RemoteDriver {
    const driver = new RemoteDriver(hooks, () => this.#drivers.delete(driver));
    this.#drivers.add(driver);
    if (this.#isEnded) driver.lose();
    return driver;
  }

  #end(): void {
    this.#isEnded = true;
    for (const driver of this.#drivers) driver.lose();
  }

  /** Asks now and then whether the worker is there. */
  #ping(end: () => void): void {
    let unanswered = 0;
    const ask = () => {
      if (unanswered === MOST_UNANSWERED) return end();
      unanswered++;
      this.#port.postMessage(['ping'] satisfies ToWorker);
      setTimeout(ask, PING_MS);
    };
    this.#port.onmessage = () => {
      unanswered = 0;
    };
    ask();
  }

  /** Tells the worker what it cannot see of the page. */
  #watchPage(kind: Kind): void {
    if (typeof document === 'undefined') return;
    const tell = (event: PageEvent) => this.#port.postMessage(['page', event, document.visibilityState === 'visible'] satisfies ToWorker);
    for (const event of ['focus', 'online', 'pageshow'] satisfies PageEvent[]) addEventListener(event, () => tell(event));
    document.addEventListener('visibilitychange', () => tell('visibilitychange'));
    tell('visibilitychange');
    // A page that may come back keeps its drivers as long as it keeps its lock. A dedicated worker is frozen with its page, before it would hear of it.
    if (kind === 'shared') addEventListener('pagehide', ({ persisted }) => persisted || this.#port.postMessage(['bye'] satisfies ToWorker));
  }
}

function startWorker(kind: Kind, url: OpenOptions['workerUrl']): Line {
  try {
    // Bundlers find the module by these very expressions; they must stay as they are. A shared worker of another dialect has another name.
    if (kind === 'dedicated') {
      const target = url === undefined ? new Worker(new URL('./worker.js', import.meta.url), { type: 'module' }) : new Worker(url, { type: 'module' });
      return { target, port: target };
    }
    const target = url === undefined
      ? new SharedWorker(new URL('./worker.js', import.meta.url), { type: 'module', name: 'objectql-offline-2' })
      : new SharedWorker(url, { type: 'module', name: 'objectql-offline-2' });
    return { target, port: target.port };
  } catch (thrown) {
    throw startFailure(url, thrown instanceof Error ? thrown.message : String(thrown));
  }
}

function startFailure(url: OpenOptions['workerUrl'], reason: string): ObjectqlError {
  return errorWithCode('WASM_FAILED', `the worker could not be started${url === undefined ? '' : ` from ${url}`}: ${reason.replace(/\.+$/, '')}. Check that ` +
    `objectql-offline/worker is bundled and deployed, with workerUrl saying where if your bundler does not find it, and that the ` +
    `Content-Security-Policy, if there is one, has worker-src 'self'`);
}

/** What says where the wasm is, so that it says the same in a worker. */
function sendable(wasm: OpenOptions['wasm']): OpenOptions['wasm'] {
  if (typeof wasm === 'string' || wasm instanceof URL) return absoluteUrl(wasm, 'wasm');
  return typeof Request !== 'undefined' && wasm instanceof Request ? wasm.url : wasm;
}
