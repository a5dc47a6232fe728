// What must compile, and with `@ts-expect-error` what must not. `tsc` is the test; nothing here runs.
import { type BulkUpdate, type Database, type Lookup, ObjectqlError, openDatabase, type RecordId, startDatabase, type Stored, type WithDefault } from 'objectql-offline';
import { objects, type Schema as Golden, type UserGroup } from '../golden/index.js';

interface Story {
  title: string;
  status: 'open' | 'done';
  points?: number | null;
  due?: string | null;
  tags?: string[];
}
interface Schema {
  story: Story;
  task: { name: string };
}

/** Compiles when both types are the same. */
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
const same = <A, B>(_: Same<A, B>): void => undefined;

const db = await openDatabase<Schema>({
  name: 'crm',
  objects,
  sync: { url: '/api/sync', headers: async () => ({ authorization: 'Bearer token' }), auto: false },
  onConflict: (conflict) => ({ ...conflict.serverRecord, ...conflict.clientMutation.data }),
});

await openDatabase({ name: 'crm', objects, worker: 'shared', workerUrl: '/worker.js' });
await openDatabase({ name: 'crm', objects, worker: 'dedicated', workerUrl: new URL('worker.js', import.meta.url) });
await openDatabase({ name: 'crm', objects, worker: false });
// @ts-expect-error there is no such worker
await openDatabase({ name: 'crm', objects, worker: 'service' });

const starting = startDatabase<Schema>({ name: 'crm', objects });
same<typeof starting, Database<Schema>>(true);
same<typeof starting.opened, Promise<void>>(true);

// Creating
const story = await db.create('story', { title: 'a', status: 'open', due: new Date() });
same<typeof story, Stored<Story>>(true);
same<typeof story.id, RecordId>(true);
await db.create('story', { id: 7, title: 'a', status: 'open' });
await db.bulkCreate('task', [{ name: 'a' }]);
await db.upsert('story', { id: 'a', title: 'a', status: 'open' });
// @ts-expect-error a required field is missing
await db.create('story', { title: 'a' });
// @ts-expect-error not one of the options
await db.create('story', { title: 'a', status: 'opened' });
// @ts-expect-error a Date does not go where there is no text
await db.create('story', { title: 'a', status: 'open', points: new Date() });
// @ts-expect-error there is no such field
await db.create('story', { title: 'a', status: 'open', color: 'red' });
// @ts-expect-error there is no such object
await db.create('stories', {});
// @ts-expect-error upsert goes by id
await db.upsert('task', { name: 'a' });

// Changing
await db.update('story', story.id, { points: null, due: new Date(), title: undefined });
// @ts-expect-error a required field cannot be cleared
await db.update('story', story.id, { title: null });
// @ts-expect-error the driver sets it
await db.update('story', story.id, { updated_at: 'now' });
same<Awaited<ReturnType<typeof db.delete>>, boolean>(true);

// Reading
const found = await db.get('story', 'a');
// @ts-expect-error there may be none
found.title;
const rows = await db.find('story', {
  where: { status: { $in: ['open'] }, points: { $gte: 3 }, due: { $lt: new Date() }, $or: [{ id: 'a' }, { $not: { title: 'b' } }], tags: null },
  orderBy: [{ field: 'created_at', order: 'desc' }],
  limit: 5,
});
same<(typeof rows)[number], Readonly<Stored<Story>>>(true);
const some = await db.find('story', { fields: ['title', 'updated_at'] });
some[0]?.title.length;
some[0]?.id;
// @ts-expect-error it was not asked for
some[0]?.status;
const one = await db.findOne('story', { fields: ['points'], where: { title: 'a' } });
same<NonNullable<typeof one>, Readonly<Pick<Stored<Story>, 'points' | 'id'>>>(true);
await db.count('story', { status: 'open' });
// @ts-expect-error there is no such field
await db.find('story', { where: { colour: 'red' } });
// @ts-expect-error not one of the options
await db.count('story', { status: 'opened' });
// @ts-expect-error there is no such field
await db.find('story', { fields: ['colour'] });
// @ts-expect-error there is no such field
await db.find('story', { orderBy: [{ field: 'colour' }] });
// @ts-expect-error findOne has a limit of its own
await db.findOne('story', { limit: 5 });

