import { errorWithCode } from './errors.js';

/** Where the server of an endpoint rings. Browsers of 2023 take neither a relative address nor `http:` for a socket. */
export function socketUrl(endpoint: string): string {
  const url = new URL(absoluteUrl(endpoint, 'sync.url'));
  url.protocol = url.protocol.replace('http', 'ws');
  url.pathname = url.pathname.replace(/\/*$/, '/realtime');
  url.hash = '';
  return url.href;
}

/** A URL of an option as it means the same elsewhere. Errors: `INVALID_OPTIONS`. */
export function absoluteUrl(url: string | URL, option: string): string {
  try {
    return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch {
    throw errorWithCode('INVALID_OPTIONS', `${option} is not a URL here: ${url}`);
  }
}

/**
 * Begins to open a socket and says hello on it, with the headers as they are then: a browser cannot set them on a socket, and in
 * its URL a token would be logged. `tell` hears null when the hello was said, then what the server says, and nothing at the end.
 * Returns what lets go of the socket, after which `tell` hears no more.
 */
export function connect(url: string, clientId: string, headers: () => Promise<object>, tell: (said?: string | null) => void): () => void {
  const socket = new WebSocket(url);
  socket.onopen = () => {
    void headers().then((own) => {
      socket.send(JSON.stringify({ type: 'hello', clientId, headers: own }));
      tell(null);
    }).catch(() => tell());
  };
  socket.onmessage = ({ data }) => tell(String(data));
  socket.onclose = () => tell();
  return () => {
    tell = () => {};
    socket.close();
  };
}
