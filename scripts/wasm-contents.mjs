// What a wasm file is made of: its sections, and its functions by name. Only the frame of the format is read.

const SECTIONS = ['custom', 'type', 'import', 'function', 'table', 'memory', 'global', 'export', 'start', 'element', 'code', 'data', 'data count', 'tag'];
const IMPORT = 2;
const CODE = 10;
/** In the custom section `name`: the names of functions. */
const FUNCTION_NAMES = 1;
/** Magic and version. */
const HEADER_BYTES = 8;

/**
 * The sections and functions of a module, each with its bytes; frames and headers included, so that the sections add up to the file.
 * A function without a name is called by its number.
 */
export function wasmContents(bytes) {
  if (bytes.length < HEADER_BYTES || bytes.readUInt32LE(0) !== 0x6d736100) throw new Error('this is no wasm file');
  const sections = [{ name: 'header', bytes: HEADER_BYTES }];
  const sizes = [];
  let names = new Map();
  let imported = 0;
  const reader = new Reader(bytes, HEADER_BYTES);
  while (!reader.isDone) {
    const from = reader.at;
    const id = reader.byte();
    const section = reader.part();
    if (id === IMPORT) imported = countImportedFunctions(section);
    if (id === CODE) for (let left = section.number(); left > 0; left -= 1) sizes.push(section.sizeOfPart());
    const title = id === 0 ? section.text() : SECTIONS[id];
    if (id === 0 && title === 'name') names = functionNames(section);
    sections.push({ name: title ?? `section ${id}`, bytes: reader.at - from });
  }
  const functions = sizes.map((size, at) => ({ name: names.get(imported + at) ?? `function ${imported + at}`, bytes: size }));
  return { sections, functions };
}

/** The crate that a function's code is from; of a method of a trait that of the type it is for. */
export function crateOf(name) {
  return pathOf(name)[0];
}

/** The module that a function is in, to a depth: `objectql_offline::engine::query`. */
export function moduleOf(name, depth = 3) {
  const path = pathOf(name);
  // What begins with a capital is a type, what comes last is the function.
  const end = path.findIndex((segment, at) => /^[A-Z_]/.test(segment) || at === path.length - 1);
  return path.slice(0, Math.min(Math.max(end, 1), depth)).join('::');
}

/** A name without what the compiler adds to tell it from others. */
export function plainName(name) {
  return name.replace(/::h[0-9a-f]{16}$/, '').replace(/\[[0-9a-f]{14,16}\]/g, '');
}

/** The bytes of what has the same key, the largest first. */
export function sumBy(functions, keyOf) {
  const sums = new Map();
  for (const { name, bytes } of functions) {
    const sum = sums.get(keyOf(name)) ?? { name: keyOf(name), bytes: 0, count: 0 };
    sum.bytes += bytes;
    sum.count += 1;
    sums.set(sum.name, sum);
  }
  return [...sums.values()].sort((one, two) => two.bytes - one.bytes);
}

/** The first path in a Rust name: in `<a::B as c::D>::e` that of the type, or of the trait where the type is no crate's. What has none is exported. */
function pathOf(name) {
  const path = /[a-z_]\w*(?:::\w+)+(?:::[<{])?/.exec(plainName(name))?.[0];
  if (path !== undefined) return path.split('::');
  return [name.startsWith('<') ? 'core' : 'exports'];
}

function functionNames(section) {
  const names = new Map();
  while (!section.isDone) {
    const kind = section.byte();
    const part = section.part();
    if (kind !== FUNCTION_NAMES) continue;
    for (let left = part.number(); left > 0; left -= 1) names.set(part.number(), part.text());
  }
  return names;
}

function countImportedFunctions(section) {
  let count = 0;
  for (let left = section.number(); left > 0; left -= 1) {
    section.text();
    section.text();
    const kind = section.byte();
    if (kind === 0) count += 1;
    // A table has a type and limits, a memory limits, a global a type and whether it changes, a tag a kind, and that and a function a type.
    if (kind === 1 || kind === 4) section.skip(1);
    if (kind === 1 || kind === 2) section.limits();
    else if (kind === 3) section.skip(2);
    else section.number();
  }
  return count;
}

class Reader {
  #bytes;
  #end;
  at;

  constructor(bytes, at, end = bytes.length) {
    this.#bytes = bytes;
    this.#end = end;
    this.at = at;
  }

  get isDone() {
    return this.at >= this.#end;
  }

  byte() {
    if (this.isDone) throw new Error('the wasm file ends too early');
    return this.#bytes[this.at++];
  }

  /** LEB128. */
  number() {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      const byte = this.byte();
      value += (byte & 127) * factor;
      if (byte < 128) return value;
    }
  }

  skip(count) {
    if (count > this.#end - this.at) throw new Error('the wasm file ends too early');
    this.at += count;
  }

  /** What follows its length. */
  part() {
    const length = this.number();
    const part = new Reader(this.#bytes, this.at, this.at + length);
    this.skip(length);
    return part;
  }

  sizeOfPart() {
    const from = this.at;
    this.part();
    return this.at - from;
  }

  text() {
    const length = this.number();
    this.skip(length);
    return this.#bytes.toString('utf8', this.at - length, this.at);
  }

  limits() {
    const hasMaximum = this.byte() & 1;
    this.number();
    if (hasMaximum) this.number();
  }
}
