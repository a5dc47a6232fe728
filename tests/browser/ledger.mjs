// The account of writes: every one that resolved is once in effect on the server, or the app is shown where it is.
import assert from 'node:assert/strict';
import { until } from './parts.mjs';

/**
 * Keeps the writes that pages make with `write()` of `page.js`, and compares them with the server's changes. A create or update is
 * known by a text of its own in `notes`, a delete by its record: no test may delete an id twice.
 */
export class Ledger {
  #server;
  #checkpoint;
  #resolved = new Map();
  #applied = new Map();

  /** Begins an account; what the server has by then does not count. */
  static async open(server) {
    const ledger = new Ledger();
    ledger.#server = server;
    ({ checkpoint: ledger.#checkpoint } = await server.changesSince());
    return ledger;
  }

  /** Hears of a page's writes from now on, also after it was loaded anew. */
  async watch(tab) {
    await tab.exposeFunction('resolved', (write) => void this.#resolved.set(keyOf(write), write));
  }

  /** How many writes resolved. */
  get size() {
    return this.#resolved.size;
  }

  /** Where the writes are: how many resolved, which are lost, which were applied more than once, and what the app is shown. */
  async report(tab) {
    const { changes, checkpoint } = await this.#server.changesSince(this.#checkpoint);
    this.#checkpoint = checkpoint;
    for (const change of changes) {
      const note = change.data?.notes;
      // Not of this account: what others wrote, and what tests write around it.
      if (change.operation !== 'delete' && note === undefined) continue;
      const key = keyOf({ ...change, note });
      this.#applied.set(key, (this.#applied.get(key) ?? 0) + 1);
    }
    const shown = await tab.evaluate(async () => {
      const briefly = ({ operation, recordId, data }) => ({ operation, recordId, note: data?.notes });
      return {
        pending: (await db.pendingMutations()).map(briefly),
        rejected: (await db.rejected()).map(({ mutation }) => briefly(mutation)),
        conflicts: (await db.conflicts()).map(({ clientMutation }) => briefly(clientMutation)),
      };
    });
    const known = new Set(Object.values(shown).flat().map(keyOf));
    return {
      resolved: this.#resolved.size,
      lost: [...this.#resolved].filter(([key]) => !this.#applied.has(key) && !known.has(key)).map(([, write]) => write),
      doubled: [...this.#applied].filter(([, times]) => times > 1),
      ...shown,
    };
  }

  /** Fails unless every write that resolved is once in effect, or rejected, in conflict, or still pending. */
  async check(tab) {
    const report = await this.report(tab);
    assert.deepEqual({ lost: report.lost, doubled: report.doubled }, { lost: [], doubled: [] });
    return report;
  }

  /** Syncs until only conflicts are left, checks the account, and that the tab and the server hold equal records. */
  async settle(tab) {
    await until(() => tab.evaluate(async () => (await codeOf(db.sync())) === 'none' && db.status.pending === db.status.conflicts), 'everything is pushed');
    const report = await this.check(tab);
    const open = new Set(report.conflicts.map(({ recordId }) => recordId));
    const byId = (records) => Object.fromEntries([...records].filter(({ id }) => !open.has(id)).map((record) => [JSON.stringify(record.id), record]));
    assert.deepEqual(byId(await tab.evaluate(() => db.find('story'))), byId((await this.#server.records()).values()), 'the tab and the server');
    return report;
  }
}

function keyOf({ operation, recordId, note }) {
  return operation === 'delete' ? `delete ${JSON.stringify(recordId)}` : `write ${note}`;
}
