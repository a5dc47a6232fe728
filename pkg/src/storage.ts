import type { StorageReport, StorageWarning } from './types.js';

/** From these parts of the quota on it is warned that storage gets full. */
const FULL_FROM = [0.95, 0.8];
/**
 * What was not pushed for so long, on storage that the browser may evict, is warned about: 3 days. WebKit removes what a site stored
 * that nobody visited for 7 days of use of the browser ("Full Third-Party Cookie Blocking and More", 2020).
 */
const OLD_MS = 3 * 24 * 3_600_000;
/** When it is looked at first after opening, and how often: 10 seconds and 10 minutes. Browsers take some time to tell. */
const FIRST_LOOK_MS = 10_000;
const LOOK_EVERY_MS = 600_000;

/** What the browser says of this site's storage; null for what it does not say. */
export async function estimateStorage(): Promise<Pick<StorageReport, 'persisted' | 'usage' | 'quota'>> {
  const storage = (globalThis.navigator as Navigator | undefined)?.storage as Partial<StorageManager> | undefined;
  const [persisted, estimate] = await Promise.all([orNull(() => storage?.persisted?.()), orNull(() => storage?.estimate?.())]);
  return { persisted, usage: estimate?.usage ?? null, quota: estimate?.quota ?? null };
}

/** Asks the browser not to evict this site's storage, where a page may ask. Some browsers ask the person. */
export async function askForPersistence(): Promise<boolean | null> {
  const storage = (globalThis.navigator as Navigator | undefined)?.storage as Partial<StorageManager> | undefined;
  return await orNull(() => storage?.persist?.());
}

async function orNull<R>(ask: () => Promise<R> | undefined): Promise<R | null> {
  try {
    return (await ask()) ?? null;
  } catch {
    return null;
  }
}

/** Looks every so often whether storage gets full, or what was not pushed may be evicted; each is told once, until it is over. */
export class StorageWatch {
  readonly #read: () => Promise<StorageReport>;
  readonly #warn: (warning: StorageWarning) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isEnded = false;
  /** The part of the quota that was warned of last. */
  #told = 0;
  #toldOld = false;

  constructor(read: () => Promise<StorageReport>, warn: (warning: StorageWarning) => void) {
    this.#read = read;
    this.#warn = warn;
    this.#lookIn(FIRST_LOOK_MS);
  }

  end(): void {
    this.#isEnded = true;
    clearTimeout(this.#timer);
  }

  #lookIn(ms: number): void {
    this.#timer = setTimeout(() => void this.#look(), ms);
    // In Node.js, it is no reason to go on running.
    (this.#timer as { unref?(): void }).unref?.();
  }

  async #look(): Promise<void> {
    const report = await this.#read().catch(() => undefined);
    if (this.#isEnded) return;
    this.#lookIn(LOOK_EVERY_MS);
    if (report === undefined) return;
    const { usage, quota, persisted, pendingSince } = report;
    const part = usage !== null && quota ? (FULL_FROM.find((from) => usage >= from * quota) ?? 0) : 0;
    if (part > this.#told) this.#warn({ reason: 'full', storage: report });
    this.#told = part;
    const isOld = persisted === false && pendingSince !== null && Date.now() - Date.parse(pendingSince) >= OLD_MS;
    if (isOld && !this.#toldOld) this.#warn({ reason: 'unpushed', storage: report });
    this.#toldOld = isOld;
  }
}
