// Written by `objectql-offline generate` from *.object.yml files. Change those and run it again.
import type { JsonValue, Lookup, ObjectDefinition, WithDefault } from 'objectql-offline';

export interface Delete {
}

/** A group * / of users */
export interface UserGroup {
  /** Name */
  name: string;
  owner?: Lookup<'user'> | null;
  kind: 'open' | 'it\'s';
  state: WithDefault<'open' | 'closed'>;
  scores: WithDefault<number[]>;
  active?: boolean | null;
  labels?: ('red' | 'blue')[] | null;
  members?: Lookup<'user'>[] | null;
  settings?: JsonValue | null;
  since?: string | null;
  rank?: number | null;
  __proto__?: boolean | null;
  'with space'?: number[] | null;
}

export interface SchemaRecord {
}

/** The records by object, for `openDatabase<Schema>`. */
export interface Schema {
  delete: Delete;
  user_group: UserGroup;
  schema: SchemaRecord;
}

export declare const delete_object: ObjectDefinition;
export declare const user_group: ObjectDefinition;
export declare const schema: ObjectDefinition;

/** All of them, for `openDatabase`. */
export declare const objects: ObjectDefinition[];