// The older forms
await db.find('story', { filters: [['status', '=', 'open'], 'and', ['points', '>', 2]], sort: [['created_at', 'desc'], 'title'], skip: 5 });
await db.find('story', { where: ['status', '=', 'open'], sort: '-title' });
await db.count('story', [['status', '=', 'open']]);
// @ts-expect-error there is no such field, also where an array could stand
await db.find('story', { where: { status: 'open', map: 'red' } });
// @ts-expect-error a filter is no text
await db.find('story', { where: 'open' });

// Searching
await db.find('story', { search: 'ship', searchFields: ['title'] });
await db.find('story', { search: { query: 'ship it', fields: ['title'], operator: 'and' }, where: { title: { $icontains: 'x' } } });
// @ts-expect-error there is no such field
await db.find('story', { search: 'ship', searchFields: ['colour'] });

// Aggregating
const groups = await db.aggregate('story', {
  where: { status: 'open' },
  groupBy: ['status', 'points', { field: 'created_at', dateGranularity: 'month', alias: 'month' }, { field: 'due', alias: 'deadline' }],
  aggregations: [
    { function: 'count', alias: 'n', filter: { points: { $gt: 1 } } },
    { function: 'sum', field: 'points', alias: 'total' },
    { function: 'avg', field: 'points', alias: 'mean' },
    { function: 'max', field: 'due', alias: 'last' },
    { function: 'string_agg', field: 'title', alias: 'titles', separator: ', ' },
    { function: 'array_agg', field: 'status', alias: 'all' },
  ],
  having: { n: { $gt: 2 } },
  orderBy: [{ field: 'n', order: 'desc' }],
});
same<(typeof groups)[number]['status'], 'open' | 'done'>(true);
same<(typeof groups)[number]['points'], number | null>(true);
same<(typeof groups)[number]['month'], string | null>(true);
same<(typeof groups)[number]['deadline'], string | null>(true);
same<(typeof groups)[number]['n'], number>(true);
same<(typeof groups)[number]['total'], number>(true);
same<(typeof groups)[number]['mean'], number | null>(true);
same<(typeof groups)[number]['last'], string | null>(true);
same<(typeof groups)[number]['titles'], string>(true);
same<(typeof groups)[number]['all'], ('open' | 'done')[]>(true);
// @ts-expect-error it is neither a group nor an alias
groups[0]?.title;
// @ts-expect-error there is no such field
await db.aggregate('story', { groupBy: ['colour'] });
// @ts-expect-error there is no such function
await db.aggregate('story', { aggregations: [{ function: 'median', field: 'points', alias: 'm' }] });
// @ts-expect-error an aggregation needs a name
await db.aggregate('story', { aggregations: [{ function: 'count' }] });
// @ts-expect-error there is no such part
await db.aggregate('story', { groupBy: ['status'], fields: ['status'] });
const statuses = await db.distinct('story', 'status', { points: { $gt: 1 } });
same<typeof statuses, ('open' | 'done')[]>(true);
same<Awaited<ReturnType<typeof distinctPoints>>, number[]>(true);
const distinctPoints = () => db.distinct('story', 'points');
// @ts-expect-error there is no such field
await db.distinct('story', 'colour');
const change: BulkUpdate<Story> = { id: 'a', data: { points: null } };

// Live queries and events
const stop: () => void = db.liveQuery('story', { where: { status: 'open' } }).subscribe(({ rows, added }) => [rows[0]?.title, added.length]);
for await (const { rows } of db.liveQuery('task', { fields: ['name'] })) same<typeof rows, readonly Readonly<Pick<Stored<{ name: string }>, 'name' | 'id'>>[]>(true);
db.on('status', ({ state, pending }) => [state === 'idle', pending > 0]);
db.on('error', (error) => error instanceof ObjectqlError && error.code === 'QUOTA_EXCEEDED');
// @ts-expect-error there is no such event
db.on('statuses', () => undefined);
// @ts-expect-error there is no such state
db.status.state === 'online';
// @ts-expect-error there is no such code
db.on('error', (error) => error.code === 'QUOTA');

