import type { FieldDefinition } from 'objectql-offline';
import { DRIVER_FIELDS, type FieldType, type ReadObject } from './read.js';

const HEADER = `// Written by \`objectql-offline generate\` from *.object.yml files. Change those and run it again.\n`;

/** What a value of a field type is in TypeScript; a `select` says it by its options, a lookup by the object it refers to. */
const TYPES: { readonly [Type in FieldType]: string } = {
  text: 'string', textarea: 'string', markdown: 'string', html: 'string', code: 'string', email: 'string', phone: 'string', url: 'string',
  password: 'string', color: 'string', date: 'string', datetime: 'string', time: 'string', auto_number: 'string',
  number: 'number', integer: 'number', currency: 'number', percent: 'number', rating: 'number',
  boolean: 'boolean', select: 'string', lookup: 'Lookup', master_detail: 'Lookup',
  array: 'JsonValue[]', grid: 'JsonValue[]', vector: 'number[]', tags: 'string[]',
  object: 'JsonValue', json: 'JsonValue', location: 'JsonValue', formula: 'JsonValue', summary: 'JsonValue',
  image: 'JsonValue', file: 'JsonValue', avatar: 'JsonValue',
};

/** Names of the written module that an object's interface or constant cannot have. */
const TAKEN = new Set(['Schema', 'ObjectDefinition', 'JsonValue', 'Lookup', 'WithDefault', 'objects']);
const RESERVED = new Set(
  ('arguments async await break case catch class const continue debugger default delete do else enum eval export extends false ' +
    'finally for function if implements import in instanceof interface let new null package private protected public return ' +
    'static super switch this throw true try typeof undefined var void while with yield').split(' '),
);

/** Finds objects whose names, or whose interfaces' names, are the same. */
export function checkNames(objects: readonly ReadObject[]): string[] {
  const seen = new Map<string, ReadObject>();
  const problems: string[] = [];
  for (const object of objects) {
    const other = seen.get(interfaceName(object.name));
    if (other) problems.push(`${object.file}:1:1: the object ${object.name} and ${other.name} of ${other.file} are both ${interfaceName(object.name)}`);
    seen.set(interfaceName(object.name), object);
  }
  return problems;
}

/** The module as TypeScript, by file name. */
export function writeTypeScript(objects: readonly ReadObject[]): { [file: string]: string } {
  return {
    'index.ts': [
      HEADER + writeImports(objects),
      ...objects.map(writeInterface),
      writeSchema(objects),
      ...objects.map((object) => writeConstant(object, ': ObjectDefinition')),
      writeList(objects, ': ObjectDefinition[]'),
    ].join('\n'),
  };
}

/** The module as JavaScript and its declarations, by file name. */
export function writeJavaScript(objects: readonly ReadObject[]): { [file: string]: string } {
  const constants = objects.map(({ name }) => `export declare const ${constantName(name)}: ObjectDefinition;\n`);
  return {
    'index.js': [HEADER, ...objects.map((object) => writeConstant(object, '')), writeList(objects, '')].join('\n'),
    'index.d.ts': [
      HEADER + writeImports(objects),
      ...objects.map(writeInterface),
      writeSchema(objects),
      constants.join(''),
      `/** All of them, for \`openDatabase\`. */\nexport declare const objects: ObjectDefinition[];\n`,
    ].join('\n'),
  };
}

function writeImports(objects: readonly ReadObject[]): string {
  const types = objects.flatMap(({ fields }) => Object.values(fields).map(typeOf));
  const used = ['JsonValue', 'Lookup', 'ObjectDefinition', 'WithDefault'].filter((name) => {
    return name === 'ObjectDefinition' || types.some((type) => type.startsWith(name) || type.startsWith(`WithDefault<${name}`));
  });
  return `import type { ${used.join(', ')} } from 'objectql-offline';\n`;
}

