import { mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { basename, join, relative } from 'node:path';
import { parseArgs } from 'node:util';
import { readObject, type ReadObject } from './read.js';
import { checkNames, writeJavaScript, writeTypeScript } from './write.js';

const USAGE = `Usage: objectql-offline generate <objects-folder> --out <folder> [--js]

Turns the object definitions of a folder (*.object.yml) into a module for openDatabase:
<out>/index.ts with a constant and an interface per object, the list \`objects\` and the
interface \`Schema\`. An object's name is its file's, unless the file has a \`name\`.

  --out <folder>  where to write; made if it is not there
  --js            write index.js and index.d.ts instead of index.ts
  --help          show this text
`;

const ENDING = '.object.yml';

/** Runs the command; the exit code is 0 when it did what was asked, 1 when a definition is wrong, 2 for a wrong call. */
async function main(): Promise<number> {
  let call;
  try {
    call = parseArgs({
      allowPositionals: true,
      options: { out: { type: 'string' }, js: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
    });
  } catch (error) {
    return misuse((error as Error).message);
  }
  const { values, positionals } = call;
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const [command, folder, ...rest] = positionals;
  if (command !== 'generate') return misuse(command === undefined ? 'no command' : `there is no command ${command}`);
  if (folder === undefined || rest.length > 0) return misuse('generate takes one folder');
  if (values.out === undefined) return misuse('--out is missing');
  return await generate(folder, values.out, values.js);
}

async function generate(folder: string, out: string, asJavaScript: boolean): Promise<number> {
  const files = (await namesIn(folder)).filter((name) => name.endsWith(ENDING)).sort();
  if (files.length === 0) return failure([`${folder}: there is no *${ENDING} file`]);
  const objects: ReadObject[] = [];
  const problems: string[] = [];
  for (const name of files) {
    const file = relative('.', join(folder, name));
    const read = readObject(file, await readFile(join(folder, name), 'utf8'), basename(name, ENDING));
    problems.push(...read.problems);
    if (read.object) objects.push(read.object);
  }
  problems.push(...checkNames(objects));
  if (problems.length > 0) return failure(problems);
  await mkdir(out, { recursive: true });
  for (const [name, text] of Object.entries(asJavaScript ? writeJavaScript(objects) : writeTypeScript(objects))) {
    await writeIfChanged(join(out, name), text);
  }
  return 0;
}

async function namesIn(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}

/** Leaves a file that is right alone, so that whoever watches it does not build again. */
async function writeIfChanged(path: string, text: string): Promise<void> {
  const before = await readFile(path, 'utf8').catch(() => undefined);
  if (before !== text) await writeFile(path, text);
}

function failure(problems: string[]): number {
  for (const problem of problems) console.error(problem);
  return 1;
}

function misuse(problem: string): number {
  console.error(`objectql-offline: ${problem}\n\n${USAGE}`);
  return 2;
}

process.exitCode = await main();
