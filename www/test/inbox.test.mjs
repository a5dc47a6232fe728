// What a sync leaves to a person: conflicts, changes that the server does not take, and values that lost to later ones.
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { addStories, beginWith, cardIn, client, columnHolds, drained, edit, eventually, networkSwitch, openTab, page } from './page.mjs';

test('a conflict shows both versions of each field, and the keyboard merges them', async () => {
  await apart('Printer', { points: '2' });
  await edit('b', 'Printer', { title: 'Printer of B', points: '3' });
  await edit('a', 'Printer', { title: 'Printer of A', points: '8' });
  await drained('a');
  await networkSwitch('b').click();

  await sidesAre('b', 'title', { base: 'Printer', mine: 'Printer of B', theirs: 'Printer of A' });
  await sidesAre('b', 'points', { base: '2', mine: '3', theirs: '8' });
  assert.equal(await field('b', 'title').locator('.side:has(em)').getAttribute('class'), 'side theirs', 'the suggestion is marked');

  await field('b', 'title').getByRole('radio', { checked: true }).focus();
  await page.keyboard.press('ArrowLeft');
  assert.equal(await field('b', 'title').getByRole('radio', { checked: true }).inputValue(), 'mine');
  await client('b').getByRole('button', { name: 'Merge' }).press('Enter');
  await client('b').locator('.panel-body:focus').waitFor();
  await client('b').getByText('Nothing waits for you').waitFor();
  for (const letter of ['a', 'b']) {
    await columnHolds(letter, 'backlog', ['Printer of B']);
    await eventually(`points of ${letter}`, () => cardIn(letter, 'backlog', 'Printer of B').locator('.points').allTextContents(), ['8']);
  }
  await drained('b');
});

test('one version of a conflict is taken as it is, and is what the other client has', async () => {
  await apart('Printer', {});
  await edit('b', 'Printer', { title: 'Printer of B' });
  await edit('a', 'Printer', { title: 'Printer of A' });
  await drained('a');
  await networkSwitch('b').click();
  await client('b').getByRole('button', { name: 'Take theirs' }).click();
  await columnHolds('b', 'backlog', ['Printer of A']);
  await drained('b');
  await columnHolds('a', 'backlog', ['Printer of A']);
});

test('a story that one side deleted and the other changed is made again or deleted, as is decided', async () => {
  await beginWith({ changeObject: (text) => text.replace('enabled: true', 'enabled: true\n  strategy: manual') });
  await apart('Printer', {});
  await addStories('b', 'backlog', ['Scanner']);
  await networkSwitch('b').click();
  await columnHolds('a', 'backlog', ['Printer', 'Scanner']);
  // The switch cuts a request under way: the answer has to be here.
  await drained('b');
  await networkSwitch('b').click();
  await edit('b', 'Printer', { points: '3' });
  await cardIn('b', 'backlog', 'Scanner').press('Delete');
  await columnHolds('b', 'backlog', ['Printer']);
  await edit('a', 'Scanner', { points: '8' });
  await cardIn('a', 'backlog', 'Printer').press('Delete');
  await columnHolds('a', 'backlog', ['Scanner']);
  await drained('a');
  await networkSwitch('b').click();

  const changed = client('b').getByRole('article', { name: /Printer/ });
  await changed.getByText('They deleted it while you changed it.').waitFor();
  assert.equal(await changed.getByRole('button', { name: 'Merge' }).count(), 0, 'there is nothing to merge with');
  await changed.getByRole('button', { name: 'Keep mine' }).click();
  const deleted = client('b').getByRole('article', { name: /Scanner/ });
  await deleted.getByText('You deleted it while they changed it.').waitFor();
  await deleted.getByRole('button', { name: 'Keep mine' }).click();
  for (const letter of ['a', 'b']) await columnHolds(letter, 'backlog', ['Printer']);
  await drained('b');
});

