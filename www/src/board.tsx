import { useComputed, useSignal } from '@preact/signals';
import type { ComponentChildren } from 'preact';
import { useEffect, useMemo, useRef } from 'preact/hooks';
import { Card } from './card';
import type { BoardStory, Client } from './client';
import { COLUMNS, columnBeside, type Status } from './columns';
import { Composer } from './composer';
import { Drag } from './drag';
import { PlusIcon } from './icons';
import { Motion } from './motion';

/** The board of one client: its columns, and how cards are moved by pointer and by keys. `children` lie over it. */
export function Board({ client, children }: { client: Client; children?: ComponentChildren }) {
  const isLoading = useComputed(() => client.stories.value === undefined);
  return (
    <div class="board-area" aria-busy={isLoading.value}>
      {!isLoading.value && <LoadedBoard client={client} />}
      {children}
    </div>
  );
}

function LoadedBoard({ client }: { client: Client }) {
  const root = useRef<HTMLDivElement>(null);
  const motion = useMemo(() => new Motion(root), []);
  const drag = useMemo(() => new Drag(root, client, motion), [client]);
  useEffect(() => motion.follow(client), [client]);
  useEffect(() => drag.listen(), [drag]);

  const isEmpty = useComputed(() => client.stories.value?.length === 0 && client.composing.value === null);
  return (
    <>
      <div
        class="board"
        ref={root}
        role="group"
        aria-label={`Story board of ${client.label}`}
        aria-describedby={`${client.name}-keys`}
        onKeyDown={(event) => onBoardKey(event, client, motion)}
        onFocusIn={(event) => noteFocus(event, client)}
      >
        {COLUMNS.map(({ status, label }) => (
          <Column key={status} client={client} drag={drag} status={status} label={label} />
        ))}
      </div>
      {isEmpty.value && <EmptyBoard client={client} />}
      <p class="keys" id={`${client.name}-keys`}>
        <span>
          <kbd>N</kbd> new
        </span>
        <span>
          <kbd>Enter</kbd> edit
        </span>
        <span>
          <kbd>← ↑ ↓ →</kbd> go
        </span>
        <span>
          <kbd>Alt</kbd> + <kbd>← ↑ ↓ →</kbd> move
        </span>
        <span>
          <kbd>Del</kbd> delete
        </span>
      </p>
    </>
  );
}

function EmptyBoard({ client }: { client: Client }) {
  const isSeeding = useSignal(false);
  const seed = async () => {
    isSeeding.value = true;
    await client.seed();
    isSeeding.value = false;
  };
  return (
    <div class="empty">
      <h3>No stories yet</h3>
      <p>Everything you write is kept in this browser first and sent when there is a network.</p>
      <div class="row">
        <button type="button" class="button primary" disabled={isSeeding.value} onClick={() => void seed()}>
          Seed 12 stories
        </button>
        <button type="button" class="button" onClick={() => (client.composing.value = 'backlog')}>
          Write one
        </button>
      </div>
    </div>
  );
}

function Column({ client, drag, status, label }: { client: Client; drag: Drag; status: Status; label: string }) {
  const rows = client.columns[status].value;
  const slot = useComputed(() => (drag.drop.value?.status === status ? drag.drop.value.index : -1));
  const dragged = drag.dragged.value;
  const points = rows.reduce((sum, row) => sum + (row.points ?? 0), 0);
  const headingId = `${client.name}-${status}`;
  return (
    <div class={`column ${status}`} data-column={status} role="group" aria-labelledby={headingId}>
      <header>
        <h3 id={headingId}>{label}</h3>
        <span class="count">
          {rows.length}
          <span class="hidden"> stories</span>
          {points > 0 && <span class="sum"> · {points} pts</span>}
        </span>
        <button type="button" class="icon-button" aria-label={`New story in ${label}`} title="New story" onClick={() => (client.composing.value = status)}>
          <PlusIcon />
        </button>
      </header>
      <div class="cards" data-cards>
        {client.composing.value === status && <Composer client={client} status={status} />}
        <ul>{withSlot(rows, dragged, slot.value, drag, client)}</ul>
      </div>
    </div>
  );
}

