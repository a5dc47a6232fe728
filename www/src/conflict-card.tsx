import { useSignal } from '@preact/signals';
import { useRef } from 'preact/hooks';
import type { Conflict, Resolution } from 'objectql-offline';
import type { Client } from './client';
import { differences, firstChoice, mergedRecord, type Difference, type Side } from './conflict-sides';
import { fieldLabel, shownValue } from './fields';

const CAPTIONS: Record<Side, string> = { base: 'Before', mine: 'Mine', theirs: 'Theirs' };

const CHANGED_BY: Record<Difference['changedBy'], string> = { both: 'both changed it', mine: 'only you changed it', theirs: 'only they changed it' };

/** Two versions of a record, field by field, and the ways out: one's own, the other one, or the best of both. */
export function ConflictCard({ client, conflict }: { client: Client; conflict: Conflict }) {
  const card = useRef<HTMLElement>(null);
  const choices = useSignal<Record<string, Side>>({});
  const found = differences(conflict);
  const { baseRecord, serverRecord, clientMutation } = conflict;
  const isMergeable = serverRecord !== null && clientMutation.operation !== 'delete';

  const resolve = async (resolution: Resolution) => {
    const body = card.current!.closest<HTMLElement>('.panel-body');
    await client.inbox.resolve(conflict, resolution);
    // The button that had the focus goes with the card: whoever uses the keyboard goes on from the top of the inbox.
    body?.focus({ preventScroll: true });
  };

  const headingId = `${client.name}-conflict-${conflict.id}`;
  return (
    <article class="decision conflict" ref={card} aria-labelledby={headingId}>
      <h4 id={headingId}>
        Two versions of <q>{shownValue('title', baseRecord?.['title'] ?? client.titleOf(clientMutation))}</q>
      </h4>
      {serverRecord === null && <p>They deleted it while you changed it.</p>}
      {clientMutation.operation === 'delete' && <p>You deleted it while they changed it.</p>}
      {found.map((difference) => (
        <Field
          key={difference.name}
          difference={difference}
          group={`${headingId}-${difference.name}`}
          hasBase={baseRecord !== null}
          choice={isMergeable ? (choices.value[difference.name] ?? firstChoice(difference)) : undefined}
          onChoose={(side) => (choices.value = { ...choices.value, [difference.name]: side })}
        />
      ))}
      <div class="row">
        <button type="button" class="button small" onClick={() => void resolve('mine')}>
          Keep mine
        </button>
        <button type="button" class="button small" onClick={() => void resolve('theirs')}>
          Take theirs
        </button>
        {isMergeable && (
          <button
            type="button"
            class="button small primary"
            title="Keep what is chosen above"
            onClick={() => void resolve(mergedRecord(conflict, found, choices.value))}
          >
            Merge
          </button>
        )}
      </div>
    </article>
  );
}

interface FieldProps {
  difference: Difference;
  /** The name that its radio buttons share. */
  group: string;
  hasBase: boolean;
  /** Undefined where there is nothing to choose, because one side deleted the record. */
  choice: Side | undefined;
  onChoose: (side: Side) => void;
}

/** One field: what it was, what each side made of it, and which of them stays. */
function Field({ difference, group, hasBase, choice, onChoose }: FieldProps) {
  const { name, changedBy, suggested } = difference;
  const sides: Side[] = hasBase ? ['base', 'mine', 'theirs'] : ['mine', 'theirs'];
  return (
    <fieldset class="sides" data-field={name}>
      <legend>
        {fieldLabel(name)} {choice && <small>{CHANGED_BY[changedBy]}</small>}
      </legend>
      {sides.map((side) => (
        <label key={side} class={`side ${side}`}>
          <span class="side-caption">
            {choice && <input type="radio" name={group} value={side} checked={choice === side} onChange={() => onChoose(side)} />}
            {CAPTIONS[side]}
            {suggested === side && (
              <em title="The server would take this">
                suggested<span class="hidden"> by the server</span>
              </em>
            )}
          </span>
          <span class="side-value">{shownValue(name, difference[side])}</span>
        </label>
      ))}
    </fieldset>
  );
}
