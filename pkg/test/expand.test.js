// Related records in the rows of a query: against the real driver, on a log in memory, whose queries are counted.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { loadDriver } from '../dist/driver.js';
import { Databases } from '../dist/open.js';

const lookup = (reference_to, more = {}) => ({ type: 'lookup', reference_to, ...more });
const objects = [
  { name: 'user', fields: { name: { type: 'text' }, boss: lookup('user'), team: lookup('team') } },
  { name: 'story', fields: { title: { type: 'text' }, assignee: lookup('user'), watchers: lookup('user', { multiple: true }) } },
  { name: 'task', fields: { name: { type: 'text' }, story: { type: 'master_detail', reference_to: 'story' } } },
];
let db;
let queries;
let names = 0;

beforeEach(async () => {
  queries = [];
  const counted = async (...options) => {
    const real = await loadDriver(...options);
    const open = async (...settings) => {
      const driver = await real.open(...settings);
      const find = driver.find.bind(driver);
      driver.find = (object, json) => {
        queries.push([object, JSON.parse(json)]);
        return find(object, json);
      };
      return driver;
    };
    return { open, destroy: real.destroy.bind(real) };
  };
  db = await new Databases(counted).open({ name: `expand-${++names}`, storage: 'memory', objects });
});
afterEach(() => db.destroy());

const settle = () => new Promise((resolve) => setTimeout(resolve));
const fill = async (records) => { for (const [object, list] of Object.entries(records)) await db.bulkCreate(object, list); };
/** Rows without the times, deeply. */
const plain = (rows) => JSON.parse(JSON.stringify(rows, (key, value) => (/^(created|updated)_at$/.test(key) ? undefined : value)));
const refuses = async (query, code, message, object = 'story') => {
  await assert.rejects(db.find(object, query), (error) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, message);
    return true;
  });
  assert.throws(() => db.liveQuery(object, query), { code });
};

test('a lookup becomes the record that it refers to, or null', async () => {
  await fill({
    user: [{ id: 'ann', name: 'Ann' }, { id: 1, name: 'One' }, { id: '1', name: 'Text' }],
    story: [{ id: 'a', assignee: 'ann' }, { id: 'b', assignee: 1 }, { id: 'c', assignee: '1' }, { id: 'd', assignee: null }, { id: 'e', assignee: 'gone' }, { id: 'f' }, { id: 'g', assignee: true }],
  });
  const rows = await db.find('story', { expand: { assignee: true } });
  assert.deepEqual(plain(rows.map(({ id, assignee }) => [id, assignee])), [
    ['a', { id: 'ann', name: 'Ann' }], ['b', { id: 1, name: 'One' }], ['c', { id: '1', name: 'Text' }], ['d', null], ['e', null], ['f', null], ['g', null],
  ]);
  assert.equal(rows[0].assignee, await db.get('user', 'ann'));
  assert.deepEqual(Object.keys(rows[0]), ['id', 'assignee', 'created_at', 'updated_at']);
  assert.equal((await db.get('story', 'a')).assignee, 'ann');
  assert.equal((await db.findOne('story', { expand: { assignee: true } })).assignee.name, 'Ann');
});

test('a lookup of several becomes the records that are there, in the order of the ids', async () => {
  await fill({
    user: [{ id: 'ann' }, { id: 'ben' }],
    story: [{ id: 'a', watchers: ['ben', 'gone', 'ann', null] }, { id: 'b', watchers: [] }, { id: 'c' }, { id: 'd', watchers: 'ann' }, { id: 'e', assignee: ['ann'] }],
  });
  const rows = await db.find('story', { expand: { watchers: true, assignee: true } });
  assert.deepEqual(rows.map(({ watchers }) => watchers.map(({ id }) => id).join()), ['ben,ann', '', '', 'ann', '']);
  // As the value says, where the definition does not.
  assert.deepEqual(plain(rows.map(({ assignee }) => assignee)), [null, null, null, null, [{ id: 'ann' }]]);
});

test('the records that refer to a record come as an array under the name of their object', async () => {
  await fill({
    story: [{ id: 'a' }, { id: 'b' }],
    task: [{ id: 1, name: 'x', story: 'a' }, { id: 2, name: 'y', story: 'a' }, { id: 3, name: 'z' }],
  });
  for (const key of ['task', 'task.story']) {
    const rows = await db.find('story', { expand: { [key]: true } });
    assert.deepEqual(plain(rows), [{ id: 'a', [key]: [{ id: 1, name: 'x', story: 'a' }, { id: 2, name: 'y', story: 'a' }] }, { id: 'b', [key]: [] }]);
  }
});

