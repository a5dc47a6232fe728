import type { Story } from './generated';

/** A column of the board: a value of the story's `status`. */
export type Status = Story['status'];

/** The columns, left to right. */
export const COLUMNS: readonly { status: Status; label: string }[] = [
  { status: 'backlog', label: 'Backlog' },
  { status: 'in_progress', label: 'In progress' },
  { status: 'review', label: 'Review' },
  { status: 'done', label: 'Done' },
];

/** What a person calls a column. */
export function columnLabel(status: Status): string {
  return COLUMNS.find((column) => column.status === status)?.label ?? status;
}

/** The column beside another one; undefined at the edge. */
export function columnBeside(status: Status, step: -1 | 1): Status | undefined {
  return COLUMNS[COLUMNS.findIndex((column) => column.status === status) + step]?.status;
}
