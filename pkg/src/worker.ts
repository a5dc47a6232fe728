// The module of a worker, dedicated or shared, in which drivers run for pages that want none of it on their own thread.
import { loadDriver } from './driver.js';
import { holdLock, whenGone } from './lock.js';
import { DIALECT, failureOf, type FromDriver, type FromWorker, type ToWorker } from './messages.js';
import { ServedDriver } from './served.js';
import { startDriver } from './start.js';

/** What a page is talked to by. */
interface Line {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker): void;
}

const scope = globalThis as unknown as Line & EventTarget & { onconnect?: ((event: MessageEvent) => void) | null };
const lock = holdLock('worker');

/** Serves a page. */
function serve(line: Line): void {
  const drivers = new Set<ServedDriver>();
  const leave = () => {
    for (const driver of drivers) void driver.leave();
    drivers.clear();
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
      // A worker has no page to look at: this is what the drivers listen to instead.
      case 'look': return void scope.dispatchEvent(new Event('focus'));
      case 'ping': return line.postMessage(['pong']);
      case 'bye': return leave();
    }
  };
}

if ('onconnect' in scope) scope.onconnect = ({ ports: [port] }) => serve(port!);
else serve(scope);
