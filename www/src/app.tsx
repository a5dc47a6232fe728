import { signal } from '@preact/signals';
import { useState } from 'preact/hooks';
import { Client } from './client';
import { ClientPanel } from './client-panel';
import { BoardIcon } from './icons';

const SECOND_KEY = 'second-client';

const second = signal(localStorage.getItem(SECOND_KEY) === 'shown');

function toggleSecond(): void {
  second.value = !second.value;
  localStorage.setItem(SECOND_KEY, second.value ? 'shown' : 'hidden');
}

/** The page: one client, or two beside each other. */
export function App() {
  return (
    <>
      <header class="masthead">
        <h1>
          <BoardIcon /> Stories
        </h1>
        <p class="tagline">Switch the network off, keep working, even reload. Switch it on and watch the log drain.</p>
        <button type="button" class="button" aria-pressed={second.value} onClick={toggleSecond}>
          Second client
        </button>
      </header>
      <main class={second.value ? 'clients two' : 'clients'}>
        <OpenClient key="a" name="stories-a" label="Client A" />
        {second.value && <OpenClient key="b" name="stories-b" label="Client B" />}
      </main>
    </>
  );
}

type Opening = { state: 'opening' } | { state: 'open'; client: Client } | { state: 'failed'; error: unknown };

/** Clients stay open while their panel is hidden: a second client that is closed and opened again keeps its network switch. */
const openings = new Map<string, Promise<Client>>();

function OpenClient({ name, label }: { name: string; label: string }) {
  const [opening, setOpening] = useState<Opening>(() => {
    let promise = openings.get(name);
    if (!promise) openings.set(name, (promise = Client.open(name, label)));
    promise.then(
      (client) => setOpening({ state: 'open', client }),
      (error: unknown) => {
        openings.delete(name);
        setOpening({ state: 'failed', error });
      },
    );
    return { state: 'opening' };
  });
  switch (opening.state) {
    case 'opening':
      return <section class="client" aria-label={label} aria-busy="true" />;
    case 'open':
      return <ClientPanel client={opening.client} />;
    case 'failed':
      return (
        <section class="client" aria-label={label}>
          <div class="empty" role="alert">
            <h3>{label} could not open its database</h3>
            <p>{opening.error instanceof Error ? opening.error.message : String(opening.error)}</p>
            <button type="button" class="button" onClick={() => location.reload()}>
              Try again
            </button>
          </div>
        </section>
      );
  }
}
