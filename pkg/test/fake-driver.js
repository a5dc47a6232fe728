/**
 * A driver in memory that keeps the contract of the wasm one, for what the facade itself does. It is stricter than the real
 * one where misuse is concerned, and answers every write in a later turn.
 */
export class FakeDriver {
  static opened = [];
  static destroyed = [];
  /** What the next `open` waits for, or fails with. */
  static gate = undefined;

  #records = new Map();
  #lastStamp = 0;
  #known = new Set();
  lives = [];
  #isClosed = false;
  answers = [];

  static async open(optionsJson, hooks) {
    const driver = new FakeDriver();
    Object.assign(driver, { options: JSON.parse(optionsJson), hooks });
    FakeDriver.opened.push(driver);
    await FakeDriver.gate;
    return driver;
  }

  static async destroy(name) {
    FakeDriver.destroyed.push(name);
  }

  #check() {
    if (this.#isClosed) throw coded('CLOSED', 'the database is closed');
  }

  async #write(object, changed, origin = 'local') {
    this.#check();
    await undefined;
    this.hooks.event('change', JSON.stringify({ changes: [{ objectName: object, recordIds: changed }], origin }));
  }

  /** One door for all writes. */
  async write(kind, object, first, second) {
    const text = typeof first === 'string' ? first : new TextDecoder().decode(first);
    return this[kind](...(object === '' ? [] : [object]), text, second);
  }

  /** One door for all answers. */
  ask(kind, object, first, second) {
    return this[kind](...(object === '' ? [] : [object]), first, second);
  }

  async create(object, recordsJson) {
    const ids = JSON.parse(recordsJson).map((given) => {
      const record = { id: `made-${this.#records.size}`, ...given, created_at: 'now', updated_at: 'now' };
      if (this.#records.has(record.id)) throw coded('ALREADY_EXISTS', `there is a ${object} with this id`);
      this.#records.set(record.id, { object, record, stamp: ++this.#lastStamp });
      return record.id;
    });
    await this.#write(object, ids);
    return JSON.stringify([['now', ...ids]]);
  }

  async createEach(object, recordsJson) {
    const made = (record) => this.create(object, JSON.stringify([record])).then((text) => JSON.parse(text)[0][1], ({ code, message }) => ({ code, message }));
    return JSON.stringify([['now', ...(await Promise.all(JSON.parse(recordsJson).map(made)))]]);
  }

  async delete(object, idJson) {
    const wasThere = this.#records.delete(JSON.parse(idJson));
    this.#lastStamp++;
    await this.#write(object, [JSON.parse(idJson)]);
    return wasThere;
  }

  get(object, idJson) {
    this.#check();
    const found = this.#records.get(JSON.parse(idJson));
    if (found?.object !== object) return undefined;
    const [[stamp], unknown, stale] = this.#found([found]);
    // What is stale is told again, as the first of several ways.
    for (const old of stale) this.#known.add(old);
    return `${stale.length > 0 ? '!' : ''}${stamp}${unknown === '' ? '' : `:${unknown.slice(1, -1)}`}`;
  }

  find(object, queryJson) {
    return this.#found(this.#select(object, queryJson));
  }

  /** Not computed here: what it was asked. */
  aggregate(object, queryJson) {
    this.#check();
    return JSON.stringify([{ object, query: JSON.parse(queryJson) }]);
  }

  distinct(object, field, whereJson) {
    return JSON.stringify([...new Set(this.#select(object, `{"where":${whereJson}}`).map(({ record }) => record[field]))]);
  }

  #select(object, queryJson) {
    this.#check();
    const { where = {}, limit } = JSON.parse(queryJson);
    if (object === 'unknown') throw coded('UNKNOWN_OBJECT', 'there is no object unknown');
    const entries = [...this.#records.values()].filter((entry) => entry.object === object);
    return entries.filter(({ record }) => Object.entries(where).every(([k, v]) => record[k] === v)).slice(0, limit);
  }

  /** Each state crosses once. */
  #found(entries) {
    const unknown = entries.filter(({ stamp }) => !this.#known.has(stamp));
    for (const { stamp } of unknown) this.#known.add(stamp);
    const stale = this.takeStale();
    const text = unknown.length === 0 ? '' : JSON.stringify(unknown.map(({ record }) => record));
    return [Uint32Array.from(entries, ({ stamp }) => stamp), text, stale];
  }

  revision() {
    return this.#lastStamp;
  }

  takeStale() {
    const current = new Set([...this.#records.values()].map(({ stamp }) => stamp));
    const stale = [...this.#known].filter((stamp) => !current.has(stamp));
    for (const stamp of stale) this.#known.delete(stamp);
    return Uint32Array.from(stale);
  }

  watch(object, queryJson) {
    this.#select(object, queryJson);
    this.lives.push({ id: ++this.#lastStamp, object, queryJson, told: [] });
    return this.#lastStamp;
  }

  unwatch(id) {
    this.#check();
    this.lives = this.lives.filter((live) => live.id !== id);
  }

  /** The coarsest of what the contract allows: all that was told goes, all that is comes. */
  liveChanges(only) {
    return this.lives.filter(({ id }) => only === undefined || id === only).flatMap((live) => {
      const entries = this.#select(live.object, live.queryJson);
      const stamps = entries.map(({ stamp }) => stamp);
      const isSame = stamps.join() === live.told.join();
      const change = [live.id, 0, live.told.length];
      live.told = stamps;
      return isSame ? [] : [[...change, this.#found(entries)]];
    });
  }

  async early() {}

  status() {
    return JSON.stringify({ state: this.#isClosed ? 'closed' : 'idle', pending: 0, leader: true });
  }

  /** What an earlier session left. */
  static left = '[]';

  conflicts() {
    return FakeDriver.left;
  }

  async resolve(id, resolutionJson) {
    this.#check();
    this.answers.push({ id, resolution: JSON.parse(resolutionJson) });
    if (id === 'gone') throw coded('UNKNOWN_MUTATION', 'there is no conflict gone');
  }

  async close() {
    this.#check();
    await undefined;
    this.#isClosed = true;
  }
}

export function coded(code, message) {
  return Object.assign(new Error(message), { code });
}