// Conflicts
await db.resolveConflict('id', 'theirs');
// @ts-expect-error whose side, or a record
await db.resolveConflict('id', 5);
// @ts-expect-error as above
await openDatabase({ name: 'crm', objects: [], onConflict: () => 5 });

// Without a schema, any object with any fields; what is read is unknown
const loose = await openDatabase({ name: 'loose', objects: [{ name: 'note', fields: { text: { type: 'text' } } }] });
const note = await loose.create('note', { text: 'a', at: new Date(), more: { deep: [1] } });
same<typeof note.id, RecordId>(true);
same<typeof note.text, unknown>(true);
await loose.find('note', { where: { text: { $startsWith: 'a' } }, orderBy: [{ field: 'text' }] });

// What the generator writes is a schema
const generated: Database<Golden> = await openDatabase<Golden>({ name: 'golden', objects });
const group: Stored<UserGroup> = await generated.create('user_group', { name: 'a', kind: "it's", labels: ['red'] });
// @ts-expect-error not one of the options
await generated.create('user_group', { name: 'a', kind: 'open', labels: ['green'] });
// What is required and has a default may be left out, and is there.
await generated.create('user_group', { name: 'a', kind: 'open', state: 'closed', scores: [1, 2] });
const state: 'open' | 'closed' = group.state;
const scores: number[] = group.scores;
await generated.update('user_group', group.id, { state: state === 'open' ? 'closed' : 'open', scores: [...scores, 3] });
// @ts-expect-error not one of the options
await generated.create('user_group', { name: 'a', kind: 'open', state: 'ajar' });
const defaulted = await openDatabase<{ door: { state: WithDefault<'open' | 'closed'>; marks: WithDefault<string[]>; width: number } }>({ name: 'doors', objects });
await defaulted.create('door', { width: 1 });
await defaulted.bulkCreate('door', [{ width: 1, state: 'open', marks: ['a'] }]);
const [door] = await defaulted.find('door', { where: { state: 'open' }, orderBy: [{ field: 'state' }] });
const marks: readonly string[] | undefined = door?.marks;
console.log(marks);
// @ts-expect-error what has no default is missing
await defaulted.create('door', { state: 'open' });
// @ts-expect-error not one of the options
await defaulted.find('door', { where: { state: 'ajar' } });
const [anyGroup] = await generated.find('user_group', { where: { kind: 'open', settings: { $null: false } }, orderBy: [{ field: 'name' }] });
same<NonNullable<typeof anyGroup>['settings'], UserGroup['settings']>(true);
const labelled = await generated.findOne('user_group', { fields: ['labels'] });
same<NonNullable<typeof labelled>['labels'], UserGroup['labels']>(true);
generated.liveQuery('user_group').subscribe(({ rows }) => rows.map(({ settings }) => settings));
// @ts-expect-error what it refers to is not in the schema
await generated.find('user_group', { expand: { owner: true } });
// @ts-expect-error any JSON is no lookup
await generated.find('user_group', { expand: { settings: true } });

// Migrations
await openDatabase<Schema>({
  name: 'crm',
  objects,
  migrations: {
    story: {
      2: { record: ({ name, ...rest }) => ({ ...rest, title: name ?? 'none' }) },
      3: { mutation: ({ operation, data }) => (operation === 'create' ? { ...data, points: 1 } : data) },
      4: {},
    },
  },
});
// @ts-expect-error a migration returns at once
await openDatabase<Schema>({ name: 'crm', objects, migrations: { story: { 2: { record: async (record) => record } } } });
// @ts-expect-error and it returns something
await openDatabase<Schema>({ name: 'crm', objects, migrations: { story: { 2: { record: () => undefined } } } });