test('where several fields refer to an object, the key says which one', async () => {
  await fill({ user: [{ id: 'ann' }], story: [{ id: 'a', assignee: 'ann' }, { id: 'b', watchers: ['ben', 'ann', 'ann'] }, { id: 'c', watchers: ['ben'] }] });
  const [ann] = await db.find('user', { expand: { 'story.assignee': { fields: ['title'] }, 'story.watchers': { fields: ['title'] } } });
  assert.deepEqual(plain(ann), { id: 'ann', 'story.assignee': [{ id: 'a' }], 'story.watchers': [{ id: 'b' }] });
  await refuses({ expand: { story: true } }, 'INVALID_QUERY', /^expand has "story", which several lookups lead to: use one of user, user\.boss, story\.assignee, story\.watchers, boss, team$/, 'user');
});

test('an object may refer to itself', async () => {
  await fill({ user: [{ id: 'ann' }, { id: 'ben', boss: 'ann' }, { id: 'cid', boss: 'ann' }] });
  const rows = await db.find('user', { expand: { boss: true, user: { fields: ['boss'] } } });
  assert.deepEqual(plain(rows), [
    { id: 'ann', boss: null, user: [{ id: 'ben', boss: 'ann' }, { id: 'cid', boss: 'ann' }] },
    { id: 'ben', boss: { id: 'ann' }, user: [] },
    { id: 'cid', boss: { id: 'ann' }, user: [] },
  ]);
});

test('related records are chosen, ordered, limited for each parent, and picked from', async () => {
  await fill({
    user: [{ id: 'ann', name: 'Ann' }, { id: 'ben', name: 'Ben' }],
    story: [{ id: 'a', title: 'A', assignee: 'ann' }, { id: 'b', title: 'B', assignee: 'ben' }],
    task: ['a', 'b'].flatMap((story) => [1, 2, 3, 4].map((n) => ({ id: `${story}${n}`, name: `n${n}`, story }))),
  });
  const tasks = { where: [['name', '!=', 'n4']], sort: '-name', limit: 2, fields: ['name'] };
  const rows = await db.find('story', { fields: ['title'], expand: { assignee: { where: { name: 'Ann' }, fields: ['name'] }, task: tasks } });
  assert.deepEqual(plain(rows), [
    { id: 'a', title: 'A', assignee: { id: 'ann', name: 'Ann' }, task: [{ id: 'a3', name: 'n3' }, { id: 'a2', name: 'n2' }] },
    { id: 'b', title: 'B', assignee: null, task: [{ id: 'b3', name: 'n3' }, { id: 'b2', name: 'n2' }] },
  ]);
  assert.deepEqual((await db.find('story', { expand: { task: { limit: 0 } } }))[0].task, []);
});

test('three levels are put in, and a fourth is refused', async () => {
  await fill({ user: [{ id: 'ann', boss: 'ben' }, { id: 'ben', boss: 'cid' }, { id: 'cid' }], story: [{ id: 'a', assignee: 'ann' }], task: [{ id: 1, story: 'a' }] });
  const levels = (count) => ({ expand: { story: { expand: { assignee: { expand: { boss: count === 3 ? true : { expand: { boss: true } } } } } } } });
  const [task] = await db.find('task', levels(3));
  assert.equal(task.story.assignee.boss.id, 'ben');
  assert.equal(task.story.assignee.boss.boss, 'cid');
  await refuses(levels(4), 'INVALID_QUERY', /deeper than 3 levels/, 'task');
  const cycle = {};
  cycle.expand = { boss: cycle };
  await refuses(cycle, 'INVALID_QUERY', /deeper than 3 levels/, 'user');
});

