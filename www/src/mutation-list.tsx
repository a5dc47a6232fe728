import type { JsonValue, MutationEntry } from 'objectql-offline';
import type { Client } from './client';
import { CheckIcon } from './icons';

/** The most rows drawn; a longer queue is counted. */
const MAX_ROWS = 80;

/** The newest first: what is written drops in at the top, what is sent leaves at the bottom. */
export function MutationList({ client }: { client: Client }) {
  const pending = client.log.pending.value;
  const settled = client.log.settled.value;
  if (pending.length + settled.length === 0) {
    return <p class="panel-empty">Nothing waits. Every change made here has reached the server.</p>;
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

const STATES: Record<MutationEntry['state'] | 'settled', string> = {
  queued: 'queued',
  sent: 'sending',
  applied: 'applied',
  conflict: 'conflict',
  rejected: 'rejected',
  superseded: 'superseded',
  settled: 'synced',
};

/** What was sent and not answered: on its way, or the answer was lost and it goes once more. */
function stateText(client: Client, state: keyof typeof STATES): string {
  return state === 'sent' && client.syncLabel.value.tone !== 'busy' ? 'no answer' : STATES[state];
}

function MutationRow({ client, mutation, state }: { client: Client; mutation: MutationEntry; state: keyof typeof STATES }) {
  return (
    <li class={`mutation ${state}`} data-state={state}>
      <span class="sequence">{mutation.sequence}</span>
      <span class={`operation ${mutation.operation}`}>{mutation.operation}</span>
      <span class="what">
        <b>{client.titleOf(mutation)}</b>
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

function isShort(value: JsonValue | undefined): boolean {
  return typeof value !== 'object' ? String(value).length <= 24 : value === null;
}
