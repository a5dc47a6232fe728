/**
 * Takes a lock of a name of its own, which is held as long as the page or the worker lives: whoever asks for it gets it when that is gone. Gives
 * the name, where there are locks.
 */
export function holdLock(whose: 'page' | 'worker'): Promise<string | undefined> {
  const locks = (navigator as Partial<Navigator>).locks;
  if (locks === undefined) return Promise.resolve(undefined);
  const name = `objectql-offline-${whose}:${crypto.randomUUID()}`;
  return new Promise((resolve) => {
    void locks.request(name, () => {
      resolve(name);
      return new Promise(() => undefined);
    });
  });
}

/** Calls `then` when whoever holds a lock is gone; tells whether that can be found out. */
export function whenGone(name: string | undefined, then: () => void): boolean {
  const locks = (navigator as Partial<Navigator>).locks;
  if (name === undefined || locks === undefined) return false;
  void locks.request(name, then);
  return true;
}
