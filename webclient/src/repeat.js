// Sends on an interval, until it is stopped.

import { signal } from "@preact/signals";

export const FASTEST = 10; // milliseconds

export class Repeater {
  #timer = 0;

  constructor() {
    this.count = signal(null); // how many were sent; null: not running
  }

  /** `send` answers whether it sent. */
  start(send, milliseconds) {
    this.stop();
    this.count.value = 0;
    const once = () => {
      if (send()) this.count.value += 1;
    };
    once();
    this.#timer = setInterval(once, Math.max(milliseconds, FASTEST));
  }

  stop() {
    clearInterval(this.#timer);
    this.count.value = null;
  }
}
