import { useComputed, useSignalEffect } from '@preact/signals';
import { useEffect, useRef, useState } from 'preact/hooks';
import { Board } from './board';
import type { Client } from './client';
import { CloseIcon, LogIcon, RedoIcon, UndoIcon, UpIcon } from './icons';
import { SidePanel } from './side-panel';
import { SyncBar } from './sync-bar';

/** A client: its state and switch, its board, and beside it the panel with its log, inbox and syncs. */
export function ClientPanel({ client }: { client: Client }) {
  const isShown = useComputed(() => client.panel.value !== null);
  const { undecided } = client.inbox;
  const toggle = () => client.show(isShown.value ? null : undecided.value > 0 ? 'inbox' : 'log');
  // A new question is not left behind a button; an old one may be.
  const asked = useRef(0);
  useSignalEffect(() => {
    if (undecided.value > asked.current) client.show('inbox');
    asked.current = undecided.value;
  });
  return (
    <section class="client" onKeyDown={(event) => revertByKey(client, event)} aria-label={client.label} data-client={client.name} data-network={client.network.on.value ? 'on' : 'off'}>
      <header class="client-bar">
        <h2>{client.label}</h2>
        <StatusPill client={client} />
        <PendingBadge client={client} />
        <span class="spacer" />
        <RevertButtons client={client} />
        <NetworkSwitch client={client} />
        <button
          type="button"
          class="button quiet log-toggle"
          aria-label="Log, inbox and syncs"
          aria-expanded={isShown.value}
          aria-controls={`${client.name}-panel`}
          onClick={toggle}
        >
          <LogIcon />
          <span class="wide-only">Log</span>
        </button>
      </header>
      <SyncBar client={client} />
      <div class="client-body">
        <Board client={client}>
          <ToastLine client={client} />
        </Board>
        {isShown.value && <SidePanel client={client} id={`${client.name}-panel`} />}
      </div>
      <Announcer client={client} />
    </section>
  );
}

function StatusPill({ client }: { client: Client }) {
  const { tone, text, retryAt } = client.syncLabel.value;
  return (
    <span class={`pill ${tone}`}>
      <i class="dot" />
      <span>{text}</span>
      {retryAt !== undefined && <Countdown to={retryAt} />}
    </span>
  );
}

/** The seconds to the next attempt. It ticks by itself, so that nothing around it is drawn again. */
function Countdown({ to }: { to: number }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 250);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.ceil((to - now) / 1_000);
  return <span class="countdown">{seconds > 0 ? `retry in ${seconds} s` : 'retrying'}</span>;
}

function PendingBadge({ client }: { client: Client }) {
  const count = useComputed(() => client.log.pending.value.length);
  if (count.value === 0) return null;
  return (
    <span class="badge" data-pending={count.value} title="Changes that are safe here and not yet on the server">
      <UpIcon />
      {count.value}
      <span class="wide-only"> pending</span>
      <span class="hidden"> changes wait to be synced</span>
    </span>
  );
}

function RevertButtons({ client }: { client: Client }) {
  const { undoable, redoable } = client.status.value;
  return (
    <div class="revert">
      <button type="button" class="button quiet icon-only" aria-label="Undo the last change" title="Undo (Ctrl+Z)" disabled={undoable === 0} onClick={() => client.revert('undo')}>
        <UndoIcon />
      </button>
      <button type="button" class="button quiet icon-only" aria-label="Redo the last change" title="Redo (Ctrl+Shift+Z)" disabled={redoable === 0} onClick={() => client.revert('redo')}>
        <RedoIcon />
      </button>
    </div>
  );
}

/** Ctrl+Z, and with Shift; in a field they are the field's. */
function revertByKey(client: Client, event: KeyboardEvent): void {
  const isField = event.target instanceof HTMLElement && event.target.matches('input, textarea, select');
  if (isField || !(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== 'z') return;
  event.preventDefault();
  void client.revert(event.shiftKey ? 'redo' : 'undo');
}

function NetworkSwitch({ client }: { client: Client }) {
  const on = client.network.on.value;
  return (
    <button type="button" role="switch" aria-checked={on} class="switch" aria-label={`Network of ${client.label}`} onClick={() => client.toggleNetwork()}>
      <span class="track">
        <span class="thumb" />
      </span>
      <span aria-hidden="true" class="switch-text">
        Network
      </span>
    </button>
  );
}

function ToastLine({ client }: { client: Client }) {
  const toast = client.toast.value;
  if (!toast) return null;
  return (
    <div class="toast">
      <span>{toast.text}</span>
      {toast.action && (
        <button type="button" class="toast-action" onClick={toast.action.run}>
          {toast.action.label}
        </button>
      )}
      <button type="button" class="toast-close" aria-label="Dismiss" onClick={() => client.dismissToast()}>
        <CloseIcon />
      </button>
    </div>
  );
}

/** Tells a screen reader what a person sees: commands, and the state of the sync where it matters. */
function Announcer({ client }: { client: Client }) {
  const state = useComputed(() => {
    const { tone, text } = client.syncLabel.value;
    if (tone === 'busy') return '';
    const waiting = client.log.pending.value.length;
    return waiting > 0 && tone !== 'good' ? `${text}, changes wait to be synced.` : `${text}.`;
  });
  return (
    <div class="hidden">
      <p aria-live="polite">{client.announcement}</p>
      <p role="status">{state}</p>
    </div>
  );
}
