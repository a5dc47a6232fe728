// The adapter of a peer. What stands here works, in memory: replace each method by what the other database does, written as its
// documentation recommends, with indexes on status, assignee and due_at. Every promise resolves when the peer says that it is done.
// import ... from 'PACKAGE';

export const meta = {
  title: 'NAME',
  package: 'PACKAGE',
  // Whether there is `subscribe`.
  live: false,
  // What a resolved write survives: a killed page, a killed browser, a power cut. The run kills page and browser and tells.
  durability: 'none: in memory',
};

/** Opens the database of this name, or makes it: opened again in another page it has what was written. */
export async function open(name) {
  const tasks = new Map();
  const all = () => [...tasks.values()];
  return {
    createOne: async (doc) => { tasks.set(doc.id, doc); },
    createMany: async (docs) => { for (const doc of docs) tasks.set(doc.id, doc); },
    updateOne: async (id, patch) => { tasks.set(id, { ...tasks.get(id), ...patch }); },
    get: async (id) => tasks.get(id),
    findWhere: async (field, value) => all().filter((task) => task[field] === value),
    /** The `limit` largest, in descending order. */
    findSorted: async (field, limit) => all().sort((one, other) => (one[field] < other[field] ? 1 : -1)).slice(0, limit),
    count: async (field, value) => all().filter((task) => task[field] === value).length,
    scanAll: async () => all(),
    // Optional. `flush` resolves when all that was written is on the disk, of a peer that writes it later; `createConcurrent(docs)`
    // makes many at once where Promise.all(docs.map(createOne)) is not how one would; `subscribe(field, value, callback)` calls back
    // with all rows at first and at each change, and returns what ends it.
    close: async () => {},
  };
}

/** Deletes the database of this name. */
export async function destroy(name) {}
