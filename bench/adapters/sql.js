// Shared by the SQL peers: the table, and records to columns and back.
export const COLS = ['id', 'title', 'status', 'priority', 'assignee', 'points', 'done', 'tags', 'notes', 'made_at', 'due_at'];
export const toRow = (d) => COLS.map((c) => (c === 'tags' ? JSON.stringify(d.tags) : c === 'done' ? +d.done : d[c]));
export const fromRow = (r) => ({ ...r, done: !!r.done, tags: JSON.parse(r.tags) });
export const MARKS = COLS.map(() => '?').join(',');
export const INSERT = `INSERT INTO task(${COLS}) VALUES (${MARKS})`;
