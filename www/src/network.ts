import { signal } from '@preact/signals';

/**
 * One client's own network, with a switch. While it is off, requests fail as they do in a tunnel; one that is under way is
 * cut, so its answer is lost and the driver cannot know whether the server applied it.
 *
 * The switch is kept over reloads and shared between tabs, since the tab that syncs need not be the one with the switch.
 */
export class Network {
  readonly on = signal(true);
  #cut = new AbortController();

  constructor(readonly storageKey: string) {
    this.on.value = localStorage.getItem(storageKey) !== 'off';
    addEventListener('storage', (event) => {
      if (event.key === storageKey) this.#set(event.newValue !== 'off');
    });
  }

  /** What the driver sends its requests with. */
  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    if (!this.on.value) throw new TypeError('the offline switch is on');
    const signals = [this.#cut.signal];
    if (init.signal) signals.push(init.signal);
    return fetch(url, { ...init, signal: AbortSignal.any(signals) });
  };

  toggle(): void {
    const on = !this.on.value;
    localStorage.setItem(this.storageKey, on ? 'on' : 'off');
    this.#set(on);
  }

  #set(on: boolean): void {
    this.on.value = on;
    if (!on) {
      this.#cut.abort(new TypeError('the offline switch was thrown'));
      this.#cut = new AbortController();
    }
  }
}
