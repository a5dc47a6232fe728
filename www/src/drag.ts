import { batch, signal } from '@preact/signals';
import type { RefObject } from 'preact';
import type { Client } from './client';
import type { Status } from './columns';
import { ghostOf, removeGhost, type Motion } from './motion';

/** How far a mouse or pen goes before a press becomes a drag, in pixels. */
const THRESHOLD_PX = 5;

/** How long a finger rests before it picks a card up; sooner, it scrolls. In milliseconds. */
const LONG_PRESS_MS = 260;

/** How near an edge the dragged card scrolls the column or the board, in pixels, and how fast. */
const EDGE_PX = 44;
const SCROLL_PX_PER_FRAME = 9;

type State =
  | { is: 'resting' }
  | { is: 'pressed'; pointerId: number; card: HTMLElement; x: number; y: number; timer: ReturnType<typeof setTimeout> | undefined }
  | { is: 'dragging'; pointerId: number; id: string; ghost: HTMLElement; rect: DOMRect; startX: number; startY: number; x: number; y: number; frame: number };

/** Moves cards with a mouse, a pen or a finger. */
export class Drag {
  /** The id of the card that is dragged. */
  readonly dragged = signal<string | null>(null);
  /** Where it would land; the index is counted without the card itself. */
  readonly drop = signal<{ status: Status; index: number } | null>(null);
  /** The height of the dragged card, in pixels. */
  height = 0;

  #state: State = { is: 'resting' };
  #lastDragEndedAt = -Infinity;

  constructor(
    readonly root: RefObject<HTMLElement | null>,
    readonly client: Client,
    readonly motion: Motion,
  ) {}

