// A connection as the page knows it: its settings, its state, its subscriptions, its messages; over as many
// links (mqtt/link.js) as the network takes to keep it.

import { signal } from "@preact/signals";
import mqtt from "mqtt";
import { MessageList } from "../messages/list.js";
import { openLink } from "./link.js";
import { fetchToken } from "./operator.js";
import { backoff } from "./retry.js";
import { Subscriptions } from "./subscriptions.js";

const RENEW_BEFORE = 30_000; // milliseconds before a token ends
const OPERATOR_SESSION = 60; // seconds for which the node keeps the session while a token is renewed
const ENDING = 2_000; // milliseconds for the last packets of a connection that is closed by hand

/**
 * `state`: { kind, problem?, cause?, tries?, at?, properties?, sessionPresent? }, where kind is idle, connecting,
 * connected (`properties` are CONNACK's), waiting (for the next try, `at` milliseconds), or ended. `problem` is of
 * the last try, `cause` what ended the connection before it.
 */
export class Connection {
  #link = null;
  #incoming = new mqtt.Store({ clean: false }); // QoS 2 messages whose PUBREL is to come, across links
  #turn = 0; // of the newest attempt: what older ones report is not heard
  #timer = 0;
  #renewal = 0;
  #clientId = ""; // that the operator's token named

  constructor(id, settings, page) {
    this.id = id;
    this.page = page; // url, tokenUrl, csrf
    this.settings = signal(settings);
    this.state = signal({ kind: "idle" });
    this.subscriptions = new Subscriptions(this);
    this.messages = new MessageList(settings.rows);
    this.identity = signal(null); // { clientId, username, leftOut }, of whom the server knows
  }

  get connected() {
    return this.state.value.kind === "connected";
  }

  get isOn() {
    return ["connecting", "connected", "waiting"].includes(this.state.value.kind);
  }

  connect() {
    this.#stop();
    this.#open({ tries: 0, resumed: false });
  }

  disconnect() {
    this.#stop();
    this.state.value = { kind: "idle" };
  }

