import { DownIcon, UpIcon } from './icons';
import type { Client } from './client';
import type { Sync, SyncRequest, Tally } from './sync-log';

/** The last syncs, the newest first: what went, what came, what the server said to it, and what that took. */
export function SyncTimeline({ client }: { client: Client }) {
  const syncs = client.syncs.syncs.value;
  return (
    <>
      <Wire client={client} />
      {syncs.length === 0 && <p class="panel-empty">No sync yet in this tab.</p>}
      <ol class="syncs">
        {syncs.map((sync) => (
          <SyncRow key={sync.id} sync={sync} />
        ))}
      </ol>
    </>
  );
}

/** How this tab learns of other clients' changes. */
function Wire({ client }: { client: Client }) {
  const { leader, realtime } = client.status.value;
  const { on } = client.network;
  const text = !on.value
    ? 'The network is switched off. Changes wait in the log.'
    : !leader
      ? 'Another tab of this client syncs and lists its requests.'
      : realtime
        ? 'Realtime: the server rings when somebody else changed something.'
        : 'No realtime connection: asks for changes from time to time.';
  return (
    <p class={realtime && on.value ? 'wire live' : 'wire'} data-realtime={realtime}>
      <i class="dot" />
      {text}
    </p>
  );
}

function SyncRow({ sync }: { sync: Sync }) {
  const { startedAt, endedAt, total, requests, error, times } = sync;
  const state = endedAt === null ? 'running' : error ? 'failed' : total.pushed + total.pulled === 0 ? 'quiet' : 'done';
  return (
    <li class={`sync ${state}`} data-sync={state} data-pushed={total.pushed} data-pulled={total.pulled} data-requests={requests.length}>
      <details>
        <summary>
          <i class="dot" />
          <time dateTime={new Date(startedAt).toISOString()}>{clock(startedAt)}</time>
          <span class="sync-what">{headline(sync)}</span>
          <span class="sync-cost">
            {times > 1 ? `× ${times}` : endedAt === null ? '…' : `${size(total.bytes)} · ${duration(endedAt - startedAt)}`}
          </span>
        </summary>
        <ol class="requests">
          {requests.map((request, index) => (
            <RequestRow key={index} request={request} index={index} sync={sync} />
          ))}
        </ol>
      </details>
      {state !== 'quiet' && <Verdicts tally={total} requests={requests.length} />}
      {error && (
        <p class="sync-error">
          {error.message} <code>{error.code}</code>
        </p>
      )}
    </li>
  );
}

function headline({ endedAt, requests, total, error }: Sync) {
  if (error) {
    const sent = requests.reduce((sum, request) => sum + request.sent, 0) - total.pushed;
    return sent > 0 ? `failed, ${sent} ${sent === 1 ? 'change' : 'changes'} kept` : 'failed';
  }
  if (endedAt !== null && total.pushed + total.pulled === 0) return 'nothing new';
  return <Traffic up={total.pushed} down={total.pulled} />;
}

function Traffic({ up, down }: { up: number; down: number }) {
  return (
    <>
      <span class="traffic" title={`${up} pushed`}>
        <UpIcon />
        {up}
        <span class="hidden"> pushed,</span>
      </span>
      <span class="traffic" title={`${down} pulled`}>
        <DownIcon />
        {down}
        <span class="hidden"> pulled</span>
      </span>
    </>
  );
}

/** A request, and when it was under way in the time that the whole sync took. */
function RequestRow({ request, index, sync }: { request: SyncRequest; index: number; sync: Sync }) {
  const end = request.endedAt ?? Date.now();
  const whole = Math.max(1, (sync.endedAt ?? end) - sync.startedAt);
  const bar = { left: `${(100 * (request.startedAt - sync.startedAt)) / whole}%`, width: `${(100 * (end - request.startedAt)) / whole}%` };
  return (
    <li class={request.isFailed ? 'request failed' : 'request'}>
      <span>{index + 1}</span>
      <span class="sync-what">
        <Traffic up={request.sent} down={request.pulled} />
        <span class="request-status">{outcome(request)}</span>
      </span>
      <span class="sync-cost">{request.endedAt === null ? '…' : `${size(request.bytes)} · ${duration(end - request.startedAt)}`}</span>
      <span class="span">
        <i style={bar} />
      </span>
    </li>
  );
}

function outcome({ endedAt, httpStatus, isFailed }: SyncRequest): string {
  if (httpStatus === null) return endedAt === null ? 'under way' : 'no answer';
  return isFailed || httpStatus !== 200 ? `answered ${httpStatus}` : '';
}

/** What the server said to the mutations of a sync, and in how many answers. */
function Verdicts({ tally, requests }: { tally: Tally; requests: number }) {
  const verdicts = [
    { count: tally.applied, word: 'applied', tone: 'good' },
    { count: tally.superseded, word: 'superseded', tone: 'warn' },
    { count: tally.conflicts, word: tally.conflicts === 1 ? 'conflict' : 'conflicts', tone: 'bad' },
    { count: tally.rejected, word: 'rejected', tone: 'bad' },
  ].filter(({ count }) => count > 0);
  if (verdicts.length === 0 && requests < 2) return null;
  return (
    <p class="verdicts">
      {verdicts.map(({ count, word, tone }) => (
        <span key={word} class={`verdict ${tone}`}>
          {count} {word}
        </span>
      ))}
      {requests > 1 && <span class="requests-count">in {requests} requests</span>}
    </p>
  );
}

function clock(time: number): string {
  return new Date(time).toLocaleTimeString();
}

function duration(millis: number): string {
  return millis < 1_000 ? `${Math.round(millis)} ms` : `${(millis / 1_000).toFixed(1)} s`;
}

function size(bytes: number): string {
  if (bytes < 1_000) return `${bytes} B`;
  return bytes < 1_000_000 ? `${(bytes / 1_000).toFixed(1)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}
