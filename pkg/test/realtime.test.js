// The facade's end of realtime: where the socket is, and what is said on it.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { connect, socketUrl } from '../dist/realtime.js';

/** A socket that does nothing by itself. */
class FakeSocket {
  static last;
  sent = [];
  closes = 0;

  constructor(url) {
    this.url = url;
    FakeSocket.last = this;
  }

  send(text) {
    if (this.closes === 0) this.sent.push(JSON.parse(text));
  }

  close() {
    this.closes += 1;
  }
}

beforeEach(() => { globalThis.WebSocket = FakeSocket; });
afterEach(() => {
  delete globalThis.WebSocket;
  delete globalThis.location;
  delete globalThis.document;
});

const settle = () => new Promise((resolve) => setTimeout(resolve));

/** A socket, what was heard of it, and how to let go of it. */
function open(headers = async () => ({ authorization: 'Bearer x' })) {
  const heard = [];
  const close = connect('ws://a/api/sync/realtime', 'client', headers, (said) => heard.push(said));
  return { socket: FakeSocket.last, heard, close };
}

test('a socket is beside its endpoint', () => {
  globalThis.location = { href: 'https://app.example/board/1?x#y' };
  for (const [endpoint, socket] of [
    ['/api/sync', 'wss://app.example/api/sync/realtime'],
    ['/api/sync/', 'wss://app.example/api/sync/realtime'],
    ['sync', 'wss://app.example/board/sync/realtime'],
    ['/api/sync?tenant=1#part', 'wss://app.example/api/sync/realtime?tenant=1'],
    ['http://127.0.0.1:8787/api/sync', 'ws://127.0.0.1:8787/api/sync/realtime'],
    ['https://other.example/api/sync', 'wss://other.example/api/sync/realtime'],
  ]) assert.equal(socketUrl(endpoint), socket);
  // As fetch does, where a page has a base.
  globalThis.document = { baseURI: 'http://base.example/' };
  assert.equal(socketUrl('/api/sync'), 'ws://base.example/api/sync/realtime');
});

test('an endpoint that is no URL here is an option that cannot be right', () => {
  assert.throws(() => socketUrl('/api/sync'), { code: 'INVALID_OPTIONS' });
});

test('the hello has the headers of that moment, and what follows is passed on', async () => {
  let token = 1;
  const { socket, heard } = open(async () => ({ authorization: `Bearer ${token}` }));
  token = 2;
  socket.onopen();
  await settle();
  assert.deepEqual(socket.sent, [{ type: 'hello', clientId: 'client', headers: { authorization: 'Bearer 2' } }]);
  socket.onmessage({ data: '{"type":"ready"}' });
  socket.onclose();
  assert.deepEqual(heard, [null, '{"type":"ready"}', undefined]);
});

test('without headers there is no hello', async () => {
  const { socket, heard } = open(async () => { throw new Error('no token'); });
  socket.onopen();
  await settle();
  assert.deepEqual([socket.sent, heard], [[], [undefined]]);
});

test('nothing is heard of a socket that was let go of', async () => {
  const { socket, heard, close } = open();
  socket.onopen();
  close();
  await settle();
  socket.onmessage({ data: 'late' });
  socket.onclose();
  assert.deepEqual([socket.closes, socket.sent, heard], [1, [], []]);
});
