import { type ReceivedRequest, readRequest, type SyncRequest } from './message.js';

/** What is wrong with a request as a whole. */
export class Problem extends Error {
  readonly status: number;
  readonly code: string;

  constructor(status: number, code: string, detail: string) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** Reads what came over HTTP; throws what is wrong with it. */
export function readHttp(method: string, headers: Record<string, string>, text: string, maxMutations: number): ReceivedRequest {
  if (method !== 'POST') throw new Problem(405, 'METHOD_NOT_ALLOWED', 'this path takes POST requests only');
  if (headers['content-type']?.split(';')[0]?.trim().toLowerCase() !== 'application/json') {
    throw new Problem(415, 'UNSUPPORTED_MEDIA_TYPE', 'the content type must be application/json');
  }
  const request = readRequest(text);
  if (typeof request === 'string') throw new Problem(400, 'INVALID_MESSAGE', request);
  const count = request.mutations.length;
  if (count <= maxMutations) return request;
  throw new Problem(413, 'TOO_MANY_MUTATIONS', `${count} mutations in one request exceed the maximum of ${maxMutations}`);
}

/** The code that the server gives with a status. */
export function codeOf(status: number): string {
  const codes: { [status: number]: string } = {
    400: 'INVALID_MESSAGE',
    401: 'UNAUTHORIZED',
    404: 'NOT_FOUND',
    409: 'CLIENT_ID_CLONED',
    410: 'CHECKPOINT_UNKNOWN',
    413: 'BODY_TOO_LARGE',
    500: 'INTERNAL',
    503: 'BUSY',
  };
  return codes[status] ?? 'TEST';
}

/** What came in, for those who look; undefined where it is no JSON. */
export function jsonOf(text: string): SyncRequest | undefined {
  try {
    return JSON.parse(text) as SyncRequest;
  } catch {
    return undefined;
  }
}

/** Waits, but no longer than the one who asks. */
export function pause(delayMs = 0, signal?: AbortSignal | null): Promise<void> {
  if (delayMs <= 0 || signal?.aborted) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, delayMs);
    signal?.addEventListener('abort', done);
  });
}