test('a level costs a query for each key and 256 ids, however many rows there are', async () => {
  const range = (count, make) => Array.from({ length: count }, (_, at) => make(at));
  await fill({
    user: range(600, (at) => ({ id: at, team: 't' })),
    story: range(1000, (at) => ({ id: `s${at}`, assignee: at % 600 })),
    task: range(1000, (at) => ({ id: at, story: `s${at}` })),
  });
  queries.length = 0;
  const rows = await db.find('story', { expand: { assignee: true, task: true } });
  assert.ok(rows.every(({ id, assignee, task }, at) => assignee.id === at % 600 && task[0].story === id && task.length === 1));
  assert.deepEqual(queries.map(([object, { where }]) => [object, Object.values(where ?? {}).map(({ $in }) => $in.length).join()]), [
    ['story', ''], ['user', '256'], ['user', '256'], ['user', '88'], ['task', '256'], ['task', '256'], ['task', '256'], ['task', '232'],
  ]);
});

test('a row stays the same object as long as its record and the related ones do', async () => {
  await fill({ user: [{ id: 'ann', name: 'Ann' }, { id: 'ben' }], story: [{ id: 'a', assignee: 'ann' }, { id: 'b', assignee: 'ben' }], task: [{ id: 1, story: 'a' }] });
  const query = () => ({ expand: { assignee: { fields: ['name'] }, task: true } });
  const [a, b] = await db.find('story', query());
  assert.ok([a, a.assignee, a.task].every(Object.isFrozen));
  assert.deepEqual((await db.find('story', { ...query(), orderBy: [{ field: 'id', order: 'desc' }] })).map((row) => row === a || row === b), [true, true]);
  await db.update('user', 'ann', { name: 'Anna' });
  const [a2, b2] = await db.find('story', query());
  assert.equal(b2, b);
  assert.notEqual(a2, a);
  assert.equal(a2.task[0], a.task[0]);
  assert.equal(a2.assignee.name, 'Anna');
  await db.create('task', { id: 2, story: 'b' });
  const [a3, b3] = await db.find('story', query());
  assert.equal(a3, a2);
  assert.equal(b3.task.length, 1);
  await db.create('task', { id: 3 });
  assert.equal((await db.find('story', query()))[1], b3);
});

test('a live query tells of related records that changed, and of nothing else', async () => {
  await fill({ user: [{ id: 'ann', name: 'Ann' }, { id: 'ben', name: 'Ben', boss: 'ann' }], story: [{ id: 'a', assignee: 'ben' }, { id: 'b' }], task: [{ id: 1, story: 'a' }] });
  const seen = [];
  const stop = db.liveQuery('story', { expand: { assignee: { expand: { boss: true } }, task: true } }).subscribe(({ rows, added, changed, removed }) => {
    seen.push({ rows, told: [added, changed, removed].map((list) => list.map(({ id }) => id).join('')).join('|') });
  });
  const told = async () => (await settle(), seen.splice(0).map((result) => result.told).join(' '));
  assert.equal(seen.length, 1);
  const [{ rows: [, b] }] = seen;
  assert.equal(await told(), 'ab||');
  await db.update('user', 'ann', { name: 'Anna' });
  await settle();
  assert.equal(seen[0].rows[0].assignee.boss.name, 'Anna');
  assert.equal(seen[0].rows[1], b);
  assert.equal(await told(), '|a|');
  await db.create('task', { id: 2, story: 'b' });
  assert.equal(await told(), '|b|');
  await db.delete('task', 1);
  assert.equal(await told(), '|a|');
  await db.create('task', { id: 3 });
  await db.create('user', { id: 'cid' });
  assert.equal(await told(), '');
  await db.update('story', 'a', { assignee: 'cid' });
  assert.equal(await told(), '|a|');
  await db.delete('story', 'b');
  assert.equal(await told(), '||b');
  stop();
  await db.update('user', 'cid', { name: 'Cid' });
  assert.equal(await told(), '');
});

