// What must compile, and with `@ts-expect-error` what must not. `tsc` is the test; nothing here runs.
import { type Database, ObjectqlError, openDatabase, type RecordId, type Stored } from 'objectql-offline';
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
