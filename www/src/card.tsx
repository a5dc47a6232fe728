import { useComputed } from '@preact/signals';
import type { BoardStory, Client } from './client';
import { Editor } from './editor';
import { PencilIcon, UpIcon } from './icons';

/** A story in its column. Drawn again only when its own record, badge or state changes. */
export function Card({ client, row, isDragged }: { client: Client; row: BoardStory; isDragged: boolean }) {
  const id = String(row.id);
  const pending = useComputed(() => client.log.pendingByRecord.value.get(id) ?? 0);
  const isEditing = useComputed(() => client.editing.value === id);
  const isArrived = useComputed(() => client.arrived.value.has(id));
  const isTabStop = useComputed(() => tabStop(client) === id);

  const classes = ['card'];
  if (isDragged) classes.push('dragged');
  if (isArrived.value) classes.push('arrived');
  if (pending.value > 0) classes.push('waiting');
  return (
    <li>
      {isEditing.value ? (
        <Editor client={client} row={row} />
      ) : (
        <article
          class={classes.join(' ')}
          data-card={id}
          tabIndex={isTabStop.value ? 0 : -1}
          aria-roledescription="story"
          aria-label={spoken(row, pending.value)}
          onClick={() => (client.editing.value = id)}
        >
          <h4>{row.title}</h4>
          {row.description && <p class="description">{row.description}</p>}
          <footer>
            {row.points != null && <span class="points">{row.points}</span>}
            {row.assignee && <Assignee name={row.assignee} />}
            <span class="spacer" />
            {pending.value > 0 && (
              <span class="pending" title={`${pending.value} pending`}>
                <UpIcon />
                {pending.value}
              </span>
            )}
          </footer>
          <button type="button" class="icon-button edit" tabIndex={-1} aria-label={`Edit ${row.title}`} title="Edit">
            <PencilIcon />
          </button>
        </article>
      )}
    </li>
  );
}

function Assignee({ name }: { name: string }) {
  return (
    <span class="assignee" title={name} style={{ '--hue': hueOf(name) }}>
      <i aria-hidden="true">{initials(name)}</i>
      <span>{name}</span>
    </span>
  );
}

/** One card of the board is in the tab order; arrow keys reach the others. */
function tabStop(client: Client): string | undefined {
  const rows = client.stories.value ?? [];
  const active = client.active.value;
  if (active !== null && rows.some((row) => String(row.id) === active)) return active;
  const first = Object.values(client.columns).find((column) => column.value.length > 0)?.value[0];
  return first && String(first.id);
}

function spoken(row: BoardStory, pending: number): string {
  const parts = [row.title];
  if (row.points != null) parts.push(`${row.points} points`);
  if (row.assignee) parts.push(row.assignee);
  if (pending > 0) parts.push(`${pending} changes pending`);
  return parts.join(', ');
}

function initials(name: string): string {
  return name
    .split(/\s+/)
    .map((word) => [...word][0] ?? '')
    .slice(0, 2)
    .join('')
    .toUpperCase();
}

function hueOf(name: string): number {
  let hash = 7;
  for (const char of name) hash = (hash * 31 + char.codePointAt(0)!) % 360;
  return hash;
}