function writeInterface({ name, label, fields }: ReadObject): string {
  const lines = Object.entries(fields)
    .filter(([field]) => !DRIVER_FIELDS.includes(field))
    .flatMap(([field, definition]) => [
      ...(definition.label ? [`  ${comment(definition.label)}`] : []),
      `  ${propertyName(field)}${definition.required ? '' : '?'}: ${typeOf(definition)}${definition.required ? '' : ' | null'};`,
    ]);
  return [...(label ? [comment(label)] : []), `export interface ${interfaceName(name)} {`, ...lines, '}', ''].join('\n');
}

function writeSchema(objects: readonly ReadObject[]): string {
  const lines = objects.map(({ name }) => `  ${propertyName(name)}: ${interfaceName(name)};`);
  return ['/** The records by object, for `openDatabase<Schema>`. */', 'export interface Schema {', ...lines, '}', ''].join('\n');
}

function writeConstant({ file: _, fields, ...object }: ReadObject, type: string): string {
  const definition = { name: object.name, label: object.label, fields, indexes: object.indexes, sync: object.sync };
  return `export const ${constantName(object.name)}${type} = ${literal(definition, '')};\n`;
}

function writeList(objects: readonly ReadObject[], type: string): string {
  const names = objects.map(({ name }) => constantName(name)).join(', ');
  return `/** All of them, for \`openDatabase\`. */\nexport const objects${type} = [${names}];\n`;
}

/** What is required and has a default need not be given: it is always there. */
function typeOf(definition: FieldDefinition): string {
  const type = plainTypeOf(definition);
  return definition.required && definition.defaultValue !== undefined ? `WithDefault<${type}>` : type;
}

function plainTypeOf({ type, options, multiple, reference_to: target }: FieldDefinition): string {
  const values = type === 'select' ? options?.map((option) => quoted(typeof option === 'string' ? option : option.value)) : undefined;
  const plain = TYPES[type as FieldType];
  const single = values ? [...new Set(values)].join(' | ') : plain === 'Lookup' ? `Lookup<${quoted(target ?? '')}>` : plain;
  if (!multiple) return single;
  return values && values.length > 1 ? `(${single})[]` : `${single}[]`;
}

/** `user_group` -> `UserGroup` */
function interfaceName(object: string): string {
  const words = object.split('_').filter((word) => word !== '');
  const name = words.map((word) => word.charAt(0).toUpperCase() + word.slice(1)).join('');
  if (!/^[A-Za-z]/.test(name)) return `_${name}`;
  return TAKEN.has(name) ? `${name}Record` : name;
}

function constantName(object: string): string {
  return TAKEN.has(object) || RESERVED.has(object) ? `${object}_object` : object;
}

function propertyName(name: string): string {
  return /^[A-Za-z_$][\w$]*$/.test(name) ? name : quoted(name);
}

/** Writes plain data as source. In a literal `__proto__: x` would set the prototype; in brackets it is a name like any other. */
function literal(value: unknown, indent: string): string {
  if (typeof value === 'string') return quoted(value);
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) return `[${value.map((item) => literal(item, indent)).join(', ')}]`;
  const entries = Object.entries(value).filter(([, inner]) => inner !== undefined);
  const inner = `${indent}  `;
  const written = entries.map(([name, field]) => {
    return `${name === '__proto__' ? `['__proto__']` : propertyName(name)}: ${literal(field, inner)}`;
  });
  const line = `{ ${written.join(', ')} }`;
  if (written.length === 0) return '{}';
  if (indent !== '' && !line.includes('\n') && inner.length + line.length < 110) return line;
  return `{\n${written.map((entry) => `${inner}${entry},\n`).join('')}${indent}}`;
}

function quoted(text: string): string {
  const inner = JSON.stringify(text).slice(1, -1).replaceAll('\\"', '"').replaceAll("'", "\\'");
  return `'${inner.replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')}'`;
}

function comment(text: string): string {
  return `/** ${text.replace(/\s+/g, ' ').replaceAll('*/', '* /')} */`;
}
