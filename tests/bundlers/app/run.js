// The app that every bundler gets: it writes a note, closes, opens again, and tells what it finds.
import { openDatabase } from 'objectql-offline';

const objects = [{ name: 'note', fields: { text: { type: 'text' } } }];

/** The notes' texts, after all was closed and opened again. */
export async function run(options) {
  const open = () => openDatabase({ name: 'notes', objects, ...options });
  const first = await open();
  await first.create('note', { text: 'Kept' });
  await first.close();
  const second = await open();
  const notes = await second.find('note');
  await second.close();
  return notes.map(({ text }) => text).join();
}

/** Shows it in the page; the page's fragment says where the driver is to be: nothing, or a kind of worker. */
export function show(options) {
  const worker = location.hash.slice(1) || false;
  const tell = (text) => { document.title = text; };
  run({ worker, ...options }).then(tell, (error) => tell(`${error.code}: ${error.message}`));
}
