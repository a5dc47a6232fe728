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

  async create(object, recordJson) {
    const record = { id: `made-${this.#records.size}`, ...JSON.parse(recordJson), created_at: 'now', updated_at: 'now' };
    if (this.#records.has(record.id)) throw coded('ALREADY_EXISTS', `there is a ${object} with this id`);
    this.#records.set(record.id, { object, record });
    await this.#write(object, [record.id]);
    return JSON.stringify(record);
  }

  async delete(object, idJson) {
    const wasThere = this.#records.delete(JSON.parse(idJson));
    await this.#write(object, [JSON.parse(idJson)]);
    return wasThere;
  }

  get(object, idJson) {
    this.#check();
    const found = this.#records.get(JSON.parse(idJson));
    return found && JSON.stringify(found.record);
  }

  find(object, queryJson) {
    this.#check();
    const { where = {}, limit } = JSON.parse(queryJson);
    if (object === 'unknown') throw coded('UNKNOWN_OBJECT', 'there is no object unknown');
    const rows = [...this.#records.values()].filter((row) => row.object === object).map((row) => row.record);
    return JSON.stringify(rows.filter((row) => Object.entries(where).every(([k, v]) => row[k] === v)).slice(0, limit));
  }

  status() {
    return JSON.stringify({ state: this.#isClosed ? 'closed' : 'idle', pending: 0, leader: true });
  }

  /** What an earlier session left. */
  static left = '[]';

  conflicts() {
    return FakeDriver.left;
  }

  async resolveConflict(id, resolutionJson) {
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
