import type { Status } from 'objectql-offline';

/** What the status pill shows. */
export interface SyncLabel {
  tone: 'good' | 'busy' | 'off' | 'warn' | 'bad';
  text: string;
  /** When the next attempt follows, in milliseconds since the epoch; the pill counts down to it. */
  retryAt?: number;
}

/** Puts a status into words. */
export function syncLabel(status: Status, switchedOn: boolean): SyncLabel {
  if (status.state === 'unauthorized') return { tone: 'bad', text: 'Sign in again' };
  if (status.state === 'storage-failed') return { tone: 'bad', text: status.error?.code === 'QUOTA_EXCEEDED' ? 'No room left' : 'Storage fails' };
  if (status.state === 'closed') return { tone: 'bad', text: 'Closed' };
  if (!switchedOn) return { tone: 'off', text: 'Offline' };
  switch (status.state) {
    case 'opening':
      return { tone: 'busy', text: 'Opening' };
    case 'local':
      return { tone: 'good', text: 'Kept here' };
    case 'retrying':
      return { tone: 'warn', text: 'No connection', ...(status.retryAt && { retryAt: Date.parse(status.retryAt) }) };
    case 'waiting':
    case 'syncing':
      if (status.pending > status.conflicts || status.lastSyncedAt === null) return { tone: 'busy', text: 'Syncing' };
      // Falls through: a poll with nothing to push is not worth a flicker.
    case 'idle':
      if (status.pending > status.conflicts) return { tone: 'busy', text: 'Waiting' };
      if (status.conflicts + status.rejected > 0) return { tone: 'bad', text: 'Needs you' };
      if (!status.durable) return { tone: 'warn', text: 'Not kept here' };
      return { tone: 'good', text: 'Synced' };
  }
}