// Lookups
interface Linked {
  user: { name: string; boss?: Lookup<'user'> | null };
  ticket: { title: string; assignee?: Lookup<'user'> | null; watchers?: Lookup<'user'>[] | null; team?: Lookup<'team'> | null };
  note: { ticket: Lookup<'ticket'>; text: string; author: RecordId };
}
const linked = await openDatabase<Linked>({ name: 'linked', objects: [] });
const ann = await linked.create('user', { name: 'Ann' });
const ticket = await linked.create('ticket', { title: 'a', assignee: ann.id, watchers: [ann.id, 'other'] });
await linked.update('ticket', ticket.id, { assignee: null });
await linked.create('note', { ticket: ticket.id, text: 'a', author: 7 });
await linked.find('note', { where: { ticket: ticket.id, author: { $in: ['a', 7] } } });
// @ts-expect-error it is the id of a user
await linked.create('note', { ticket: ticket.assignee!, text: 'a', author: 7 });
// @ts-expect-error it is an id, not text
await linked.update('ticket', ticket.id, { assignee: new Date() });
const userOfTicket: RecordId | null | undefined = ticket.assignee;

// Related records in the place of their ids, and those that refer to a record
const plain = await linked.find('ticket', { where: { title: 'a' } });
same<(typeof plain)[number], Readonly<Stored<Linked['ticket']>>>(true);
const expanded = await linked.find('ticket', { expand: { assignee: true, watchers: { fields: ['name'] }, note: { where: { text: 'a' }, orderBy: [{ field: 'text' }], limit: 5 } } });
for (const { id, title, assignee, watchers, note } of expanded) {
  same<typeof id, RecordId>(true);
  same<typeof title, string>(true);
  same<typeof assignee, Readonly<Stored<Linked['user']>> | null>(true);
  same<typeof watchers, readonly Readonly<Pick<Stored<Linked['user']>, 'name' | 'id'>>[]>(true);
  same<typeof note, readonly Readonly<Stored<Linked['note']>>[]>(true);
}
const deep = await linked.findOne('note', { fields: ['text'], expand: { ticket: { expand: { assignee: { expand: { boss: true } } } } } });
deep?.ticket?.assignee?.boss?.name.length;
deep?.ticket?.title.length;
// @ts-expect-error there may be none
deep?.ticket.title;
// @ts-expect-error it was not asked for
deep?.author;
// @ts-expect-error it was not expanded
deep?.ticket?.assignee?.boss?.boss?.name;
for await (const { rows } of linked.liveQuery('user', { expand: { 'ticket.assignee': { limit: 3 }, user: true } })) {
  rows[0]?.['ticket.assignee'][0]?.title.length;
  rows[0]?.user[0]?.name.length;
}
// @ts-expect-error it refers to nothing that is in the schema
await linked.find('ticket', { expand: { team: true } });
// @ts-expect-error it is no lookup
await linked.find('ticket', { expand: { assignee: true, title: true } });
// @ts-expect-error its type does not say what it refers to
await linked.find('note', { expand: { author: true } });
// @ts-expect-error two lookups of tickets lead to a user
await linked.find('user', { expand: { ticket: true } });
// @ts-expect-error a record has one assignee
await linked.find('ticket', { expand: { assignee: { limit: 5 } } });
// @ts-expect-error there is no such field
await linked.find('ticket', { expand: { assignee: { fields: ['colour'] } } });
// @ts-expect-error there is no such key, a level below
await linked.find('note', { expand: { ticket: { expand: { assignee: true, colour: true } } } });
// @ts-expect-error there is no such object
await linked.liveQuery('note', { expand: { colour: true } });

// Without a schema, anything may lead anywhere
const looseRows = await loose.find('note', { expand: { author: true, comment: { where: { done: false }, limit: 3 } } });
same<(typeof looseRows)[number]['comment'], unknown>(true);
same<(typeof looseRows)[number]['id'], RecordId>(true);
