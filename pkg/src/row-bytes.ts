// The rows that the facade itself writes into the log, as `src/engine/row.rs` reads them.

/** The row's magic, `OQ`, the version of one that asks for something, and the place of `Asked` among the events. */
const MAGIC = [0x4f, 0x51];
const ROW_VERSION = 5;
const ASKED = 12;
const HEADER_BYTES = 7;
/** The primes of XXH32. */
const [P1, P2, P3, P4, P5] = [2_654_435_761, 2_246_822_519, 3_266_489_917, 668_265_263, 374_761_393] as const;

const encoder = new TextEncoder();

/** What a row asks for: a write as a driver takes it, by the version of its object's definition. */
export interface Asked {
  readonly kind: string;
  readonly object: string;
  readonly version: number;
  readonly first: string | Uint8Array;
  readonly second: string;
}

/** The bytes of a row that asks for something: its fields as postcard writes them. */
export function encodeRow(by: number, number: number, { kind, object, version, first, second }: Asked): Uint8Array<ArrayBuffer> {
  const parts: (Uint8Array | number[])[] = [varint(by), varint(number), [1, ASKED]];
  for (const part of [kind, object, version, first, second]) {
    if (typeof part === 'number') parts.push(varint(part));
    else {
      const bytes = typeof part === 'string' ? encoder.encode(part) : part;
      parts.push(varint(bytes.length), bytes);
    }
  }
  return withHeader(ROW_VERSION, parts);
}

/** The bytes of a row of nobody in which nothing happens. */
export function encodeEmptyRow(): Uint8Array<ArrayBuffer> {
  return withHeader(1, [[0, 0, 0]]);
}

function withHeader(version: number, parts: readonly (Uint8Array | number[])[]): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(parts.reduce((length, part) => length + part.length, HEADER_BYTES));
  bytes.set([...MAGIC, version]);
  let at = HEADER_BYTES;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  new DataView(bytes.buffer).setUint32(3, checksum(bytes.subarray(HEADER_BYTES)), true);
  return bytes;
}

function varint(number: number): number[] {
  const bytes = [];
  for (; number > 127; number = Math.floor(number / 128)) bytes.push((number % 128) | 128);
  return [...bytes, number];
}

/** XXH32 (Yann Collet, "xxHash fast digest algorithm"), as in `src/engine/seal.rs`. */
function checksum(bytes: Uint8Array): number {
  const { length } = bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  const rotate = (value: number, by: number) => (value << by) | (value >>> (32 - by));
  const step = (hash: number, value: number, prime: number, by: number, next: number) =>
    Math.imul(rotate((hash + Math.imul(value, prime)) | 0, by), next);
  let at = 0;
  let hash: number = P5;
  if (length >= 16) {
    const lanes: [number, number, number, number] = [(P1 + P2) | 0, P2, 0, -P1 | 0];
    for (; at + 16 <= length; at += 16) {
      for (let lane = 0; lane < 4; lane++) lanes[lane] = step(lanes[lane]!, view.getUint32(at + 4 * lane, true), P2, 13, P1);
    }
    hash = rotate(lanes[0], 1) + rotate(lanes[1], 7) + rotate(lanes[2], 12) + rotate(lanes[3], 18);
  }
  hash += length;
  for (; at + 4 <= length; at += 4) hash = step(hash, view.getUint32(at, true), P3, 17, P4);
  for (; at < length; at++) hash = step(hash, bytes[at]!, P5, 11, P1);
  hash = Math.imul(hash ^ (hash >>> 15), P2);
  hash = Math.imul(hash ^ (hash >>> 13), P3);
  return (hash ^ (hash >>> 16)) >>> 0;
}
