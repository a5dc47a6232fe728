import { computed, signal } from '@preact/signals';
import type { Conflict, Database, PendingMutation, RejectedMutation } from 'objectql-offline';
import type { Schema } from './generated';

/** A mutation that the server settled a moment ago, shown while it fades. */
export interface SettledMutation {
  mutation: PendingMutation;
  /** When it left the log, in milliseconds since the epoch. */
  settledAt: number;
}

/** How long a settled mutation stays in sight, in milliseconds. The style sheet fades it in the same time. */
const FADE_MS = 5_000;

/** The most settled mutations in sight: a long queue drains in batches of fifty. */
const MAX_SETTLED = 30;

/** What the driver has recorded and not yet settled, and what it settled just now. */
export class MutationLog {
  /** In sequence order. */
  readonly pending = signal<readonly PendingMutation[]>([]);
  readonly settled = signal<readonly SettledMutation[]>([]);
  readonly conflicts = signal<readonly Conflict[]>([]);
  readonly rejected = signal<readonly RejectedMutation[]>([]);

  /** How many mutations wait, by record of the board. */
  readonly pendingByRecord = computed(() => {
    const counts = new Map<string, number>();
    for (const { recordId } of this.pending.value) counts.set(String(recordId), (counts.get(String(recordId)) ?? 0) + 1);
    return counts;
  });

  #state: 'idle' | 'reading' | 'reading, again after' = 'idle';

  constructor(readonly db: Database<Schema>) {
    db.on('status', () => this.refresh());
    db.on('change', () => this.refresh());
    db.on('conflict', () => this.refresh());
    db.on('rejected', () => this.refresh());
    this.refresh();
  }

  /** Reads the log; asked many times in a row, it reads twice. */
  refresh(): void {
    if (this.#state !== 'idle') {
      this.#state = 'reading, again after';
      return;
    }
    this.#state = 'reading';
    void this.#read()
      .catch(() => {}) // The database is closed; there is nothing to show any more.
      .finally(() => {
        const again = this.#state === 'reading, again after';
        this.#state = 'idle';
        if (again) this.refresh();
      });
  }

  async #read(): Promise<void> {
    const [pending, conflicts, rejected] = await Promise.all([this.db.pendingMutations(), this.db.conflicts(), this.db.rejected()]);
    this.#settle(pending, rejected);
    this.pending.value = keepUnchanged(this.pending.peek(), pending);
    if (conflicts.length > 0 || this.conflicts.peek().length > 0) this.conflicts.value = conflicts;
    if (rejected.length > 0 || this.rejected.peek().length > 0) this.rejected.value = rejected;
  }

  #settle(pending: readonly PendingMutation[], rejected: readonly RejectedMutation[]): void {
    const open = new Set([...pending.map(({ id }) => id), ...rejected.map(({ id }) => id)]);
    const settledAt = Date.now();
    const gone = this.pending.peek().filter(({ id }) => !open.has(id));
    if (gone.length === 0) return;
    const settled = [...this.settled.peek(), ...gone.map((mutation) => ({ mutation, settledAt }))];
    this.settled.value = settled.slice(-MAX_SETTLED);
    setTimeout(() => {
      this.settled.value = this.settled.peek().filter((entry) => entry.settledAt > settledAt);
    }, FADE_MS);
  }
}

/** The new list, with the old objects where nothing changed, so that their rows are not drawn again. */
function keepUnchanged(old: readonly PendingMutation[], next: readonly PendingMutation[]): readonly PendingMutation[] {
  const known = new Map(old.map((mutation) => [mutation.id, mutation]));
  const kept = next.map((mutation) => {
    const before = known.get(mutation.id);
    return before?.state === mutation.state ? before : mutation;
  });
  return kept.length === old.length && kept.every((mutation, index) => mutation === old[index]) ? old : kept;
}
