/** What is noted of a database outside of IndexedDB, to find out that it was evicted. */
interface Note {
  identity: string;
  pending: number;
}

/** While nothing else does, a note is written so often at the most: every 2 seconds. */
const NOTE_EVERY_MS = 2_000;

/**
 * Notes in `localStorage` which database there is and how many mutations wait in it. Browsers that evict IndexedDB leave that: then the
 * next opening finds another database than the one that is noted. Where there is no `localStorage`, as in workers, nothing is noted.
 */
export class EvictionNote {
  readonly #key: string;
  #identity: string | undefined;
  /** What was noted before this page opened the database. */
  readonly #before: Note | undefined;
  #noted: Note | undefined;
  #at = 0;
  /** Whether it is for this page to tell of what was noted: no other one was faster. */
  #tells: boolean | undefined;

  constructor(name: string) {
    this.#key = keyOfNote(name);
    this.#before = read(this.#key);
  }

  readonly began = (identity: Uint8Array<ArrayBuffer> | undefined): void => {
    this.#identity = identity && String(identity);
  };

  /** How many mutations were lost with the database that was noted, if that is not the one that is open. */
  lost(): number | undefined {
    const { identity, pending } = this.#before ?? {};
    return identity === undefined || this.#identity === undefined || identity === this.#identity || !this.#isFirst() ? undefined : pending;
  }

  /** Several pages may be opened at once: the one that notes the new database first tells. */
  #isFirst(): boolean {
    return (this.#tells ??= read(this.#key)?.identity === this.#before?.identity);
  }

  /** So many mutations wait. */
  note(pending: number, isLast = false): void {
    if (this.#identity === undefined) return;
    const now = Date.now();
    const isSame = this.#noted?.identity === this.#identity && (this.#noted.pending > 0) === pending > 0;
    if (isSame && (this.#noted?.pending === pending || (!isLast && now - this.#at < NOTE_EVERY_MS))) return;
    // Another tab may have destroyed the database since it was noted, and forgotten it.
    if (this.#noted?.identity === this.#identity && read(this.#key)?.identity !== this.#identity) return;
    this.#isFirst();
    this.#noted = { identity: this.#identity, pending };
    this.#at = now;
    try {
      localStorage.setItem(this.#key, JSON.stringify(this.#noted));
    } catch {
      // It is only a note.
    }
  }
}

/** The database is gone because somebody wanted that. */
export function forgetNote(name: string): void {
  try {
    localStorage.removeItem(keyOfNote(name));
  } catch {
    // There is none.
  }
}

function keyOfNote(name: string): string {
  return `objectql-offline:${name}`;
}

function read(key: string): Note | undefined {
  try {
    return (JSON.parse(localStorage.getItem(key) ?? 'null') as Note | null) ?? undefined;
  } catch {
    return undefined;
  }
}
