// What a connection is subscribed to, and which subscription a message came by.

import { signal } from "@preact/signals";
import { matches } from "./topics.js";

export const COLOURS = 8; // of styles/layout.css, .colour-1 to .colour-8
const REMEMBERED = 5_000; // topics

/** One: { id, filter, qos, noLocal, retainAsPublished, retainHandling, colour, paused, state, granted, problem }. */
export class Subscriptions {
  #connection;
  #known = new Map(); // topic -> subscriptions that match it
  #counts = new Map(); // id -> messages
  #dropped = new Set(); // filters that the server's session may still have
  #last = 0;

  constructor(connection) {
    this.#connection = connection;
    this.list = signal([]);
  }

  /** Subscribe, at once or as soon as there is a connection. The same filter again replaces the old one. */
  add(wanted) {
    const old = this.list.value.find((each) => each.filter === wanted.filter);
    const id = ++this.#last;
    const colour = wanted.colour || old?.colour || ((id - 1) % COLOURS) + 1;
    const one = { paused: false, ...wanted, id, colour, state: "wanted", granted: null, problem: null };
    this.#set([...this.list.value.filter((each) => each !== old), one]);
    if (this.#connection.connected) this.#send(id);
  }

  remove(id) {
    const found = this.list.value.find((each) => each.id === id);
    if (!found) return;
    if (this.#connection.connected) this.#connection.unsubscribe(found.filter);
    else this.#dropped.add(found.filter);
    this.#counts.delete(id);
    this.#set(this.list.value.filter((each) => each.id !== id));
  }

  pause(id, paused) {
    this.#change(id, { paused });
  }

  paint(id, colour) {
    this.#change(id, { colour });
  }

  /** The connection is there. Where the server kept the session it has what was granted already. */
  opened(sessionPresent) {
    const wanted = new Set(this.list.value.map((each) => each.filter));
    for (const filter of this.#dropped) {
      if (sessionPresent && !wanted.has(filter)) this.#connection.unsubscribe(filter);
    }
    this.#dropped.clear();
    for (const each of this.list.value) {
      if (!(sessionPresent && each.granted !== null)) this.#send(each.id);
      else this.#change(each.id, { state: "granted" });
    }
  }

  closed() {
    this.#set(
      this.list.value.map((each) => (each.state === "refused" ? each : { ...each, state: "wanted" })),
    );
  }

  countOf(id) {
    return this.#counts.get(id) ?? 0;
  }

  /** The subscriptions that a message with this topic came by, each counting it. */
  received(topic) {
    const found = this.#of(topic);
    for (const each of found) this.#counts.set(each.id, this.countOf(each.id) + 1);
    return found;
  }

  #of(topic) {
    let found = this.#known.get(topic);
    if (found === undefined) {
      found = this.list.value.filter((each) => matches(each.filter, topic));
      if (this.#known.size >= REMEMBERED) this.#known.clear();
      this.#known.set(topic, found);
    }
    return found;
  }

  #send(id) {
    this.#change(id, { state: "pending", problem: null });
    const wanted = this.list.value.find((each) => each.id === id);
    this.#connection.subscribe(wanted, (problem, granted) => {
      this.#change(id, problem ? { state: "refused", problem, granted: null } : { state: "granted", granted });
    });
  }

  #change(id, changes) {
    this.#set(this.list.value.map((each) => (each.id === id ? { ...each, ...changes } : each)));
  }

  #set(list) {
    this.list.value = list;
    this.#known.clear();
  }
}