  /** Listens on the board; returns how to stop. */
  listen(): () => void {
    const board = this.root.current;
    if (!board) return () => {};
    const listening = new AbortController();
    const { signal } = listening;
    board.addEventListener('pointerdown', (event) => this.#press(event), { signal });
    // A drag ends with a click on the card, which would open it.
    board.addEventListener('click', (event) => this.#swallowClick(event), { signal, capture: true });
    board.addEventListener('contextmenu', (event) => this.#state.is === 'dragging' && event.preventDefault(), { signal });
    // A finger that holds a card must not scroll the page; only a listener that is not passive may say so.
    board.addEventListener('touchmove', (event) => this.#state.is === 'dragging' && event.preventDefault(), { signal, passive: false });
    window.addEventListener('pointermove', (event) => this.#move(event), { signal });
    window.addEventListener('pointerup', (event) => this.#release(event), { signal });
    window.addEventListener('pointercancel', (event) => this.#isOurs(event) && this.#stop(), { signal });
    window.addEventListener('keydown', (event) => event.key === 'Escape' && this.#stop(), { signal });
    return () => {
      listening.abort();
      this.#stop();
    };
  }

  #isOurs(event: PointerEvent): boolean {
    return this.#state.is !== 'resting' && this.#state.pointerId === event.pointerId;
  }

  #press(event: PointerEvent): void {
    const target = event.target as Element;
    const card = target.closest<HTMLElement>('[data-card]');
    if (!card || event.button !== 0 || target.closest('button') || this.#state.is !== 'resting') return;
    const { pointerId, clientX: x, clientY: y } = event;
    const timer = event.pointerType === 'touch' ? setTimeout(() => this.#pick(), LONG_PRESS_MS) : undefined;
    this.#state = { is: 'pressed', pointerId, card, x, y, timer };
  }

  #move(event: PointerEvent): void {
    const state = this.#state;
    if (!this.#isOurs(event)) return;
    if (state.is === 'pressed') {
      if (Math.hypot(event.clientX - state.x, event.clientY - state.y) < THRESHOLD_PX) return;
      if (state.timer === undefined) this.#pick();
      else this.#stop();
    }
    if (this.#state.is === 'dragging') {
      this.#state.x = event.clientX;
      this.#state.y = event.clientY;
    }
  }

  #pick(): void {
    const state = this.#state;
    if (state.is !== 'pressed') return;
    const rect = state.card.getBoundingClientRect();
    const id = state.card.dataset['card']!;
    const ghost = ghostOf(state.card, rect);
    ghost.classList.add('lifted');
    this.height = rect.height;
    getSelection()?.removeAllRanges();
    document.documentElement.classList.add('dragging');
    this.#state = { is: 'dragging', pointerId: state.pointerId, id, ghost, rect, startX: state.x, startY: state.y, x: state.x, y: state.y, frame: 0 };
    this.dragged.value = id;
    this.#follow();
  }

  /** Once per frame, so that a fast mouse costs no more than a slow one, and edges scroll while the pointer rests. */
  #follow(): void {
    const state = this.#state;
    if (state.is !== 'dragging') return;
    state.ghost.style.transform = `translate(${state.x - state.startX}px, ${state.y - state.startY}px) rotate(1.2deg)`;
    this.#aim(state.id, state.x, state.y - state.startY + state.rect.y + state.rect.height / 2);
    state.frame = requestAnimationFrame(() => this.#follow());
  }

  #aim(id: string, x: number, y: number): void {
    const board = this.root.current!;
    scrollNearEdge(board, 'scrollLeft', x, board.getBoundingClientRect().left, board.getBoundingClientRect().right);
    const column = nearestColumn(board, x);
    if (!column) return;
    const list = column.querySelector<HTMLElement>('[data-cards]')!;
    const listRect = list.getBoundingClientRect();
    scrollNearEdge(list, 'scrollTop', y, listRect.top, listRect.bottom);

    const others = [...list.querySelectorAll<HTMLElement>('[data-card]')].filter((card) => card.dataset['card'] !== id);
    const index = others.filter((card) => middle(card.getBoundingClientRect()) < y).length;
    const status = column.dataset['column'] as Status;
    const drop = this.drop.peek();
    if (drop?.status !== status || drop.index !== index) this.drop.value = { status, index };
  }

  #release(event: PointerEvent): void {
    const state = this.#state;
    if (!this.#isOurs(event)) return;
    const drop = this.drop.peek();
    const row = state.is === 'dragging' && this.client.stories.peek()?.find((each) => String(each.id) === state.id);
    if (state.is !== 'dragging' || !drop || !row) {
      this.#stop();
      return;
    }
    this.#lastDragEndedAt = event.timeStamp;
    this.motion.seenAt(state.id, new DOMRect(state.rect.x + state.x - state.startX, state.rect.y + state.y - state.startY, state.rect.width, state.rect.height));
    void this.#land(row, drop, state);
  }

  /** The gap stays open until the driver has the move: a few milliseconds. */
  async #land(row: Parameters<Client['move']>[0], drop: { status: Status; index: number }, state: State & { is: 'dragging' }): Promise<void> {
    cancelAnimationFrame(state.frame);
    this.#state = { is: 'resting' };
    const rows = this.client.columns[drop.status].peek();
    if (rows.indexOf(row) !== drop.index) await this.client.move(row, drop.status, drop.index);
    if (this.#state.is === 'resting') this.#clear();
    removeGhost(state.ghost);
  }

  #stop(): void {
    const state = this.#state;
    this.#state = { is: 'resting' };
    if (state.is === 'pressed') clearTimeout(state.timer);
    if (state.is === 'dragging') {
      cancelAnimationFrame(state.frame);
      removeGhost(state.ghost);
      this.#clear();
    }
  }

  #clear(): void {
    document.documentElement.classList.remove('dragging');
    batch(() => {
      this.dragged.value = null;
      this.drop.value = null;
    });
  }

  #swallowClick(event: MouseEvent): void {
    if (event.timeStamp - this.#lastDragEndedAt > 80) return;
    event.preventDefault();
    event.stopPropagation();
  }
}

function nearestColumn(board: HTMLElement, x: number): HTMLElement | undefined {
  const distance = (column: HTMLElement) => Math.abs(column.getBoundingClientRect().left + column.offsetWidth / 2 - x);
  return [...board.querySelectorAll<HTMLElement>('[data-column]')].sort((a, b) => distance(a) - distance(b))[0];
}

function middle(rect: DOMRect): number {
  return rect.top + rect.height / 2;
}

function scrollNearEdge(element: HTMLElement, property: 'scrollLeft' | 'scrollTop', at: number, start: number, end: number): void {
  if (at < start + EDGE_PX) element[property] -= SCROLL_PX_PER_FRAME;
  else if (at > end - EDGE_PX) element[property] += SCROLL_PX_PER_FRAME;
}