test('whatever is written in whatever order, a live query has what a find has, and both what is put together by hand', async () => {
  let seed = 11;
  const random = (below) => ((seed = (Math.imul(seed, 1103515245) + 12345) >>> 0) >>> 16) % below;
  const id = () => random(6);
  const make = {
    user: () => ({ name: `n${random(3)}`, boss: [null, id()][random(2)] }),
    story: () => ({ assignee: [null, id(), id()][random(3)], watchers: [id(), id()].slice(random(3)) }),
    task: () => ({ name: `n${random(3)}`, story: id() }),
  };
  const query = { expand: { assignee: { expand: { boss: true } }, watchers: { where: { name: { $ne: 'n0' } } }, task: { where: { name: 'n1' } } } };
  let live;
  let results = 0;
  db.liveQuery('story', query).subscribe(({ rows }) => { live = rows; results++; });
  const byHand = async () => {
    const [users, stories, tasks] = await Promise.all(['user', 'story', 'task'].map((name) => db.find(name)));
    const user = (wanted) => users.find((one) => one.id === wanted) ?? null;
      return stories.map((story) => ({
      ...story,
      assignee: user(story.assignee) ? { ...user(story.assignee), boss: user(user(story.assignee).boss) } : null,
      watchers: story.watchers.map(user).filter((one) => one && one.name !== 'n0'),
      task: tasks.filter((task) => task.story === story.id && task.name === 'n1'),
    }));
  };
  for (let step = 0; step < 300; step++) {
    const object = ['user', 'story', 'task'][random(3)];
    const before = live;
    const [resultsBefore, textBefore] = [results, before.map((row) => JSON.stringify(row))];
    if (random(4) === 0) await db.delete(object, id());
    else await db.upsert(object, { id: id(), ...make[object]() });
    await settle();
    assert.deepEqual(plain(live), plain(await byHand()), `step ${step}`);
    const found = await db.find('story', query);
    assert.ok(found.every((row, at) => row === live[at]), `step ${step}`);
    // A row that is another object is so for a reason, and a result that is not new is none.
    for (const row of live) if (textBefore.includes(JSON.stringify(row))) assert.ok(before.includes(row), `step ${step}`);
    const isSame = before.length === live.length && before.every((row, at) => row === live[at]);
    assert.equal(results - resultsBefore, isSame ? 0 : 1, `step ${step}`);
  }
  assert.ok(results > 50, `${results}`);
});

test('a live query whose expansion cannot run tells so once, and is over', async () => {
  const failures = [];
  const query = { expand: { task: { where: { name: { $foo: 1 } } } } };
  db.liveQuery('story', query).subscribe(() => assert.fail(), (error) => failures.push(error.code));
  await db.create('story', { title: 'a' });
  await settle();
  assert.deepEqual(failures, ['INVALID_QUERY']);
});

test('what expand does not understand is refused, whatever the records are', async () => {
  await refuses({ expand: { title: true } }, 'INVALID_QUERY', /^expand has "title", but no lookup leads there from story: use one of task, task\.story, assignee, watchers$/);
  await refuses({ expand: { constructor: true } }, 'INVALID_QUERY', /no lookup leads there from story/);
  await refuses({ expand: { team: true } }, 'UNKNOWN_OBJECT', /^there is no object "team"/, 'user');
  await refuses({ expand: { x: true } }, 'UNKNOWN_OBJECT', /^there is no object "nothing"/, 'nothing');
  await refuses({ expand: { task: { expand: { x: true } } } }, 'INVALID_QUERY', /no lookup leads there from task: use one of story$/);
  for (const expand of ['assignee', ['assignee'], true]) await refuses({ expand }, 'INVALID_QUERY', /^expand must be an object such as/);
  for (const query of [false, null, 'x', [], 5]) await refuses({ expand: { assignee: query } }, 'INVALID_QUERY', /^a query must be true or an object/);
  for (const query of [{ limit: 1 }, { orderBy: [] }, { offset: 1 }, { object: 'task' }, { filter: {} }]) {
    await refuses({ expand: { assignee: query } }, 'INVALID_QUERY', /^expand\.assignee is for user, and takes fields, expand, where$/);
  }
  for (const query of [{ offset: 1 }, { limit: -1 }, { limit: 1.5 }, { limit: '1' }, { limit: null }]) {
    await refuses({ expand: { task: query } }, 'INVALID_QUERY', /^expand\.task is for task, and takes fields, expand, where, orderBy, limit$/);
  }
  await refuses({ expand: { task: { where: { name: undefined } } } }, 'INVALID_QUERY', /^where\.name is undefined/);
  // These are the driver's to refuse.
  for (const query of [{ where: { name: { $foo: 1 } } }, { orderBy: 'name' }]) {
    await assert.rejects(db.find('story', { expand: { task: query } }), { code: 'INVALID_QUERY' });
  }
  assert.deepEqual(await db.find('story', { expand: { assignee: { object: 'user' }, task: undefined } }), []);
});
