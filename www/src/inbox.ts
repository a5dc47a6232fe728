import { computed, signal, type Signal } from '@preact/signals';
import type { Conflict, RejectedMutation, Resolution, SupersededMutation } from 'objectql-offline';
import type { Client } from './client';
import { appFields, fieldNames, type Values } from './fields';

/** The most superseded changes that are kept in sight. */
const MAX_SUPERSEDED = 20;

/** A rejected mutation and those that it took along. */
export interface RejectedFamily {
  rejected: RejectedMutation;
  dependants: readonly RejectedMutation[];
}

/**
 * What one client has to look at: conflicts and rejections, which the driver keeps until somebody decided, and changes that
 * lost to others. Those the driver tells once and forgets, so they are kept here until somebody has seen them.
 */
export class Inbox {
  readonly superseded: Signal<readonly SupersededMutation[]>;
  /** How many questions are open. */
  readonly undecided = computed(() => this.client.log.conflicts.value.length + this.families.value.length);
  readonly families = computed(() => families(this.client.log.rejected.value));

  readonly #storageKey: string;

  constructor(readonly client: Client) {
    this.#storageKey = `${client.name}.superseded`;
    this.superseded = signal(storedList(this.#storageKey));
    client.db.on('superseded', (mutation) => this.#note(mutation));
  }

  async resolve(conflict: Conflict, resolution: Resolution): Promise<void> {
    await this.#decide(() => this.client.db.resolveConflict(conflict.id, resolution));
    const said = resolution === 'mine' ? 'Kept your version.' : resolution === 'theirs' ? 'Took the other version.' : 'Merged.';
    this.client.say(said);
  }

  /** Makes a rejected mutation again, with `patch` over its fields; the driver makes again with it what it took along. */
  async retry({ rejected }: RejectedFamily, patch?: Values): Promise<void> {
    await this.#decide(() => this.client.db.retry(rejected.id, patch));
    this.client.say('Trying again.');
  }

  /** Forgets a rejected mutation and what it took along: changes of a record that was never made are of no use. */
  async discard({ rejected, dependants }: RejectedFamily): Promise<void> {
    await this.#decide(async () => {
      for (const each of [...dependants, rejected]) await this.client.db.discard(each.id);
    });
    this.client.say('Discarded.');
  }

  /** Writes the values that lost once more; as the newest change they win now. */
  async putBack(superseded: SupersededMutation): Promise<void> {
    const { recordId, lost } = superseded;
    await this.client.run(async () => {
      if (lost) await this.client.db.update('story', recordId, appFields(lost));
      else await this.client.db.delete('story', recordId);
      this.dismiss(superseded);
      this.client.say('Your values are back.');
    });
  }

  dismiss(superseded: SupersededMutation): void {
    this.#keep(this.superseded.peek().filter((each) => each !== superseded));
  }

  async #decide(decision: () => Promise<void>): Promise<void> {
    await this.client.run(decision);
    this.client.log.refresh();
  }

  #keep(superseded: readonly SupersededMutation[]): void {
    this.superseded.value = superseded;
    localStorage.setItem(this.#storageKey, JSON.stringify(superseded));
  }

  #note(mutation: SupersededMutation): void {
    if (mutation.lost && fieldNames(mutation.lost).length === 0) return;
    // Several pending changes of one field lose one after the other; the newest says it all.
    const others = this.superseded.peek().filter((each) => !isCovered(each, mutation));
    this.#keep([mutation, ...others].slice(0, MAX_SUPERSEDED));
    if (this.client.panel.peek() === 'inbox') return;
    this.client.tell('A later change won over yours', { label: 'Show', run: () => this.client.show('inbox'), opens: 'inbox' });
  }
}

/** What an earlier page kept; nothing where somebody else wrote there. */
function storedList(key: string): readonly SupersededMutation[] {
  try {
    const stored: unknown = JSON.parse(localStorage.getItem(key) ?? '[]');
    return Array.isArray(stored) ? (stored as SupersededMutation[]) : [];
  } catch {
    return [];
  }
}

/** Whether all that one mutation lost is in another one of the same record. */
function isCovered(older: SupersededMutation, newer: SupersededMutation): boolean {
  if (older.recordId !== newer.recordId || !older.lost || !newer.lost) return false;
  const { lost } = newer;
  return fieldNames(older.lost).every((name) => Object.hasOwn(lost, name));
}

function families(all: readonly RejectedMutation[]): RejectedFamily[] {
  const isThere = (id: string | null) => all.some((each) => each.id === id);
  return all
    .filter((each) => !isThere(each.causedBy))
    .map((rejected) => ({ rejected, dependants: all.filter((each) => each.causedBy === rejected.id) }));
}
