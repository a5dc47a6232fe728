import { useEffect, useMemo } from 'preact/hooks';
import type { SupersededMutation } from 'objectql-offline';
import type { Client } from './client';
import { ConflictCard } from './conflict-card';
import { fieldLabel, fieldNames, shownValue } from './fields';
import { RejectedCard } from './rejected-card';

/** What waits for a decision, and below it, quietly, what lost to later changes. */
export function InboxPanel({ client }: { client: Client }) {
  const conflicts = client.log.conflicts.value;
  const families = client.inbox.families.value;
  const superseded = client.inbox.superseded.value;
  if (conflicts.length + families.length + superseded.length === 0) {
    return (
      <p class="panel-empty">
        Nothing waits for you. Two names for one story end up here, and so do changes that the server does not take and values that
        a later change won over.
      </p>
    );
  }
  return (
    <>
      {conflicts.map((conflict) => (
        <ConflictCard key={conflict.id} client={client} conflict={conflict} />
      ))}
      {families.map((family) => (
        <RejectedCard key={family.rejected.id} client={client} family={family} />
      ))}
      {families.length > 0 && <ExportLink client={client} />}
      {superseded.map((each) => (
        <SupersededNote key={each.id} client={client} superseded={each} />
      ))}
    </>
  );
}

/** All that was rejected, as the driver tells it: for a bug report, or to keep before it is discarded. */
function ExportLink({ client }: { client: Client }) {
  const rejected = client.log.rejected.value;
  const url = useMemo(() => URL.createObjectURL(new Blob([JSON.stringify(rejected, null, 2)], { type: 'application/json' })), [rejected]);
  useEffect(() => () => URL.revokeObjectURL(url), [url]);
  return (
    <p class="export">
      <a href={url} download={`${client.name}-rejected.json`}>
        Export {rejected.length === 1 ? 'the rejected change' : `${rejected.length} rejected changes`} as JSON
      </a>
    </p>
  );
}

/** No question: the strategy has decided. But nobody should find out by chance, and the values are here to be put back. */
function SupersededNote({ client, superseded }: { client: Client; superseded: SupersededMutation }) {
  const { lost, serverRecord, mutation } = superseded;
  const title = serverRecord?.['title'] ?? client.titleOf(mutation);
  return (
    <article class="notice superseded">
      <h4>
        {lost ? 'A later change won over yours' : 'What you deleted is back'}: <q>{String(title)}</q>
      </h4>
      {lost && (
        <dl>
          {fieldNames(lost).map((name) => (
            <div key={name}>
              <dt>{fieldLabel(name)}</dt>
              <dd>
                <del>{shownValue(name, lost[name])}</del>
                {serverRecord && <> → {shownValue(name, serverRecord[name])}</>}
              </dd>
            </div>
          ))}
        </dl>
      )}
      {!serverRecord && <p>The story was deleted, and your change with it.</p>}
      <div class="row">
        {serverRecord && (
          <button type="button" class="button small" onClick={() => void client.inbox.putBack(superseded)}>
            {lost ? 'Put mine back' : 'Delete again'}
          </button>
        )}
        <button type="button" class="button small quiet" onClick={() => client.inbox.dismiss(superseded)}>
          Fine
        </button>
      </div>
    </article>
  );
}
