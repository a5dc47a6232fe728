// The module of a worker, dedicated or shared, in which drivers run for pages that want none of it on their own thread.
import { loadDriver } from './driver.js';
import { holdLock, whenGone } from './lock.js';
import { DIALECT, failureOf, type FromDriver, type FromWorker, type PageEvent, type ToWorker } from './messages.js';
import { ServedDriver } from './served.js';
import { startDriver } from './start.js';

/** What a page is talked to by. */
interface Line {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker): void;
}

interface Scope extends Line, EventTarget {
  onconnect?: ((event: MessageEvent) => void) | null;
  /** As a document has it: the drivers look there. */
  visibilityState?: DocumentVisibilityState;
}

const scope = globalThis as unknown as Scope;
const lock = holdLock('worker');
/** The pages at which somebody may be looking. */
const visible = new Set<Line>();

/** A worker sees no page: what happens to those that it serves happens to its scope, where the drivers listen. */
function tellDrivers(event: PageEvent): void {
  const state = visible.size > 0 ? 'visible' : 'hidden';
  const isAsBefore = state === scope.visibilityState;
  scope.visibilityState = state;
  if (event === 'visibilitychange' && isAsBefore && state === 'hidden') return;
  scope.dispatchEvent(new Event(event));
}

/** Serves a page. */
function serve(line: Line): void {
  const drivers = new Set<ServedDriver>();
  const leave = () => {
    for (const driver of drivers) void driver.leave();
    drivers.clear();
    if (visible.delete(line)) tellDrivers('visibilitychange');
  };
  line.onmessage = ({ data, ports: [port] }) => {
    switch (data[0]) {
      case 'hello': {
        // It is there to be had when the page is gone, however it went.
        whenGone(data[1], leave);
        return void lock.then((name) => line.postMessage(['hello', DIALECT, name]));
      }
      case 'open': {
        const [, opening, has] = data;
        const driver = new ServedDriver(port!);
        for (const other of drivers) if (other.isLeft) drivers.delete(other);
        drivers.add(driver);
        return void driver.open((hooks) => startDriver(loadDriver, opening, hooks), opening, has);
      }
      case 'destroy': {
        const [, name, isInMemory, wasm] = data;
        const destroying = loadDriver(wasm, isInMemory ? 'memory' : 'indexeddb').then((driver) => driver.destroy(name, isInMemory));
        const say = (message: FromDriver) => port!.postMessage(message);
        return void destroying.then(() => say(['returned', 0, undefined]), (thrown: unknown) => say(['threw', 0, failureOf(thrown)]));
      }
      case 'page': {
        const [, event, isVisible] = data;
        if (isVisible) visible.add(line);
        else visible.delete(line);
        return tellDrivers(event);
      }
      case 'ping': return line.postMessage(['pong']);
      case 'bye': return leave();
    }
  };
}

if ('onconnect' in scope) scope.onconnect = ({ ports: [port] }) => serve(port!);
else serve(scope);
