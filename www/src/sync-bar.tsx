import { useComputed } from '@preact/signals';
import type { Client } from './client';

/** How much of what waits is through, while a sync runs that has anything to do. */
export function SyncBar({ client }: { client: Client }) {
  const progress = useComputed(() => {
    const sync = client.syncs.running.value;
    if (!sync) return undefined;
    const { pushed } = sync.total;
    const remaining = sync.remaining ?? sync.requests[0]?.sent ?? 0;
    if (pushed + remaining === 0 && !sync.hasMore) return undefined;
    // Of what comes from the server nobody knows how much it is.
    return { done: pushed, of: remaining > 0 ? pushed + remaining : undefined };
  });
  const shown = progress.value;
  if (!shown) return null;
  const { done, of } = shown;
  return (
    <div
      class={of === undefined ? 'sync-bar endless' : 'sync-bar'}
      role="progressbar"
      aria-label={`Sync of ${client.label}`}
      aria-valuemin={0}
      aria-valuemax={of}
      aria-valuenow={of === undefined ? undefined : done}
    >
      <i style={of === undefined ? undefined : { width: `${Math.max(4, (100 * done) / of)}%` }} />
    </div>
  );
}