/** The cards of a column, and among them the gap in which the dragged card would land. */
function withSlot(rows: readonly BoardStory[], dragged: string | null, slot: number, drag: Drag, client: Client) {
  const cards = rows.map((row) => <Card key={row.id} client={client} row={row} isDragged={String(row.id) === dragged} />);
  if (slot < 0) return cards;
  const others = rows.filter((row) => String(row.id) !== dragged);
  const before = others[slot];
  const index = before ? rows.indexOf(before) : rows.length;
  return cards.toSpliced(index, 0, <li key="slot" class="slot" style={{ height: `${drag.height}px` }} />);
}

function noteFocus(event: FocusEvent, client: Client): void {
  const card = (event.target as Element).closest<HTMLElement>('[data-card]');
  if (card) client.active.value = card.dataset['card']!;
}

/** Keys on a card go and move; `N` works anywhere on the board. Fields of a form keep their keys. */
function onBoardKey(event: KeyboardEvent, client: Client, motion: Motion): void {
  const target = event.target as HTMLElement;
  if (target.closest('form') || event.ctrlKey || event.metaKey || event.isComposing) return;
  const found = findCard(client, target.closest<HTMLElement>('[data-card]')?.dataset['card']);
  if (event.key.toLowerCase() === 'n' && !event.altKey) {
    client.composing.value = found?.row.status ?? 'backlog';
    event.preventDefault();
  } else if (found && target.matches('[data-card]') && onCardKey(event, client, motion, found)) {
    event.preventDefault();
  }
}

interface FoundCard {
  row: BoardStory;
  status: Status;
  index: number;
}

function findCard(client: Client, id: string | undefined): FoundCard | undefined {
  for (const { status } of COLUMNS) {
    const rows = client.columns[status].peek();
    const index = rows.findIndex((row) => String(row.id) === id);
    if (index >= 0) return { row: rows[index]!, status, index };
  }
  return undefined;
}

/** Returns whether the key meant something here. */
function onCardKey(event: KeyboardEvent, client: Client, motion: Motion, card: FoundCard): boolean {
  const go = (row: BoardStory | undefined) => row && motion.focus(row.id);
  const rows = client.columns[card.status].peek();
  switch (event.key) {
    case 'Enter':
    case 'F2':
      client.editing.value = String(card.row.id);
      return true;
    case 'Delete':
    case 'Backspace':
      go(rows[card.index + 1] ?? rows[card.index - 1] ?? nextRow(client, card, 1) ?? nextRow(client, card, -1));
      void client.remove(card.row);
      return true;
    case 'ArrowUp':
    case 'ArrowDown': {
      const step = event.key === 'ArrowUp' ? -1 : 1;
      if (!event.altKey) go(rows[card.index + step]);
      else if (rows[card.index + step]) motion.keepFocus(card.row.id, client.move(card.row, card.status, card.index + step));
      return true;
    }
    case 'ArrowLeft':
    case 'ArrowRight': {
      const step = event.key === 'ArrowLeft' ? -1 : 1;
      const beside = columnBeside(card.status, step);
      if (!event.altKey) go(nextRow(client, card, step));
      else if (beside) {
        const index = Math.min(card.index, client.columns[beside].peek().length);
        motion.keepFocus(card.row.id, client.move(card.row, beside, index));
      }
      return true;
    }
    default:
      return false;
  }
}

/** The card beside this one, in the next column that has any. */
function nextRow(client: Client, card: FoundCard, step: -1 | 1): BoardStory | undefined {
  for (let status = columnBeside(card.status, step); status; status = columnBeside(status, step)) {
    const rows = client.columns[status].peek();
    if (rows.length > 0) return rows[Math.min(card.index, rows.length - 1)];
  }
  return undefined;
}
