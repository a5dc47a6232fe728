// results.json: every sample of the newest measurement of each peer. It is in the repository, so that the page and the document
// can be made without measuring, and anyone may look at the numbers behind a median.
import fs from 'node:fs';

/** Times have four significant digits: more would say nothing. */
const rounded = (_, value) => (typeof value === 'number' && !Number.isInteger(value) ? Number(value.toPrecision(4)) : value);

/** Writes them with a line for each peer, so that a peer that is measured again changes its own line only. */
export function writeResults(file, { peers, env, errors, ...rest }) {
  const lines = Object.entries(peers).map(([key, peer]) => `${JSON.stringify(key)}: ${JSON.stringify(peer, rounded)}`);
  const others = Object.entries({ env, ...rest, errors }).map(([key, value]) => `${JSON.stringify(key)}: ${JSON.stringify(value, rounded)}`);
  fs.writeFileSync(file, `{\n${others.join(',\n')},\n"peers": {\n${lines.join(',\n')}\n}\n}\n`);
}
