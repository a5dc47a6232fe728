// The documents name tests as `file :: name`, and link to each other: what they name must be there.
import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../..', import.meta.url));
const read = (file) => readFileSync(join(root, file), 'utf8');
const documents = [
  ...['README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md', 'CHANGELOG.md', 'protocol/README.md', 'server/README.md', 'pkg/README.md'],
  ...readdirSync(join(root, 'docs')).filter((name) => name.endsWith('.md')).map((name) => `docs/${name}`),
];

/** The names of the tests in a file: Rust functions under a test attribute or in `proptest!`, and calls of `test`. */
function testsOf(file) {
  const text = read(file);
  if (!file.endsWith('.rs')) {
    return [...text.matchAll(/^\s*test\((['`])((?:(?!\1)[^\\]|\\.)*)\1/gm)].map(([, , name]) => name.replaceAll('\\', ''));
  }
  return [...text.matchAll(/#\[(?:tokio::)?test(?:\([^\]]*\))?\]\s*(?:#\[[^\]]*\]\s*)*(?:async )?fn (\w+)/g)].map(([, name]) => name);
}

test('every test that a document names exists', () => {
  const wrong = [];
  let count = 0;
  for (const document of documents) {
    for (const [, file, name] of read(document).matchAll(/`([\w./-]+\.(?:rs|m?js)) :: ([^`]+)`/g)) {
      count += 1;
      if (!existsSync(join(root, file))) wrong.push(`${document}: there is no ${file}`);
      else if (!testsOf(file).includes(name)) wrong.push(`${document}: there is no test "${name}" in ${file}`);
    }
  }
  assert.deepEqual(wrong, []);
  assert.ok(count > 50, `only ${count} tests are named: is the notation another one now?`);
});

test('every link between documents leads somewhere', () => {
  const wrong = [];
  for (const document of documents) {
    for (const [, target, anchor] of prose(document).matchAll(/\]\(([^)#\s]*)(?:#([^)\s]*))?\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const file = target === '' ? document : relative(root, join(root, dirname(document), target));
      if (!existsSync(join(root, file))) wrong.push(`${document}: ${target}`);
      else if (anchor !== undefined && !anchorsOf(file).includes(anchor)) wrong.push(`${document}: ${target}#${anchor}`);
    }
  }
  assert.deepEqual(wrong, []);
});

/** A document without its code. */
function prose(document) {
  return read(document).replaceAll(/^```[\s\S]*?^```/gm, '');
}

/** The anchors of a document's headings, as GitHub makes them. */
function anchorsOf(document) {
  const headings = [...prose(document).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => heading.replaceAll(/\[([^\]]*)\]\([^)]*\)/g, '$1'));
  return headings.map((heading) => heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, '').trim().replaceAll(/\s/g, '-'));
}
