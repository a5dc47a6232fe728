import { useSignal } from '@preact/signals';
import { useLayoutEffect, useRef } from 'preact/hooks';
import type { JsonValue, RejectedMutation } from 'objectql-offline';
import type { Client } from './client';
import { definedFields, fieldDefinition, fieldLabel, fieldNames, fieldOptions, sameValue, shownValue, shownValues, type Values } from './fields';
import type { RejectedFamily } from './inbox';

/** A change that the server does not take: why, what it was, and what can be done. The reason is the server's text. */
export function RejectedCard({ client, family }: { client: Client; family: RejectedFamily }) {
  const card = useRef<HTMLElement>(null);
  const isEditing = useSignal(false);
  const { rejected, dependants } = family;
  const { mutation } = rejected;
  const { code, text } = splitReason(rejected.reason);

  const decide = async (decision: Promise<void>) => {
    const body = card.current!.closest<HTMLElement>('.panel-body');
    await decision;
    body?.focus({ preventScroll: true });
  };
  const stopEditing = () => {
    isEditing.value = false;
    card.current!.querySelector<HTMLElement>('button')?.focus();
  };

  const headingId = `${client.name}-rejected-${rejected.id}`;
  return (
    <article class="decision rejected" ref={card} aria-labelledby={headingId}>
      <h4 id={headingId}>
        Not taken: {mutation.operation} of <q>{client.titleOf(mutation)}</q>
      </h4>
      <p class="reason">
        {text} {code && <code>{code}</code>}
      </p>
      {isEditing.value ? (
        <EditForm mutation={mutation} group={headingId} onCancel={stopEditing} onRetry={(patch) => void decide(client.inbox.retry(family, patch))} />
      ) : (
        <>
          <ValueList values={mutation.data ?? {}} />
          <div class="row">
            <button type="button" class="button small" onClick={() => void decide(client.inbox.retry(family))}>
              Retry
            </button>
            {mutation.operation !== 'delete' && (
              <button type="button" class="button small" onClick={() => (isEditing.value = true)}>
                Edit
              </button>
            )}
            <button type="button" class="button small quiet" onClick={() => void decide(client.inbox.discard(family))}>
              Discard
            </button>
          </div>
        </>
      )}
      {dependants.length > 0 && <Dependants dependants={dependants} />}
    </article>
  );
}

function Dependants({ dependants }: { dependants: readonly RejectedMutation[] }) {
  return (
    <div class="dependants">
      <p>{dependants.length === 1 ? 'A later change goes with it:' : `${dependants.length} later changes go with it:`}</p>
      <ul>
        {dependants.map(({ id, mutation }) => (
          <li key={id}>
            <span class={`operation ${mutation.operation}`}>{mutation.operation}</span> {shownValues(mutation.data ?? {})}
          </li>
        ))}
      </ul>
    </div>
  );
}

function ValueList({ values }: { values: Values }) {
  const names = fieldNames(values).filter((name) => name !== 'position' && !sameValue(values[name], null));
  if (names.length === 0) return null;
  return (
    <dl>
      {names.map((name) => (
        <div key={name}>
          <dt>{fieldLabel(name)}</dt>
          <dd>{shownValue(name, values[name])}</dd>
        </div>
      ))}
    </dl>
  );
}

interface EditFormProps {
  mutation: RejectedMutation['mutation'];
  group: string;
  onCancel: () => void;
  onRetry: (patch: Values) => void;
}

/** The fields of the mutation; of a create all there are, since the one that is missing may be why it was not taken. */
function EditForm({ mutation, group, onCancel, onRetry }: EditFormProps) {
  const form = useRef<HTMLFormElement>(null);
  const data = mutation.data ?? {};
  const all = mutation.operation === 'create' ? [...new Set([...definedFields(), ...fieldNames(data)])] : fieldNames(data);
  const names = all.filter((name) => name !== 'position');
  useLayoutEffect(() => form.current!.querySelector<HTMLElement>('input, select, textarea')?.focus(), []);

  const submit = (event: SubmitEvent) => {
    event.preventDefault();
    const read = new FormData(form.current!);
    const values = names.map((name) => [name, valueFrom(name, String(read.get(name) ?? ''))] as const);
    onRetry(Object.fromEntries(values.filter(([name, value]) => !sameValue(value, data[name]))));
  };
  return (
    <form class="edit-form" ref={form} autocomplete="off" onSubmit={submit} onKeyDown={(event) => event.key === 'Escape' && onCancel()}>
      {names.map((name) => (
        <label key={name} htmlFor={`${group}-${name}`}>
          <span>{fieldLabel(name)}</span>
          <Input id={`${group}-${name}`} name={name} value={data[name]} />
        </label>
      ))}
      <div class="row">
        <button type="submit" class="button small primary">
          Save and retry
        </button>
        <button type="button" class="button small" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}

function Input({ id, name, value }: { id: string; name: string; value: JsonValue | undefined }) {
  const { type } = fieldDefinition(name);
  const text = value === undefined || value === null ? '' : String(value);
  if (type === 'select') {
    return (
      <select id={id} name={name}>
        {fieldOptions(name).map((option) => (
          <option key={option.value} value={option.value} selected={option.value === text}>
            {option.label}
          </option>
        ))}
      </select>
    );
  }
  if (type === 'textarea') return <textarea id={id} name={name} rows={2} defaultValue={text} />;
  if (type === 'number') return <input id={id} name={name} type="number" step="any" defaultValue={text} />;
  return <input id={id} name={name} type="text" defaultValue={text} />;
}

/** What was typed as a value of the field; nothing is null. */
function valueFrom(name: string, typed: string): JsonValue {
  const text = typed.trim();
  if (text === '') return null;
  return fieldDefinition(name).type === 'number' ? Number(text) : text;
}

/** Our server begins a reason with a code; others may not. */
function splitReason(reason: string): { code: string | undefined; text: string } {
  const [, code, text] = /^([A-Z_]+): (.*)$/s.exec(reason) ?? [];
  return { code, text: text ?? reason };
}
