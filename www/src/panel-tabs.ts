/** What the panel beside the board shows. */
export type PanelTab = 'log' | 'inbox' | 'syncs';

/** The tabs, left to right. */
export const TABS: readonly { tab: PanelTab; label: string }[] = [
  { tab: 'log', label: 'Log' },
  { tab: 'inbox', label: 'Inbox' },
  { tab: 'syncs', label: 'Syncs' },
];

/** The tab that was shown last: the log unless something else is known; null where the panel was hidden. */
export function tabFrom(stored: string | null): PanelTab | null {
  if (stored === 'hidden') return null;
  return TABS.find(({ tab }) => tab === stored)?.tab ?? 'log';
}
