import { errorWithCode } from './errors.js';
import { done, ended, EVERY_STORE, LOG, openLog, ROOT_KEY, SEALED_KEY, SEGMENTS } from './indexeddb.js';
import { encodeEmptyRow } from './row-bytes.js';
import type { EncryptionOptions } from './types.js';

/**
 * How often PBKDF2 with HMAC-SHA-256 is repeated for a passphrase: what OWASP's "Password Storage Cheat Sheet" (2023) asks for. Some
 * 0.2 s on a desktop.
 */
const ITERATIONS = 600_000;
/** Of the first version, a segment has no number, and nothing says of which database a value is. */
const VERSION = 2;
/** `OE`, the version, four bytes that name the key, and a number in eight bytes: a root's, or the key of a row or a segment. */
const HEADER_BYTES = 15;
const IV_BYTES = 12;
const ALGORITHM = 'AES-GCM';

/** What is sealed; the driver's `Place`. */
const ROW = 0;
const SEGMENT = 1;
const ROOT = 2;
/** How many rows other tabs may append while one is sealed. */
const MOST_AHEAD = 32;

type Bytes = Uint8Array<ArrayBuffer>;
type Value = [place: number, number: number, bytes: Bytes];

interface NamedKey {
  key: CryptoKey;
  name: Bytes;
}

/**
 * Seals what goes on the disk, and opens it: what the driver calls. Each value is sealed by itself, with a random IV; what it is, its
 * number and its database are authenticated, so that no value can be put in another's place.
 *
 * ```text
 * offset  0  1  2        3         7          15  27
 *         O  E  version  key name  number LE  IV  ciphertext and tag (AES-GCM)
 * ```
 */
export class Cipher {
  readonly #options: EncryptionOptions;
  /** The first one seals. */
  #keys: Promise<NamedKey[]> | undefined;
  /** Of the database. */
  #identity: Bytes = new Uint8Array();
  #hasMetOthers = false;

  constructor(options: EncryptionOptions) {
    checkEncryption(options);
    this.#options = { ...options };
  }

