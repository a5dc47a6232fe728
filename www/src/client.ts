import { batch, computed, signal, type ReadonlySignal, type Signal } from '@preact/signals';
import { openDatabase, type Database, type DataLoss, type MutationEntry, type Status as SyncStatus, type Stored } from 'objectql-offline';
import { COLUMNS, columnLabel, type Status } from './columns';
import { story, type Schema, type Story } from './generated';
import { Inbox } from './inbox';
import { MutationLog } from './mutation-log';
import { Network } from './network';
import { tabFrom, type PanelTab } from './panel-tabs';
import { positionBetween, SPACING } from './position';
import { SEED } from './seed';
import { syncLabel, type SyncLabel } from './sync-label';
import { SyncLog } from './sync-log';

/** A story as the board shows it. */
export type BoardStory = Stored<Story>;

/** The fields a person edits. */
export type StoryFields = Pick<Story, 'title' | 'status' | 'points' | 'assignee' | 'description'>;

/** A short message above the board. */
export interface Toast {
  text: string;
  /** The button beside it. */
  action?: ToastAction;
}

export interface ToastAction {
  label: string;
  run: () => void;
  /** The tab it shows, if that is what it does: once that is in sight, the message has said what it had to. */
  opens?: PanelTab;
}

/** How long a message stays, in milliseconds. */
const TOAST_MS = 8_000;

/** How long a card that another client changed stays marked, in milliseconds. */
const ARRIVED_MS = 1_800;

/**
 * One client: a database of its own, a network of its own, and what its panel shows.
 *
 * Nothing here remembers a story that the driver did not report: a command writes, and the live query brings the result.
 */
export class Client {
  /** Opens the client's database. */
  static async open(name: string, label: string): Promise<Client> {
    const network = new Network(`${name}.network`);
    // Before the database opens, because it syncs at once.
    const syncs = new SyncLog(network);
    const db = await openDatabase<Schema>({
      name,
      objects: [story],
      sync: { url: '/api/sync', fetch: network.fetch, realtime: true },
      // A board that forgets is better than none; the status says so.
      fallback: 'memory',
    });
    return new Client(name, label, db, network, syncs);
  }

  readonly log: MutationLog;
  readonly inbox: Inbox;
  readonly status: ReadonlySignal<SyncStatus>;
  /** The state of the sync in words. */
  readonly syncLabel: ReadonlySignal<SyncLabel>;
  /** All stories; undefined until the first result. */
  readonly stories = signal<readonly BoardStory[] | undefined>(undefined);
  /** The stories of each column, in order. */
  readonly columns: Record<Status, ReadonlySignal<readonly BoardStory[]>>;
  readonly assignees = computed(() => [...new Set(this.stories.value?.flatMap((row) => row.assignee || []) ?? [])].sort());
  /** The ids of the cards that another client changed just now. */
  readonly arrived = signal<ReadonlySet<string>>(new Set());

  readonly toast = signal<Toast | null>(null);
  /** What a screen reader is told. */
  readonly announcement = signal('');

  /** What the panel shows; null while it is hidden. */
  readonly panel: Signal<PanelTab | null>;
  /** The card that is edited in place. */
  readonly editing = signal<string | null>(null);
  /** The column in which a new story is written. */
  readonly composing = signal<Status | null>(null);
  /** The card that has, or last had, the focus. */
  readonly active = signal<string | null>(null);
  /** The card that is to take the focus, once it is drawn: when a form over it has closed. */
  readonly wanted = signal<string | null>(null);

  /** Records written here since they were last drawn, so that only others' changes are marked. */
  #ownWrites = new Set<string>();
  #titles = new Map<string, string>();
  #toastTimer: ReturnType<typeof setTimeout> | undefined;