  /** Send a message. It is listed at once; what became of it is told there. */
  publish({ topic, payload, qos, retain, properties }) {
    const version = this.settings.value.version;
    const row = this.messages.add({ direction: "out", topic, payload, qos, retain, properties, status: "sending" });
    const options = { qos, retain, properties: version === 5 ? properties : undefined };
    this.#link.publish(topic, payload, options, (error, packet) => {
      const code = error?.code ?? packet?.reasonCode ?? 0;
      if (!error) row.status = qos ? "acknowledged" : "sent";
      else row.status = code >= 0x80 ? "refused" : "lost";
      const text = packet?.properties?.reasonString ?? "";
      if (code >= 0x80) row.problem = { key: "publish.refused", code, text };
      else if (error) row.problem = { key: "publish.lost" };
      row.code = code;
      this.messages.touch();
    });
    return row;
  }

  /** Called by `subscriptions`. `done(problem, grantedQos)`; never, where the connection is lost before. */
  subscribe({ filter, qos, noLocal, retainAsPublished, retainHandling }, done) {
    const v5 = { nl: noLocal, rap: retainAsPublished, rh: retainHandling };
    const options = this.settings.value.version === 5 ? { qos, ...v5 } : { qos };
    this.#link.subscribe(filter, options, (error, _, packet) => {
      const code = packet?.granted?.[0] ?? error?.code ?? 0;
      const text = packet?.properties?.reasonString ?? "";
      if (code >= 0x80) done({ key: "subscribe.refused", code, text });
      else if (!error) done(null, code);
    });
  }

  unsubscribe(filter) {
    this.#link.unsubscribe(filter);
  }

  // ---------------------------------------------------------------- links

  /** `resumed`: this connection has been up before, so its session is gone on with. */
  async #open({ tries, resumed, problem, cause }) {
    const turn = ++this.#turn;
    const settings = this.settings.value;
    this.state.value = { kind: "connecting", tries, problem, cause };
    let { clientId, username, password } = settings;
    let used = settings;
    let expiresAt = 0;
    if (settings.operator) {
      try {
        const found = await fetchToken(this.page, this.#clientId);
        if (turn !== this.#turn) return;
        ({ clientId, username, expiresAt } = found);
        password = found.token;
        this.#clientId = clientId;
        this.identity.value = found;
        // The token goes to this page's own server, whatever a setup has for an address.
        const sessionExpiry = Math.max(settings.sessionExpiry, OPERATOR_SESSION);
        used = { ...settings, url: this.page.url, sessionExpiry };
      } catch (failure) {
        if (turn !== this.#turn) return;
        if (!failure.problem) throw failure;
        this.#ended({ problem: failure.problem, final: !failure.retry }, tries, resumed);
        return;
      }
    } else {
      this.identity.value = { clientId, username };
    }
    const goesOn = resumed && used.version === 5 && used.sessionExpiry > 0;
    const clean = goesOn ? false : settings.clean;
    const heard = (listener) => (event) => turn === this.#turn && listener(event);
    const on = {
      open: heard((connack) => this.#opened(connack, expiresAt)),
      message: (topic, payload, packet) => turn === this.#turn && this.#received(topic, payload, packet),
      closed: heard((ending) => this.#ended(ending, this.connected ? 0 : tries, resumed || this.connected)),
    };
    try {
      this.#link = openLink(used, { clientId, username, password, clean }, this.#incoming, on);
    } catch (error) {
      this.#ended({ problem: { key: "lost.protocol", text: error.message }, final: true }, tries, resumed);
    }
  }

  #opened(connack, expiresAt) {
    const properties = connack.properties ?? {};
    if (properties.assignedClientIdentifier) {
      this.identity.value = { ...this.identity.value, clientId: properties.assignedClientIdentifier };
    }
    this.state.value = { kind: "connected", properties, sessionPresent: Boolean(connack.sessionPresent) };
    if (expiresAt) {
      const wait = Math.max(expiresAt - RENEW_BEFORE - Date.now(), 5_000);
      this.#renewal = setTimeout(() => this.#renew(), wait);
    }
    this.subscriptions.opened(Boolean(connack.sessionPresent));
  }

  #renew() {
    const link = this.#link;
    const turn = ++this.#turn;
    this.state.value = { kind: "connecting", tries: 0 };
    const goOn = () => {
      if (turn !== this.#turn) return;
      link.end(true);
      this.#open({ tries: 0, resumed: true });
    };
    link.end(false, goOn); // which waits for acknowledgements, and those may never come
    setTimeout(goOn, ENDING);
  }

  #ended({ problem, final }, tries, resumed) {
    clearTimeout(this.#renewal);
    const cause = this.connected ? problem : this.state.value.cause;
    this.#drop(true);
    this.subscriptions.closed();
    // An operator's token that ended is no refusal: the next try brings a new one.
    const expired = this.settings.value.operator && resumed && tries === 0 && problem.code === 0x87;
    if ((final && !expired) || !this.settings.value.reconnect) {
      this.state.value = { kind: "ended", problem, cause };
      return;
    }
    const wait = backoff(tries + 1);
    this.state.value = { kind: "waiting", problem, cause, tries: tries + 1, at: Date.now() + wait };
    this.#timer = setTimeout(() => this.#open({ tries: tries + 1, resumed, problem, cause }), wait);
  }

  #stop() {
    this.#turn += 1;
    clearTimeout(this.#timer);
    clearTimeout(this.#renewal);
    this.#drop(false);
    this.subscriptions.closed();
  }

  #drop(force) {
    const link = this.#link;
    this.#link = null;
    if (!link) return;
    link.end(force);
    if (!force) setTimeout(() => link.end(true), ENDING);
  }

  #received(topic, payload, packet) {
    const found = this.subscriptions.received(topic);
    if (found.length && found.every((each) => each.paused)) {
      this.messages.paused += 1;
      this.messages.touch();
      return;
    }
    this.messages.add({
      direction: "in",
      topic,
      payload: new Uint8Array(payload), // of its own: what came is a part of a larger buffer
      qos: packet.qos,
      retain: packet.retain,
      dup: packet.dup,
      properties: packet.properties,
      colour: found.find((each) => !each.paused)?.colour ?? 0,
    });
  }
}
