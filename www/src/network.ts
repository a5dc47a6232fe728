import { signal } from '@preact/signals';

/** Hears of every request that a client sends: of its body, and later of how far it came. */
export type RequestObserver = (body: Uint8Array) => { answered: (status: number) => void; failed: (error: unknown) => void };

/**
 * One client's own network, with a switch. While it is off, requests fail as they do in a tunnel; one that is under way is
 * cut, so its answer is lost and the driver cannot know whether the server applied it.
 *
 * The switch is kept over reloads and shared between tabs, since the tab that syncs need not be the one with the switch.
 */
export class Network {
  readonly on = signal(true);
  observe: RequestObserver | undefined;
  #cut = new AbortController();

  constructor(readonly storageKey: string) {
    this.on.value = localStorage.getItem(storageKey) !== 'off';
    addEventListener('storage', (event) => {
      if (event.key === storageKey) this.#set(event.newValue !== 'off');
    });
  }

  /** What the driver sends its requests with. */
  readonly fetch = async (url: string, init: RequestInit): Promise<Response> => {
    const request = this.observe?.(init.body instanceof Uint8Array ? init.body : new Uint8Array());
    try {
      const response = await this.#send(url, init);
      request?.answered(response.status);
      return response;
    } catch (error) {
      request?.failed(error);
      throw error;
    }
  };

  toggle(): void {
    const on = !this.on.value;
    localStorage.setItem(this.storageKey, on ? 'on' : 'off');
    this.#set(on);
  }

  async #send(url: string, init: RequestInit): Promise<Response> {
    if (!this.on.value) throw new TypeError('the offline switch is on');
    const signals = [this.#cut.signal];
    if (init.signal) signals.push(init.signal);
    return fetch(url, { ...init, signal: AbortSignal.any(signals) });
  }

  #set(on: boolean): void {
    this.on.value = on;
    if (!on) {
      this.#cut.abort(new TypeError('the offline switch was thrown'));
      this.#cut = new AbortController();
    }
  }
}
