// A TCP proxy in front of an HTTP one: it passes bytes on, and does to those of an exchange with the endpoint what a test says.
import { once } from 'node:events';
import { connect, createServer } from 'node:net';

/**
 * What one exchange is for a fault: `request()` gives all bytes that the browser sent, `forward(bytes)` has the server answer them
 * and gives all bytes of that, `send(bytes)` has bytes reach the browser, `end()` closes the connection in good order and
 * `reset()` breaks it.
 */
class Exchange {
  #socket;
  #port;
  #received;

  constructor(socket, port, first) {
    this.#socket = socket;
    this.#port = port;
    this.#received = whole(socket, first);
  }

  request() {
    return this.#received;
  }

  async forward(bytes) {
    const onward = connect(this.#port, '127.0.0.1');
    onward.write(bytes);
    // The HTTP proxy closes after each answer.
    return Buffer.concat(await onward.toArray());
  }

  /** Has bytes reach the server and no more, whatever it makes of them. */
  async deliver(bytes) {
    const onward = connect(this.#port, '127.0.0.1');
    onward.end(bytes);
    onward.resume();
    await once(onward, 'close');
  }

  async send(bytes) {
    if (bytes.length > 0) await new Promise((resolve) => this.#socket.write(bytes, resolve));
  }

  end() {
    this.#socket.end();
  }

  reset() {
    this.#socket.resetAndDestroy();
  }
}

/** All bytes of a request: its head, and a body as long as that says. */
async function whole(socket, first) {
  let bytes = first;
  for (;;) {
    const head = bytes.indexOf('\r\n\r\n') + 4;
    const length = Number(/\r\ncontent-length: *(\d+)/i.exec(bytes.toString('latin1', 0, head))?.[1] ?? 0);
    if (head > 3 && bytes.length >= head + length) return bytes;
    const [more] = await once(socket, 'data');
    bytes = Buffer.concat([bytes, more]);
  }
}

export class Wire {
  #tcp;
  #port;
  #sockets = new Set();
  /** What happens to the next exchanges, one each: an async function of an `Exchange`. */
  faults = [];
  /** What went wrong in a fault itself. */
  errors = [];
  origin;

  /** `port`: where the HTTP proxy listens. */
  constructor(port) {
    this.#port = port;
    this.#tcp = createServer((socket) => this.#serve(socket).catch(() => socket.destroy()));
  }

  async listen() {
    this.#tcp.listen(0, '127.0.0.1');
    await once(this.#tcp, 'listening');
    this.origin = `http://127.0.0.1:${this.#tcp.address().port}`;
  }

  async close() {
    for (const socket of this.#sockets) socket.destroy();
    this.#tcp.close();
    await once(this.#tcp, 'close');
  }

  async #serve(socket) {
    this.#keep(socket);
    const [first] = await once(socket, 'data');
    const fault = first.toString('latin1').startsWith('POST /api/') ? this.faults.shift() : undefined;
    if (fault) return fault(new Exchange(socket, this.#port, first)).catch((error) => this.errors.push(error));
    const onward = connect(this.#port, '127.0.0.1');
    this.#keep(onward);
    onward.once('close', () => socket.destroy());
    socket.once('close', () => onward.destroy());
    onward.write(first);
    socket.pipe(onward).pipe(socket);
  }

  #keep(socket) {
    this.#sockets.add(socket);
    // That one side is gone early is what these tests are about.
    socket.on('error', () => {});
    socket.once('close', () => this.#sockets.delete(socket));
  }
}
