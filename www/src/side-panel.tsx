import { useComputed } from '@preact/signals';
import { useRef } from 'preact/hooks';
import type { Client } from './client';
import { InboxPanel } from './inbox-panel';
import { MutationList } from './mutation-list';
import { TABS, type PanelTab } from './panel-tabs';
import { SyncTimeline } from './sync-timeline';

/** Beside the board, or below it: the mutation log, what waits for a decision, and the last syncs. */
export function SidePanel({ client, id }: { client: Client; id: string }) {
  const tab = client.panel.value ?? 'log';
  return (
    <aside class={`panel ${tab}-tab`} id={id} aria-label={`Log, inbox and syncs of ${client.label}`}>
      <Tabs client={client} id={id} selected={tab} />
      <div key={tab} class="panel-body" id={`${id}-${tab}`} role="tabpanel" aria-labelledby={`${id}-tab-${tab}`} tabIndex={-1}>
        {tab === 'log' && <MutationList client={client} />}
        {tab === 'inbox' && <InboxPanel client={client} />}
        {tab === 'syncs' && <SyncTimeline client={client} />}
      </div>
      <PanelFoot client={client} />
    </aside>
  );
}

/** One tab is in the tab order; arrow keys go to the others. */
function Tabs({ client, id, selected }: { client: Client; id: string; selected: PanelTab }) {
  const list = useRef<HTMLDivElement>(null);
  const onKeyDown = (event: KeyboardEvent) => {
    const index = TABS.findIndex(({ tab }) => tab === selected);
    const next = { ArrowLeft: index - 1, ArrowRight: index + 1, Home: 0, End: TABS.length - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    const { tab } = TABS[(next + TABS.length) % TABS.length]!;
    client.show(tab);
    list.current!.querySelector<HTMLElement>(`#${CSS.escape(`${id}-tab-${tab}`)}`)!.focus();
  };
  return (
    <div class="tabs" role="tablist" aria-label={`Panel of ${client.label}`} ref={list} onKeyDown={onKeyDown}>
      {TABS.map(({ tab, label }) => (
        <button
          key={tab}
          type="button"
          role="tab"
          id={`${id}-tab-${tab}`}
          aria-selected={tab === selected}
          aria-controls={tab === selected ? `${id}-${tab}` : undefined}
          tabIndex={tab === selected ? 0 : -1}
          onClick={() => client.show(tab)}
        >
          {label}
          <TabCount client={client} tab={tab} />
        </button>
      ))}
    </div>
  );
}

function TabCount({ client, tab }: { client: Client; tab: PanelTab }) {
  const { log, inbox } = client;
  if (tab === 'log') return log.pending.value.length > 0 ? <span class="tab-count"> {log.pending.value.length}</span> : null;
  if (tab === 'syncs') return null;
  const undecided = inbox.undecided.value;
  if (undecided > 0) return <span class="tab-count bad"> {undecided}</span>;
  return inbox.superseded.value.length > 0 ? <span class="tab-count"> {inbox.superseded.value.length}</span> : null;
}

function PanelFoot({ client }: { client: Client }) {
  const text = useComputed(() => {
    const { leader, lastSyncedAt, error } = client.status.value;
    if (!leader) return 'another tab syncs';
    const synced = lastSyncedAt ? `synced ${new Date(lastSyncedAt).toLocaleTimeString()}` : 'not synced since opening';
    return `${error && client.network.on.value ? error.message : synced} · this tab syncs`;
  });
  const clientId = useComputed(() => client.status.value.clientId);
  return (
    <footer class="panel-foot">
      <span title={text}>{text}</span>
      <code title={`client ${clientId.value}`}>{clientId.value.slice(-8)}</code>
    </footer>
  );
}