test('a story that the server does not take is exported, completed and sent again with what was changed later', async () => {
  // The app is older than the server: it does not know that somebody must be responsible.
  await beginWith({ changeObject: (text) => text.replace('label: Assignee', 'label: Assignee\n    required: true') });
  await networkSwitch('a').click();
  await addStories('a', 'backlog', ['Lift <b>now</b>', 'Stairs']);
  await edit('a', 'Lift <b>now</b>', { points: '5' });
  await networkSwitch('a').click();

  const lift = client('a').getByRole('article', { name: 'Lift <b>now</b>' });
  await lift.getByText('the field "assignee" is required').waitFor();
  await lift.locator('.dependants').getByText('Points: 5').waitFor();
  const [download] = await Promise.all([page.waitForEvent('download'), client('a').getByRole('link', { name: /Export 3/ }).click()]);
  assert.equal(download.suggestedFilename(), 'stories-a-rejected.json');
  const exported = JSON.parse(await readFile(await download.path(), 'utf8'));
  // They are in the order in which they were rejected, which hangs on what went in one batch.
  const bySequence = exported.map(({ mutation }) => mutation).sort((one, other) => one.sequence - other.sequence);
  assert.deepEqual(bySequence.map(({ data }) => data.title ?? data.points), ['Lift <b>now</b>', 'Stairs', 5]);

  const first = await lift.getAttribute('aria-labelledby');
  await lift.getByRole('button', { name: 'Retry' }).click();
  // The same again, as another mutation.
  await client('a').locator(`article.rejected:not([aria-labelledby="${first}"])`, { hasText: 'Points: 5' }).waitFor();
  await lift.getByText('the field "assignee" is required').waitFor();
  await lift.getByRole('button', { name: 'Edit' }).press('Enter');
  await page.keyboard.press('End');
  await page.keyboard.type('!');
  await lift.getByLabel('Assignee').fill('Ada');
  await page.keyboard.press('Enter');
  await columnHolds('a', 'backlog', ['Lift <b>now</b>!']);
  assert.deepEqual(await cardIn('a', 'backlog', 'Lift <b>now</b>!').locator('.points').allTextContents(), ['5']);

  await client('a').getByRole('article', { name: /Stairs/ }).getByRole('button', { name: 'Discard' }).click();
  await client('a').getByText('Nothing waits for you').waitFor();
  await drained('a');
});

test('values that lost to a later change are told quietly, and can be put back', async () => {
  await apart('Printer', { points: '2' });
  await edit('b', 'Printer', { points: '3' });
  await edit('a', 'Printer', { points: '8' });
  await drained('a');
  await networkSwitch('b').click();

  await client('b').getByRole('button', { name: 'Show' }).click();
  const notice = client('b').locator('.notice');
  await notice.getByText('3 → 8').waitFor();
  await drained('b');
  await page.reload();
  await client('b').getByRole('tab', { name: 'Inbox', selected: true }).waitFor();
  await notice.getByRole('button', { name: 'Put mine back' }).click();
  await notice.waitFor({ state: 'detached' });
  for (const letter of ['a', 'b']) {
    await eventually(`points of ${letter}`, () => cardIn(letter, 'backlog', 'Printer').locator('.points').allTextContents(), ['3']);
  }
});

test('the inbox fits a phone and is reached with the arrow keys', async () => {
  await apart('A label printer for the loading dock', {});
  await edit('b', 'A label printer for the loading dock', { title: 'Labels are printed where the lorries stand' });
  await edit('a', 'A label printer for the loading dock', { title: 'A_very_long_word_without_any_place_to_break_it' });
  await drained('a');
  await networkSwitch('b').click();
  await client('b').locator('.decision').waitFor();
  await page.setViewportSize({ width: 360, height: 740 });
  const overflow = await client('b').locator('.panel-body').evaluate((body) => body.scrollWidth - body.clientWidth);
  assert.equal(overflow, 0, 'nothing is cut off or scrolls sideways');

  await client('b').getByRole('tab', { name: 'Inbox' }).focus();
  await page.keyboard.press('ArrowRight');
  await client('b').getByRole('tab', { name: 'Syncs', selected: true }).and(page.locator(':focus')).waitFor();
  await openTab('b', 'Log');
  await client('b').locator('.mutation.conflict').waitFor();
});

/** One story on both clients; then the second one goes offline. */
async function apart(title, fields) {
  await addStories('a', 'backlog', [title]);
  if (Object.keys(fields).length > 0) await edit('a', title, fields);
  await drained('a');
  await page.getByRole('button', { name: 'Second client' }).click();
  await columnHolds('b', 'backlog', [title]);
  await networkSwitch('b').click();
}

function field(letter, name) {
  return client(letter).locator(`.sides[data-field=${name}]`);
}

async function sidesAre(letter, name, expected) {
  const read = async () => {
    const texts = Object.keys(expected).map((side) => field(letter, name).locator(`.side.${side} .side-value`).allTextContents());
    return (await Promise.all(texts)).flat();
  };
  await eventually(`${name} of ${letter}`, read, Object.values(expected));
}
