import type { Story } from './generated';

/** Twelve stories to begin with, in the order of their columns. */
export const SEED: readonly Omit<Story, 'position' | 'id' | 'created_at' | 'updated_at'>[] = [
  {
    title: 'Write down what happens on a train',
    status: 'backlog',
    points: 2,
    assignee: 'Ada',
    description: 'Tunnel, two bars, tunnel again. Which edits must survive, and in which order do they arrive?',
  },
  { title: 'Label printer at the loading dock', status: 'backlog', points: 5, assignee: 'Grace' },
  { title: 'Let people attach a photo', status: 'backlog', points: 8, description: 'Taken offline, sent when there is Wi-Fi.' },
  { title: 'Count stock without a signal', status: 'backlog', points: 3, assignee: 'Edsger' },
  {
    title: 'Merge two shopping lists',
    status: 'in_progress',
    points: 5,
    assignee: 'Barbara',
    description: 'Both phones were offline. Nothing that either of them ticked may come back.',
  },
  { title: 'Keep the queue through a dead battery', status: 'in_progress', points: 3, assignee: 'Ada' },
  { title: 'Say when the last sync was', status: 'in_progress', points: 1, assignee: 'Grace' },
  { title: 'Open in under a second with 100,000 records', status: 'review', points: 8, assignee: 'Edsger' },
  { title: 'Explain a conflict in one sentence', status: 'review', points: 2, assignee: 'Barbara' },
  { title: 'Reload with the server switched off', status: 'done', points: 3, assignee: 'Ada' },
  { title: 'Two tabs, one log', status: 'done', points: 5, assignee: 'Edsger' },
  { title: 'Send each change exactly once', status: 'done', points: 8, assignee: 'Grace' },
];
