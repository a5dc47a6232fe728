import { effect } from '@preact/signals';
import type { RefObject } from 'preact';
import type { Client } from './client';

/** More cards than this are not animated. */
const MAX_ANIMATED = 300;

const DURATION_MS = 280;
const EASING = 'cubic-bezier(.2, .8, .2, 1)';

interface Place {
  rect: DOMRect;
  column: Element | null;
}

/**
 * Moves cards from where they were to where they are, whoever moved them, and keeps the keyboard's focus on a card that
 * changes its column.
 */
export class Motion {
  #before = new Map<string, Place>();
  #seen = new Map<string, DOMRect>();
  #frame = 0;
  /** The card that gets the focus as soon as it is there: an object for each move, as one card may be moved twice quickly. */
  #wanted: { id: string } | null = null;

  constructor(readonly root: RefObject<HTMLElement | null>) {}

  /** Follows a client's stories; returns how to stop. */
  follow(client: Client): () => void {
    const stop = effect(() => {
      void client.stories.value;
      // Signals tell at once and Preact draws in a microtask, so the old places can still be measured here.
      if (this.#frame === 0) {
        this.#before = this.#measure();
        this.#frame = requestAnimationFrame(() => {
          this.#frame = 0;
          this.#restoreFocus();
          this.#play();
        });
      }
    });
    const stopFocus = effect(() => {
      const id = client.wanted.value;
      if (id === null) return;
      client.wanted.value = null;
      // A frame later the form is gone and took the focus with it, unless the person has gone elsewhere meanwhile: nothing is
      // worse than a key that reaches another card than the one it was meant for.
      requestAnimationFrame(() => isFocusFree() && this.focus(id));
    });
    return () => {
      stop();
      stopFocus();
      cancelAnimationFrame(this.#frame);
    };
  }

  /** Gives a card the focus. */
  focus(id: string | number): void {
    const card = this.#card(String(id));
    card?.focus({ preventScroll: true });
    card?.scrollIntoView({ block: 'nearest', inline: 'nearest', behavior: isCalm() ? 'auto' : 'smooth' });
  }

  /** Keeps the focus on a card while a move takes it out of the document and puts it back elsewhere. */
  keepFocus(id: string | number, move: Promise<void>): void {
    const wanted = { id: String(id) };
    this.#wanted = wanted;
    void move.then(() => {
      requestAnimationFrame(() =>
        requestAnimationFrame(() => {
          this.#restoreFocus();
          if (this.#wanted !== wanted) return;
          this.#wanted = null;
          this.#card(wanted.id)?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
        }),
      );
    });
  }

  /** Says where a card was last seen, where that is not its place in the document: a dragged one. */
  seenAt(id: string, rect: DOMRect): void {
    this.#seen.set(id, rect);
  }

  #restoreFocus(): void {
    if (this.#wanted !== null && isFocusFree()) this.focus(this.#wanted.id);
  }

  #card(id: string): HTMLElement | undefined {
    return this.#cards().find((card) => card.dataset['card'] === id);
  }

  #cards(): HTMLElement[] {
    return [...(this.root.current?.querySelectorAll<HTMLElement>('[data-card]') ?? [])];
  }

  #measure(): Map<string, Place> {
    const cards = this.#cards();
    if (cards.length > MAX_ANIMATED || document.hidden || isCalm()) return new Map();
    return new Map(cards.map((card) => [card.dataset['card']!, { rect: card.getBoundingClientRect(), column: card.closest('[data-column]') }]));
  }

  #play(): void {
    const seen = this.#seen;
    this.#seen = new Map();
    if (this.#before.size === 0) return;
    for (const card of this.#cards()) {
      const id = card.dataset['card']!;
      const before = this.#before.get(id);
      if (!before) {
        card.animate({ opacity: [0, 1], transform: ['scale(.96)', 'none'] }, { duration: DURATION_MS, easing: EASING });
        continue;
      }
      const from = seen.get(id) ?? before.rect;
      const to = card.getBoundingClientRect();
      if (Math.abs(from.x - to.x) + Math.abs(from.y - to.y) < 2) continue;
      if (seen.has(id) || before.column !== card.closest('[data-column]')) fly(card, from, to);
      else card.animate({ transform: [`translate(${from.x - to.x}px, ${from.y - to.y}px)`, 'none'] }, { duration: DURATION_MS, easing: EASING });
    }
  }
}

/**
 * A copy of a card above the page: columns scroll, so the card itself would be cut off at their edges. Its layer is as wide
 * as the client, whose width decides how a card looks.
 */
export function ghostOf(card: HTMLElement, rect: DOMRect): HTMLElement {
  const ghost = card.cloneNode(true) as HTMLElement;
  ghost.removeAttribute('data-card');
  ghost.classList.add('ghost');
  Object.assign(ghost.style, { left: `${rect.x}px`, top: `${rect.y}px`, width: `${rect.width}px`, opacity: '' });
  const layer = document.createElement('div');
  layer.className = 'ghost-layer';
  layer.style.width = `${card.closest<HTMLElement>('.client')!.offsetWidth}px`;
  layer.inert = true;
  layer.append(ghost);
  document.body.append(layer);
  return ghost;
}

/** Takes a copy away again. */
export function removeGhost(ghost: HTMLElement): void {
  ghost.parentElement?.remove();
}

function fly(card: HTMLElement, from: DOMRect, to: DOMRect): void {
  const ghost = ghostOf(card, to);
  // Not `visibility`: that would take the focus away from the card.
  card.style.opacity = '0';
  const flight = ghost.animate({ transform: [`translate(${from.x - to.x}px, ${from.y - to.y}px)`, 'none'] }, { duration: DURATION_MS * 1.3, easing: EASING });
  flight.onfinish = flight.oncancel = () => {
    card.style.opacity = '';
    removeGhost(ghost);
  };
}

/** Whether nothing has the focus, because what had it is gone. */
function isFocusFree(): boolean {
  return document.activeElement === null || document.activeElement === document.body;
}

/** Whether the person asked for less motion. */
export function isCalm(): boolean {
  return matchMedia('(prefers-reduced-motion: reduce)').matches;
}
