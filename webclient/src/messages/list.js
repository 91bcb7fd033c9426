// The messages of a connection and the ones of them that the filter lets through.

import { signal } from "@preact/signals";
import { matches } from "../mqtt/topics.js";
import { Ring } from "./ring.js";
import { searchable } from "./payload.js";

const MOST_BYTES = 128 << 20;
const FRAME = 100; // milliseconds between two looks of the view at the list

/** `tick` changes at most every FRAME milliseconds: a view reads it, and then `at` and `length`. */
export class MessageList {
  #shown = [];
  #head = 0;
  #timer = 0;
  #seq = 0;

  constructor(mostRows) {
    this.ring = new Ring(mostRows, MOST_BYTES);
    this.criteria = { topic: "", text: "", direction: "" };
    this.paused = 0; // messages of paused subscriptions, not listed
    this.received = 0;
    this.sent = 0;
    this.gone = 0; // shown rows that made room, since ever: how far the view's rows moved
    this.tick = signal(0);
  }

  get length() {
    return this.#shown.length - this.#head;
  }

  at(index) {
    return this.#shown[this.#head + index];
  }

  /** Where the row stands now, -1 where it is not shown. */
  indexOf(row) {
    let low = this.#head;
    let high = this.#shown.length - 1;
    while (low <= high) {
      const middle = (low + high) >> 1;
      const seq = this.#shown[middle].seq;
      if (seq === row.seq) return middle - this.#head;
      if (seq < row.seq) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  add(message) {
    const row = message;
    row.seq = ++this.#seq;
    row.time = Date.now();
    row.preview = null;
    if (row.direction === "in") this.received += 1;
    else this.sent += 1;
    this.ring.push(row);
    if (this.#fits(row)) this.#shown.push(row);
    this.#trim();
    this.touch();
    return row;
  }

  filter(criteria) {
    this.criteria = { ...this.criteria, ...criteria };
    this.#shown = [...this.ring].filter((row) => this.#fits(row));
    this.#head = 0;
    this.tick.value += 1;
  }

  resize(mostRows) {
    this.ring.resize(mostRows);
    this.#trim();
    this.touch();
  }

  clear() {
    this.ring.clear();
    this.#shown = [];
    this.#head = this.paused = this.received = this.sent = 0;
    this.tick.value += 1;
  }

  /** Something is new. */
  touch() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.tick.value += 1;
    }, FRAME);
  }

  *shown() {
    for (let index = this.#head; index < this.#shown.length; index += 1) yield this.#shown[index];
  }

  #trim() {
    const oldest = this.ring.oldest;
    while (this.#head < this.#shown.length && this.#shown[this.#head].seq < oldest.seq) {
      this.#shown[this.#head] = undefined;
      this.#head += 1;
      this.gone += 1;
    }
    if (this.#head > 1024 && this.#head * 2 > this.#shown.length) {
      this.#shown = this.#shown.slice(this.#head);
      this.#head = 0;
    }
  }

  #fits(row) {
    const { topic, text, direction } = this.criteria;
    if (direction && row.direction !== direction) return false;
    if (topic && !topicFits(topic, row.topic)) return false;
    return !text || searchable(row).includes(text.toLowerCase());
  }
}

/** A filter matches as the server would match; anything else has to be a part of the topic. */
function topicFits(wanted, topic) {
  return /[+#]/.test(wanted) ? matches(wanted, topic) : topic.toLowerCase().includes(wanted.toLowerCase());
}
