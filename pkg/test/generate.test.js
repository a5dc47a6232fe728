// The command that turns *.object.yml files into a module: its output against golden files, its rules against protocol/src/object.rs.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FIELD_TYPES, readObject } from '../dist/generate/read.js';
import { checkNames } from '../dist/generate/write.js';

const here = fileURLToPath(new URL('.', import.meta.url));
const command = join(here, '..', 'bin', 'objectql-offline.js');
const scratch = mkdtempSync(join(tmpdir(), 'objectql-generate-'));
after(() => rmSync(scratch, { recursive: true }));

const run = (...args) => spawnSync(process.execPath, [command, ...args], { cwd: here, encoding: 'utf8' });

function problemsOf(yaml) {
  return readObject('x.object.yml', yaml, 'x').problems;
}

test('the output is the golden files', () => {
  for (const flags of [[], ['--js']]) {
    const { status, stderr } = run('generate', 'objects', '--out', scratch, ...flags);
    assert.equal(stderr, '');
    assert.equal(status, 0);
  }
  for (const name of readdirSync(join(here, 'golden'))) {
    assert.equal(readFileSync(join(scratch, name), 'utf8'), readFileSync(join(here, 'golden', name), 'utf8'), name);
  }
});

test('the definitions of the written module are those of the files', async () => {
  const { objects, user_group } = await import('./golden/index.js');
  assert.deepEqual(objects.map(({ name }) => name), ['delete', 'user_group', 'schema']);
  assert.ok(Object.hasOwn(user_group.fields, '__proto__'));
  assert.deepEqual([user_group.fields.state.defaultValue, user_group.fields.scores.defaultValue, user_group.fields.active.defaultValue], ['open', [1, 0.5], false]);
  assert.deepEqual(user_group.sync, { enabled: true, conflict_fields: ['name'], direction: 'push-only', batch_size: 10 });
});

test('a file that is right already is not written again', () => {
  run('generate', 'objects', '--out', scratch);
  const before = statSync(join(scratch, 'index.ts')).mtimeMs;
  run('generate', 'objects', '--out', scratch);
  assert.equal(statSync(join(scratch, 'index.ts')).mtimeMs, before);
});

test('a wrong definition is refused with its file, line and column', () => {
  const cases = [
    ['fields: { a: { type: nubmer } }', /^x\.object\.yml:1:22: field a: unknown type "nubmer"$/],
    ['fields:\n  a:\n    label: A', /^x\.object\.yml:2:3: field a: needs a type$/],
    ['fields:\n  a:', /:2:5: field a must be a mapping$/],
    ['fields:\n  a: { type: select }', /:2:3: field a: a select needs options$/],
    ['fields:\n  a: { type: select, options: [1] }', /:2:32: field a: an option must be text: put 1 in quotes$/],
    ['fields:\n  a: { type: select, options: [{ label: x }] }', /field a: an option needs a value$/],
    ['fields:\n  a: { type: lookup }', /field a: a lookup needs reference_to$/],
    ['fields:\n  a: { type: lookup, reference_to: a-b }', /field a: reference_to: "a-b" must be a letter or _/],
    ['fields:\n  a: { type: text, required: maybe }', /:2:30: field a: required must be true or false$/],
    [`fields:\n  ${'x'.repeat(129)}: { type: text }`, /its name must have 1 to 128 bytes$/],
    ['fields:\n  a: { type: number, defaultValue: .inf }', /:2:36: field a: defaultValue must be a value that JSON can hold$/],
    ['fields: []', /:1:9: fields must be a mapping$/],
    ['fields:', /:1:8: fields must be a mapping$/],
    ['indexes: { by_a: { fields: [a] } }', /:1:29: index by_a: there is no field "a"$/],
    ['indexes: { by_a: { fields: [] } }', /index by_a: needs fields$/],
    ['indexes: { by_a: { fields: a } }', /index by_a must be a list$/],
    ['sync: { conflict_fields: [a] }', /sync\.conflict_fields: there is no field "a"$/],
    ['sync: { strategy: lww }', /sync\.strategy must be one of last-write-wins, crdt, manual$/],
    ['sync: { direction: both }', /sync\.direction must be one of/],
    ['sync: { batch_size: 0 }', /sync\.batch_size must be a whole number from 1 to 10000$/],
    ['sync: { debounce_ms: 3600001 }', /sync\.debounce_ms must be a whole number from 0 to 3600000$/],
    ['sync: { debounce_ms: 1.5 }', /whole number/],
    ['name: 1a', /name: "1a" must be a letter/],
    ['a: 1\na: 2', /:2:1: Map keys must be unique$/],
    ['a: [', /^x\.object\.yml:1:\d+: /],
    ['', /^x\.object\.yml:1:1: the definition must be a mapping$/],
  ];
  for (const [yaml, message] of cases) {
    const problems = problemsOf(yaml);
    assert.equal(problems.length, 1, `${yaml}: ${problems.join('; ')}`);
    assert.match(problems[0], message);
  }
});

test('all that is wrong is told at once, and nothing is written', () => {
  const folder = mkdtempSync(join(scratch, 'wrong-'));
  writeFileSync(join(folder, 'a.object.yml'), 'fields: { a: { type: x }, b: { type: y } }');
  writeFileSync(join(folder, 'b.object.yml'), 'sync: 5');
  const { status, stderr } = run('generate', folder, '--out', join(folder, 'out'));
  assert.equal(status, 1);
  assert.equal(stderr.trim().split('\n').length, 3);
  assert.deepEqual(readdirSync(folder), ['a.object.yml', 'b.object.yml']);
});

test('a wrong call says how to call it', () => {
  for (const args of [[], ['make'], ['generate'], ['generate', 'objects'], ['generate', 'objects', '--to', 'x']]) {
    const { status, stderr } = run(...args);
    assert.equal(status, 2);
    assert.match(stderr, /Usage: objectql-offline generate/);
  }
  assert.equal(run('generate', scratch + '/none', '--out', scratch).status, 1);
  assert.match(execFileSync(process.execPath, [command, '--help'], { encoding: 'utf8' }), /^Usage/);
});

test('an alias is what it stands for', () => {
  const { object, problems } = readObject('x', 'fields: { a: &t { type: text, label: A }, b: *t }', 'x');
  assert.deepEqual(problems, []);
  assert.deepEqual(object.fields.b, { type: 'text', label: 'A' });
});

test('two objects with one interface are refused', () => {
  const [one, two] = ['user_group', 'userGroup'].map((name) => ({ file: `${name}.object.yml`, name, fields: {} }));
  assert.match(checkNames([one, two])[0], /userGroup and user_group of user_group\.object\.yml are both UserGroup/);
});

test('the field types are those of the protocol', () => {
  const rust = readFileSync(join(here, '../../protocol/src/object.rs'), 'utf8');
  const [, list] = rust.match(/FIELD_TYPES: &\[&str\] = &\[([^\]]*)\]/);
  assert.deepEqual([...FIELD_TYPES], list.match(/\w+/g));
});