  private constructor(
    readonly name: string,
    readonly label: string,
    readonly db: Database<Schema>,
    readonly network: Network,
    readonly syncs: SyncLog,
  ) {
    const status = signal(db.status);
    db.on('status', (next) => (status.value = next));
    this.status = status;
    db.on('dataLost', (loss) => this.tell(lossText(loss)));
    this.syncLabel = this.#syncLabel();
    this.log = new MutationLog(db);
    this.inbox = new Inbox(this);
    syncs.follow(db);
    this.panel = signal(innerWidth < 700 ? null : tabFrom(localStorage.getItem(`${name}.log`)));
    this.columns = Object.fromEntries(COLUMNS.map((column) => [column.status, this.#column(column.status)])) as Client['columns'];
    db.on('change', ({ changes, origin }) => {
      if (origin !== 'local') return;
      for (const id of changes.flatMap(({ recordIds }) => recordIds)) this.#ownWrites.add(String(id));
    });
    db.liveQuery('story', { orderBy: [{ field: 'position' }, { field: 'id' }] }).subscribe(({ rows }) => this.#show(rows));
  }

  /** The title of a mutation's record, also of one that was deleted while the page was open. */
  titleOf({ data, recordId }: Pick<MutationEntry, 'data' | 'recordId'>): string {
    const title = data?.['title'] ?? this.#titles.get(String(recordId));
    return typeof title === 'string' ? title : String(recordId);
  }

  say(text: string): void {
    this.announcement.value = text;
  }

  /** Shows a message above the board for a while. */
  tell(text: string, action?: ToastAction): void {
    clearTimeout(this.#toastTimer);
    this.toast.value = action ? { text, action } : { text };
    this.#toastTimer = setTimeout(() => this.dismissToast(), TOAST_MS);
  }

  dismissToast(): void {
    this.toast.value = null;
    clearTimeout(this.#toastTimer);
  }

  /** Shows a tab of the panel, or hides the panel; kept over reloads. */
  show(tab: PanelTab | null): void {
    this.panel.value = tab;
    if (tab !== null && this.toast.peek()?.action?.opens === tab) this.dismissToast();
    localStorage.setItem(`${this.name}.log`, tab ?? 'hidden');
  }

  /** Throws the offline switch; switched on, it syncs at once instead of waiting for the next attempt. */
  toggleNetwork(): void {
    this.network.toggle();
    const on = this.network.on.value;
    this.say(on ? 'Network on.' : 'Network off. Changes are kept here and sent later.');
    // A failure is the status's to tell.
    if (on) this.db.sync().catch(() => {});
  }

  async add(status: Status, title: string): Promise<void> {
    const last = this.columns[status].peek().at(-1);
    await this.run(async () => {
      const created = await this.db.create('story', { title, status, position: positionBetween(last?.position, undefined) ?? SPACING });
      this.active.value = String(created.id);
      this.say(`Added ${title} to ${columnLabel(status)}.`);
    });
  }

  /** Saves what differs from the story as it was when the person began; the rest may have changed in the meantime. */
  async save(before: BoardStory, fields: StoryFields): Promise<void> {
    const patch: Partial<Story> = {};
    for (const name of Object.keys(fields) as (keyof StoryFields)[]) {
      if ((fields[name] ?? null) !== (before[name] ?? null)) Object.assign(patch, { [name]: fields[name] ?? null });
    }
    if (Object.keys(patch).length === 0) return;
    if (patch.status) patch.position = positionBetween(this.columns[patch.status].peek().at(-1)?.position, undefined) ?? SPACING;
    await this.run(async () => {
      await this.db.update('story', before.id, patch);
      this.say(`Saved ${fields.title}.`);
    });
  }

  /** Puts a story at an index of a column, counted without the story itself. */
  async move(row: BoardStory, status: Status, index: number): Promise<void> {
    const others = this.columns[status].peek().filter(({ id }) => id !== row.id);
    const before = others[index - 1];
    const after = others[index];
    const patch = row.status === status ? {} : { status };
    await this.run(async () => {
      const position = positionBetween(before && (before.position ?? null), after && (after.position ?? null));
      if (position !== null) await this.db.update('story', row.id, { ...patch, position });
      else await this.#respace(row, patch, others.toSpliced(index, 0, row));
      this.say(`${row.title}: ${columnLabel(status)}, ${index + 1} of ${others.length + 1}.`);
    });
  }

  async remove(row: BoardStory): Promise<void> {
    await this.run(async () => {
      await this.db.delete('story', row.id);
      this.tell(`Deleted “${row.title}”`, { label: 'Undo', run: () => void this.#restore(row) });
      this.say(`Deleted ${row.title}. Undo is available.`);
    });
  }

  async seed(): Promise<void> {
    const next = new Map<Status, number>();
    const records = SEED.map((record) => {
      const position = (next.get(record.status) ?? 0) + SPACING;
      next.set(record.status, position);
      return { ...record, position };
    });
    await this.run(async () => {
      await this.db.bulkCreate('story', records);
      this.say(`Added ${records.length} stories.`);
    });
  }

  /** Runs a command of the person and tells what went wrong. */
  async run(command: () => Promise<void>): Promise<void> {
    try {
      await command();
    } catch (error) {
      const text = error instanceof Error ? error.message : String(error);
      this.tell(`That did not work: ${text}`);
      this.say(`That did not work: ${text}`);
    }
  }

  /** Takes back the last change made here, or makes it again. */
  async revert(way: 'undo' | 'redo'): Promise<void> {
    await this.run(async () => {
      if (!(await this.db[way]())) return;
      this.dismissToast();
      this.say(way === 'undo' ? 'Undone.' : 'Redone.');
    });
  }

  /** Where there is no number left between two neighbours, the whole column gets new ones. */
  async #respace(row: BoardStory, patch: Partial<Story>, column: readonly BoardStory[]): Promise<void> {
    const updates = column.flatMap((each, index) => {
      const position = (index + 1) * SPACING;
      if (each.id === row.id) return { id: each.id, data: { ...patch, position } };
      return each.position === position ? [] : { id: each.id, data: { position } };
    });
    await this.db.bulkUpdate('story', updates);
  }

  async #restore(row: BoardStory): Promise<void> {
    this.dismissToast();
    await this.run(async () => {
      const { updated_at: _, ...record } = row;
      await this.db.create('story', record);
      this.active.value = String(row.id);
      this.say(`${row.title} is back.`);
    });
  }

  /** Most events leave the words as they are, those of a pull that another client rang for above all; then nothing is drawn. */
  #syncLabel(): ReadonlySignal<SyncLabel> {
    let shown: SyncLabel | undefined;
    return computed(() => {
      const next = syncLabel(this.status.value, this.network.on.value);
      if (shown?.tone !== next.tone || shown.text !== next.text || shown.retryAt !== next.retryAt) shown = next;
      return shown;
    });
  }

  #column(status: Status): ReadonlySignal<readonly BoardStory[]> {
    let shown: readonly BoardStory[] = [];
    return computed(() => {
      const rows = this.stories.value?.filter((row) => row.status === status) ?? [];
      if (rows.length !== shown.length || rows.some((row, index) => row !== shown[index])) shown = rows;
      return shown;
    });
  }

  #show(rows: readonly BoardStory[]): void {
    const before = this.stories.peek();
    const known = new Map(before?.map((row) => [row.id, row]));
    const arrived: string[] = [];
    const next = rows.map((row) => {
      const old = known.get(row.id);
      if (old && isSame(old, row)) return old;
      const isOwn = this.#ownWrites.delete(String(row.id));
      // A board that fills for the first time would glow all over.
      if (before?.length && !isOwn && !(old && looksSame(old, row))) arrived.push(String(row.id));
      this.#titles.set(String(row.id), row.title);
      return row;
    });
    batch(() => {
      this.stories.value = next;
      if (arrived.length > 0) this.#mark(arrived);
    });
  }

  #mark(ids: string[]): void {
    this.arrived.value = new Set([...this.arrived.peek(), ...ids]);
    setTimeout(() => {
      const left = new Set(this.arrived.peek());
      for (const id of ids) left.delete(id);
      this.arrived.value = left;
    }, ARRIVED_MS);
  }
}

/** Whether two readings of a record are equal; the values of a story are scalars. */
function isSame(a: BoardStory, b: BoardStory): boolean {
  const names = Object.keys(a) as (keyof BoardStory)[];
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}

/** Whether a card with the one looks like a card with the other. */
function looksSame(a: BoardStory, b: BoardStory): boolean {
  return isSame({ ...a, updated_at: '', created_at: '' }, { ...b, updated_at: '', created_at: '' });
}

/** What a person is told of data that were lost on this device. */
function lossText({ reason, mutations }: DataLoss): string {
  if (reason === 'damaged') return 'Some of what was stored here cannot be read. It is fetched from the server again.';
  const changes = mutations.length === 1 ? '1 change' : `${mutations.length} changes`;
  const lost = reason === 'evicted' ? 'What had not reached the server is lost.' : `${changes} that had not reached the server ${mutations.length === 1 ? 'is' : 'are'} lost.`;
  return `The data of this site were cleared. ${mutations.length > 0 || reason === 'evicted' ? lost : 'Everything had reached the server.'}`;
}