  /** Makes the keys for a database ready. */
  readonly begin = (identity: Bytes | undefined): void => {
    const { key, previousKeys = [] } = this.#options;
    // Deriving a key takes long on purpose.
    const known = identity ?? new Uint8Array();
    if (this.#keys !== undefined && areEqual(this.#identity, known)) return;
    this.#identity = known;
    this.#keys = Promise.all([key, ...previousKeys].map(async (given) => {
      const key = typeof given === 'string' ? await derive(given, identity ?? new Uint8Array(IV_BYTES)) : given;
      return { key, name: await nameOf(key) };
    }));
    this.#keys.catch(() => undefined);
  };

  readonly seal = async (values: Value[]): Promise<Bytes[]> => {
    const [current] = await this.#known();
    return await Promise.all(values.map((value) => seal(current!, this.#identity, value)));
  };

  /** What was sealed; as it is, what never was, or was changed since. Errors: `WRONG_KEY`. */
  readonly open = async (values: Value[]): Promise<Bytes[]> => {
    const keys = await this.#known();
    // A tab with another key, or none, may have written it after everything was sealed.
    this.#hasMetOthers ||= values.some(([, , sealed]) => !isSealedBy(keys[0]!, sealed));
    return await Promise.all(values.map(async (value) => (await open(keys, this.#identity, value)) ?? value[2]));
  };

  /**
   * Seals what is stored and not sealed by the key that seals now. It may be left off anywhere: the next opening goes on. From its
   * first transaction on no tab with another key, or none, writes anything: see {@link Cipher.#fence}.
   */
  async sealAll(name: string): Promise<void> {
    const keys = await this.#known();
    const database = await openLog(name, false);
    try {
      database.onversionchange = () => database.close();
      const read = <R>(store: string, request: (store: IDBObjectStore) => IDBRequest<R>) => done(request(database.transaction(store).objectStore(store)));
      const noted = await read(SEGMENTS, (store) => store.get(SEALED_KEY) as IDBRequest<Bytes | undefined>);
      // By which key and in which version; with another byte, that it is being done.
      const all = new Uint8Array([...keys[0]!.name, VERSION]);
      if (noted !== undefined && areEqual(noted, all) && !this.#hasMetOthers) return;
      const begun = new Uint8Array([...all, 0]);
      if (!(await this.#fence(database, noted, begun))) return;
      haveOthersLook(name);
      for (const store of EVERY_STORE) {
        for (const key of await read(store, (store) => store.getAllKeys() as IDBRequest<number[]>)) {
          const old = key < 0 ? undefined : await read(store, (store) => store.get(key) as IDBRequest<Bytes | undefined>);
          if (old === undefined || old.length === 0 || isSealedBy(keys[0]!, old)) continue;
          const place = store === LOG ? ROW : key === ROOT_KEY ? ROOT : SEGMENT;
          const number = place === ROOT ? numberOf(old) : key;
          const bytes = await open(keys, this.#identity, [place, number, old]);
          // What is damaged stays as it is: the driver finds it, and leaves it out.
          if (bytes !== undefined) await replace(database, store, key, old, await seal(keys[0]!, this.#identity, [place, number, bytes]));
        }
      }
      await replace(database, SEGMENTS, SEALED_KEY, begun, all);
    } finally {
      database.close();
    }
  }

  /**
   * Notes that all is being sealed, and appends a row to the log that only who has the key can read. A tab appends its rows behind
   * those it knows, so that one without the key has to read this row first, and stops; whoever writes segments or a root, or rows
   * before its driver is there, looks at the note in the same transaction. False where another tab has noted something else.
   */
  async #fence(database: IDBDatabase, noted: Bytes | undefined, begun: Bytes): Promise<boolean> {
    const [current] = await this.#known();
    for (let next = await nextKey(database.transaction(LOG)); ; ) {
      // Crypto takes longer than a transaction waits, and the others go on writing meanwhile: rows for as many keys as are likely.
      const first = next;
      const numbers = Array.from({ length: MOST_AHEAD }, (_, at) => first + at);
      const rows = await Promise.all(numbers.map((number) => seal(current!, this.#identity, [ROW, number, encodeEmptyRow()])));
      const transaction = database.transaction(EVERY_STORE, 'readwrite', { durability: 'strict' });
      const ending = ended(transaction);
      // Whoever waits for the requests hears of it.
      ending.catch(() => undefined);
      const segments = transaction.objectStore(SEGMENTS);
      const isAsNoted = areSame(await done(segments.get(SEALED_KEY) as IDBRequest<Bytes | undefined>), noted);
      next = await nextKey(transaction);
      const row = rows[next - first];
      if (isAsNoted && row !== undefined) {
        transaction.objectStore(LOG).add(row, next);
        segments.put(begun, SEALED_KEY);
      }
      await ending;
      if (!isAsNoted || row !== undefined) return isAsNoted;
    }
  }

  async #known(): Promise<NamedKey[]> {
    if (this.#keys === undefined) this.begin(undefined);
    return await this.#keys!;
  }
}

/** Looks whether something is what a database can be encrypted by. Errors: `INVALID_OPTIONS`. */
export function checkEncryption(options: EncryptionOptions): void {
  const keys = typeof options === 'object' && options !== null ? [options.key, ...(options.previousKeys ?? [])] : [undefined];
  if (!keys.every(isKey)) {
    throw errorWithCode('INVALID_OPTIONS', 'encryption needs keys: passphrases, or CryptoKeys for AES-GCM that may encrypt and decrypt');
  }
  if (globalThis.crypto?.subtle === undefined) {
    throw errorWithCode('INVALID_OPTIONS', 'encryption needs WebCrypto, which pages have that are served securely (https, or localhost)');
  }
}

async function seal({ key, name }: NamedKey, identity: Bytes, [place, number, bytes]: Value): Promise<Bytes> {
  const sealed = new Uint8Array(HEADER_BYTES + IV_BYTES + bytes.length + 16);
  sealed.set([0x4f, 0x45, VERSION, ...name]);
  new DataView(sealed.buffer).setBigUint64(7, BigInt(number), true);
  const iv = crypto.getRandomValues(sealed.subarray(HEADER_BYTES, HEADER_BYTES + IV_BYTES));
  const params = { name: ALGORITHM, iv, additionalData: withPlace(sealed, identity, place) };
  sealed.set(new Uint8Array(await crypto.subtle.encrypt(params, key, bytes)), HEADER_BYTES + IV_BYTES);
  return sealed;
}

async function open(keys: readonly NamedKey[], identity: Bytes, [place, number, sealed]: Value): Promise<Bytes | undefined> {
  if (sealed[0] !== 0x4f || sealed[1] !== 0x45) return sealed;
  if (sealed[2]! > VERSION) {
    // Or it is the version that was changed on the disk.
    const olden = sealed.slice();
    olden[2] = VERSION;
    const bytes = await open(keys, identity, [place, number, olden]).catch(() => undefined);
    if (bytes === undefined) throw errorWithCode('STORAGE_OUTDATED', 'it is sealed by a newer version of the package');
    return bytes;
  }
  const found = keys.find(({ name }) => areEqual(sealed.subarray(3, 7), name));
  const isWhole = sealed.length >= HEADER_BYTES + IV_BYTES && numberOf(sealed) === (sealed[2] === 1 && place === SEGMENT ? 0 : number);
  if (found !== undefined) return isWhole ? await decrypt(found, identity, place, sealed) : undefined;
  // It may be the key's name that was changed on the disk, and not the key.
  for (const key of isWhole ? keys : []) {
    const renamed = sealed.slice();
    renamed.set(key.name, 3);
    const bytes = await decrypt(key, identity, place, renamed);
    if (bytes !== undefined) return bytes;
  }
  throw errorWithCode('WRONG_KEY', 'it is sealed by another key');
}

async function decrypt({ key }: NamedKey, identity: Bytes, place: number, sealed: Bytes): Promise<Bytes | undefined> {
  const iv = sealed.subarray(HEADER_BYTES, HEADER_BYTES + IV_BYTES);
  const params = { name: ALGORITHM, iv, additionalData: withPlace(sealed, identity, place) };
  try {
    return new Uint8Array(await crypto.subtle.decrypt(params, key, sealed.subarray(HEADER_BYTES + IV_BYTES)));
  } catch {
    return undefined;
  }
}

/** Whether it is sealed as it would be now. */
function isSealedBy({ name }: NamedKey, bytes: Bytes): boolean {
  return bytes[0] === 0x4f && bytes[1] === 0x45 && bytes[2] === VERSION && areEqual(bytes.subarray(3, 7), name);
}

/** The number in the header of something sealed, and of a root that is not: both have it at the same place. */
function numberOf(bytes: Bytes): number {
  return bytes.length < HEADER_BYTES ? 0 : Number(new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(7, true));
}

function areSame(one: Bytes | undefined, other: Bytes | undefined): boolean {
  return one === undefined || other === undefined ? one === other : areEqual(one, other);
}

function areEqual(one: Bytes, other: Bytes): boolean {
  return one.length === other.length && one.every((byte, at) => byte === other[at]);
}

/** Which key the next row gets: the last one is never removed. */
async function nextKey(transaction: IDBTransaction): Promise<number> {
  const last = await done(transaction.objectStore(LOG).openKeyCursor(null, 'prev'));
  return last === null ? 1 : (last.key as number) + 1;
}

/** Puts a value in the place of another one, if that is still there. */
async function replace(database: IDBDatabase, store: string, key: number, old: Bytes, value: Bytes): Promise<void> {
  const transaction = database.transaction(EVERY_STORE, 'readwrite', { durability: 'strict' });
  const ending = ended(transaction);
  // Whoever waits for the request hears of it.
  ending.catch(() => undefined);
  const values = transaction.objectStore(store);
  const found = await done(values.get(key) as IDBRequest<Bytes | undefined>);
  if (areSame(found, old)) values.put(value, key);
  await ending;
}

function withPlace(sealed: Bytes, identity: Bytes, place: number): Bytes {
  return new Uint8Array([...sealed.subarray(0, HEADER_BYTES), place, ...(sealed[2] === 1 ? [] : identity)]);
}

/** Has the other tabs read on: one without a key finds that there is one now. As `src/engine/announcement.rs` has it. */
function haveOthersLook(name: string): void {
  if (typeof BroadcastChannel === 'undefined') return;
  const channel = new BroadcastChannel(`objectql-offline:${name}`);
  channel.postMessage([JSON.stringify({ kind: 'rows', key: Number.MAX_SAFE_INTEGER }), new Uint8Array()]);
  channel.close();
}

function isKey(key: unknown): boolean {
  if (typeof key === 'string') return key !== '';
  if (typeof CryptoKey === 'undefined' || !(key instanceof CryptoKey)) return false;
  return key.algorithm.name === ALGORITHM && key.usages.includes('encrypt') && key.usages.includes('decrypt');
}

async function derive(passphrase: string, salt: Bytes): Promise<CryptoKey> {
  const material = await crypto.subtle.importKey('raw', new TextEncoder().encode(passphrase), 'PBKDF2', false, ['deriveKey']);
  const params = { name: 'PBKDF2', hash: 'SHA-256', salt, iterations: ITERATIONS };
  return crypto.subtle.deriveKey(params, material, { name: ALGORITHM, length: 256 }, false, ['encrypt', 'decrypt']);
}

/** Four bytes of the tag of nothing: they say little of the key, which may not be readable, and tell it from others. */
async function nameOf(key: CryptoKey): Promise<Bytes> {
  const tag = await crypto.subtle.encrypt({ name: ALGORITHM, iv: new Uint8Array(IV_BYTES) }, key, new Uint8Array(0));
  return new Uint8Array(tag, 0, 4);
}
