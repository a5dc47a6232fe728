import { useComputed } from '@preact/signals';
import type { Conflict, JsonValue, PendingMutation, RejectedMutation } from 'objectql-offline';
import type { Client } from './client';
import { CheckIcon } from './icons';

/** The most rows drawn; a longer queue is counted. */
const MAX_ROWS = 80;

/** The log of mutations as it grows and drains, and what waits for a decision. */
export function LogPanel({ client, id }: { client: Client; id: string }) {
  const { log } = client;
  return (
    <aside class="log" id={id} aria-label={`Mutation log of ${client.label}`} tabIndex={-1}>
      <LogHead client={client} />
      {log.conflicts.value.map((conflict) => (
        <ConflictRow key={conflict.id} client={client} conflict={conflict} />
      ))}
      {log.rejected.value.map((rejected) => (
        <RejectedRow key={rejected.id} client={client} rejected={rejected} />
      ))}
      <MutationList client={client} />
      <LogFoot client={client} />
    </aside>
  );
}

function LogHead({ client }: { client: Client }) {
  const count = useComputed(() => client.log.pending.value.length);
  return (
    <header class="log-head">
      <h3>Mutation log</h3>
      <span>{count.value === 0 ? 'empty' : `${count.value} pending`}</span>
    </header>
  );
}

/** The newest first: what is written drops in at the top, what is sent leaves at the bottom. */
function MutationList({ client }: { client: Client }) {
  const pending = client.log.pending.value;
  const settled = client.log.settled.value;
  if (pending.length + settled.length === 0) {
    return <p class="log-empty">Nothing waits. Every change made here has reached the server.</p>;
  }
  return (
    <ol class="log-rows">
      {pending
        .slice(-MAX_ROWS)
        .reverse()
        .map((mutation) => (
          <MutationRow key={mutation.id} client={client} mutation={mutation} state={mutation.state} />
        ))}
      {pending.length > MAX_ROWS && <li class="log-more">and {pending.length - MAX_ROWS} older ones, which go first</li>}
      {settled.toReversed().map(({ mutation }) => (
        <MutationRow key={mutation.id} client={client} mutation={mutation} state="settled" />
      ))}
    </ol>
  );
}

const STATES: Record<PendingMutation['state'] | 'settled', string> = {
  queued: 'queued',
  sent: 'sending',
  applied: 'applied',
  conflict: 'conflict',
  settled: 'synced',
};

/** What was sent and not answered: on its way, or the answer was lost and it goes once more. */
function stateText(client: Client, state: keyof typeof STATES): string {
  return state === 'sent' && client.syncLabel.value.tone !== 'busy' ? 'no answer' : STATES[state];
}

function MutationRow({ client, mutation, state }: { client: Client; mutation: PendingMutation; state: keyof typeof STATES }) {
  return (
    <li class={`mutation ${state}`} data-state={state}>
      <span class="sequence">{mutation.sequence}</span>
      <span class={`operation ${mutation.operation}`}>{mutation.operation}</span>
      <span class="what">
        <b>{titleOf(client, mutation)}</b>
        {mutation.operation === 'update' && <Changes data={mutation.data ?? {}} />}
      </span>
      <span class="state">
        {state === 'settled' ? <CheckIcon /> : <i class="dot" />}
        {stateText(client, state)}
      </span>
    </li>
  );
}

function Changes({ data }: { data: Record<string, JsonValue> }) {
  const names = Object.keys(data).filter((name) => name !== 'updated_at');
  const texts = names.map((name) => (name !== 'position' && isShort(data[name]) ? `${name}: ${data[name] ?? '–'}` : name));
  return <span class="changes">{texts.join(', ')}</span>;
}

function ConflictRow({ client, conflict }: { client: Client; conflict: Conflict }) {
  const mine = conflict.clientMutation.data ?? {};
  return (
    <article class="decision conflict">
      <h4>Two versions of “{shown(conflict.baseRecord?.['title'] ?? titleOf(client, conflict.clientMutation))}”</h4>
      <dl>
        {conflict.conflictingFields.map((name) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <span>Mine</span> {shown(mine[name])}
            </dd>
            <dd>
              <span>Theirs</span> {conflict.serverRecord ? shown(conflict.serverRecord[name]) : 'deleted'}
            </dd>
          </div>
        ))}
      </dl>
      <div class="row">
        <button type="button" class="button small" onClick={() => void client.resolve(conflict, 'mine')}>
          Keep mine
        </button>
        <button type="button" class="button small" onClick={() => void client.resolve(conflict, 'theirs')}>
          Take theirs
        </button>
      </div>
    </article>
  );
}

function RejectedRow({ client, rejected }: { client: Client; rejected: RejectedMutation }) {
  return (
    <article class="decision rejected">
      <h4>
        The server did not take this {rejected.mutation.operation} of “{titleOf(client, rejected.mutation)}”
      </h4>
      <p>{rejected.reason.replace(/^[A-Z_]+: /, '')}</p>
      <div class="row">
        <button type="button" class="button small" onClick={() => void client.retry(rejected)}>
          Retry
        </button>
        <button type="button" class="button small" onClick={() => void client.discard(rejected)}>
          Discard
        </button>
      </div>
    </article>
  );
}

function LogFoot({ client }: { client: Client }) {
  const text = useComputed(() => {
    const { leader, lastSyncedAt, error } = client.status.value;
    if (!leader) return 'another tab syncs';
    const synced = lastSyncedAt ? `synced ${new Date(lastSyncedAt).toLocaleTimeString()}` : 'not synced since opening';
    return `${error && client.network.on.value ? error.message : synced} · this tab syncs`;
  });
  const clientId = useComputed(() => client.status.value.clientId);
  return (
    <footer class="log-foot">
      <span title={text}>{text}</span>
      <code title={`client ${clientId.value}`}>{clientId.value.slice(-8)}</code>
    </footer>
  );
}

function titleOf(client: Client, mutation: PendingMutation): string {
  const title = mutation.data?.['title'] ?? client.titleOf(mutation.recordId);
  return typeof title === 'string' ? title : String(mutation.recordId);
}

function isShort(value: JsonValue | undefined): boolean {
  return typeof value !== 'object' ? String(value).length <= 24 : value === null;
}

function shown(value: JsonValue | undefined): string {
  if (value === undefined || value === null) return '–';
  return typeof value === 'object' ? JSON.stringify(value) : String(value);
}
