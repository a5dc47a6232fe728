import { useLayoutEffect, useRef } from 'preact/hooks';
import type { Client } from './client';
import { columnLabel, type Status } from './columns';

/** The line in which a new story is written. Enter adds it and stays open for the next one. */
export function Composer({ client, status }: { client: Client; status: Status }) {
  const input = useRef<HTMLInputElement>(null);
  // Before the next key: whoever presses N goes on typing at once.
  useLayoutEffect(() => {
    input.current!.focus();
    input.current!.closest('.column')!.scrollIntoView({ block: 'nearest', inline: 'nearest' });
  }, []);

  // Taking the form out of the document also takes the focus out of it, which must not add the story once more.
  const isClosed = useRef(false);

  const close = (isFocusKept: boolean) => {
    isClosed.current = true;
    client.composing.value = null;
    if (isFocusKept) client.wanted.value = client.active.value;
  };

  /** Returns whether there was a title to add. */
  const add = () => {
    const title = input.current!.value.trim();
    input.current!.value = '';
    if (title) void client.add(status, title);
    return title !== '';
  };

  return (
    <form
      class="composer"
      onSubmit={(event) => {
        event.preventDefault();
        if (!add()) close(true);
      }}
      onKeyDown={(event) => {
        event.stopPropagation();
        if (event.key === 'Escape') close(true);
      }}
      onFocusOut={(event) => {
        const next = event.relatedTarget as Node | null;
        if (isClosed.current || event.currentTarget.contains(next) || !document.hasFocus()) return;
        add();
        close(false);
      }}
    >
      <input
        ref={input}
        name="title"
        maxLength={200}
        autocomplete="off"
        placeholder="What is the story?"
        aria-label={`Title of the new story in ${columnLabel(status)}`}
        enterkeyhint="done"
      />
      <button type="submit" class="button primary small">
        Add
      </button>
    </form>
  );
}
