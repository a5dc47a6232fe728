// Written by `objectql-offline generate` from *.object.yml files. Change those and run it again.

export const delete_object = {
  name: 'delete',
  fields: {},
};

export const user_group = {
  name: 'user_group',
  label: 'A group */ of users',
  fields: {
    name: { type: 'text', label: 'Name', required: true, unique: true },
    owner: { type: 'lookup', reference_to: 'user' },
    kind: { type: 'select', required: true, options: ['open', { value: 'it\'s', label: 'Its' }, 'open'] },
    state: { type: 'select', required: true, options: ['open', 'closed'], defaultValue: 'open' },
    scores: { type: 'vector', required: true, defaultValue: [1, 0.5] },
    active: { type: 'boolean', defaultValue: false },
    labels: { type: 'select', multiple: true, options: ['red', 'blue'] },
    members: { type: 'lookup', multiple: true, reference_to: 'user' },
    settings: { type: 'json' },
    since: { type: 'date' },
    rank: { type: 'integer' },
    ['__proto__']: { type: 'boolean' },
    'with space': { type: 'vector' },
    created_at: { type: 'datetime' },
  },
  indexes: { by_name: { fields: ['name', 'created_at'], unique: true } },
  sync: { enabled: true, conflict_fields: ['name'], direction: 'push-only', batch_size: 10 },
};

export const schema = {
  name: 'schema',
  fields: {},
};

/** All of them, for `openDatabase`. */
export const objects = [delete_object, user_group, schema];
