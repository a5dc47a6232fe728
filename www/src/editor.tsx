import { useLayoutEffect, useRef } from 'preact/hooks';
import type { BoardStory, Client, StoryFields } from './client';
import { COLUMNS, type Status } from './columns';
import { TrashIcon } from './icons';

/**
 * A card while it is edited. Enter saves, Escape leaves everything as it was, and going elsewhere saves too: what a person
 * typed is not thrown away by a click beside the card.
 */
export function Editor({ client, row }: { client: Client; row: BoardStory }) {
  const form = useRef<HTMLFormElement>(null);
  // The story as it was when the form opened: a change that arrives meanwhile is not undone by saving.
  const before = useRef(row).current;
  const isClosed = useRef(false);

  useLayoutEffect(() => {
    const title = form.current!.elements.namedItem('title') as HTMLTextAreaElement;
    grow(title);
    grow(form.current!.elements.namedItem('description') as HTMLTextAreaElement);
    title.focus();
    title.setSelectionRange(title.value.length, title.value.length);
    form.current!.scrollIntoView({ block: 'nearest' });
  }, []);

  const close = (isSaved: boolean, isFocusKept: boolean) => {
    if (isClosed.current) return;
    isClosed.current = true;
    client.editing.value = null;
    if (isFocusKept) client.wanted.value = String(row.id);
    if (isSaved) void client.save(before, readForm(form.current!, before));
  };

  const onKeyDown = (event: KeyboardEvent) => {
    event.stopPropagation();
    if (event.isComposing) return;
    const isMultiline = (event.target as HTMLElement).matches('[name=description]');
    if (event.key === 'Escape') close(false, true);
    else if (event.key === 'Enter' && (event.ctrlKey || event.metaKey || (!isMultiline && (event.target as HTMLElement).matches('input, textarea')))) {
      event.preventDefault();
      close(true, true);
    }
  };

  const onFocusOut = (event: FocusEvent) => {
    const next = event.relatedTarget as Node | null;
    // Without a next element the window itself lost the focus, or the click hit nothing that takes it.
    if ((next && !form.current!.contains(next)) || (!next && document.hasFocus())) close(true, false);
  };

  return (
    <form
      ref={form}
      class="editor"
      aria-label={`Edit ${before.title}`}
      autocomplete="off"
      onKeyDown={onKeyDown}
      onFocusOut={onFocusOut}
      onSubmit={(event) => {
        event.preventDefault();
        close(true, true);
      }}
    >
      <label>
        <span class="hidden">Title</span>
        <textarea name="title" rows={1} maxLength={200} required defaultValue={before.title} onInput={(event) => grow(event.currentTarget)} />
      </label>
      <label>
        <span class="hidden">Description</span>
        <textarea name="description" rows={2} placeholder="Description" defaultValue={before.description ?? ''} onInput={(event) => grow(event.currentTarget)} />
      </label>
      <div class="fields">
        <label>
          <span>Column</span>
          <select name="status" defaultValue={before.status}>
            {COLUMNS.map(({ status, label }) => (
              <option key={status} value={status} selected={status === before.status}>
                {label}
              </option>
            ))}
          </select>
        </label>
        <label>
          <span>Points</span>
          <input name="points" type="number" inputMode="decimal" min={0} max={999} step="any" defaultValue={before.points == null ? '' : String(before.points)} />
        </label>
        <label>
          <span>Assignee</span>
          <input name="assignee" maxLength={80} list={`${client.name}-assignees`} defaultValue={before.assignee ?? ''} />
        </label>
      </div>
      <datalist id={`${client.name}-assignees`}>
        {client.assignees.value.map((name) => (
          <option key={name} value={name} />
        ))}
      </datalist>
      <div class="row">
        <button type="submit" class="button primary small">
          Save
        </button>
        <button type="button" class="button small" onClick={() => close(false, true)}>
          Cancel
        </button>
        <span class="spacer" />
        <button
          type="button"
          class="icon-button danger"
          aria-label="Delete"
          title="Delete"
          onClick={() => {
            close(false, false);
            void client.remove(row);
          }}
        >
          <TrashIcon />
        </button>
      </div>
    </form>
  );
}

/** What the form holds; an empty title keeps the old one, since a story without a title is rejected. */
function readForm(form: HTMLFormElement, before: BoardStory): StoryFields {
  const data = new FormData(form);
  const text = (name: string) => String(data.get(name) ?? '').trim();
  const points = text('points');
  return {
    title: text('title').replace(/\s+/g, ' ') || before.title,
    status: text('status') as Status,
    points: points === '' ? null : Number(points),
    assignee: text('assignee') || null,
    description: text('description') || null,
  };
}

/** Makes a text field as tall as its text, where the browser does not do so by itself (`field-sizing`). */
function grow(field: HTMLTextAreaElement): void {
  if (CSS.supports('field-sizing', 'content')) return;
  field.style.height = 'auto';
  field.style.height = `${field.scrollHeight}px`;
}
