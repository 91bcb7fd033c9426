// One attempt at a connection, over MQTT.js. Whoever holds it decides about the next one: MQTT.js itself never
// reconnects, for it could neither fetch a new token nor tell a refusal from a lost network.

import mqtt from "mqtt";
import { isFinal, reasonOf } from "./reasons.js";
import { ticker } from "./ticker.js";
import { unreachableKey } from "./urls.js";

const CONNECT_TIMEOUT = 10_000; // milliseconds until CONNACK

/**
 * Connect. `on` has open(connack), message(topic, payload, packet), closed({ problem, final }), each called at
 * most as often as it happens; closed is the last.
 */
export function openLink(settings, { clientId, username, password, clean }, incomingStore, on) {
  const version = settings.version;
  let ending = null; // what the server or the network said before the end
  let opened = false;
  let closed = false;
  let socket = null;
  const client = mqtt.connect(settings.url, {
    createWebsocket: (_, protocols) => (socket = new WebSocket(settings.url, protocols)),
    protocolVersion: version,
    clientId,
    username: username || undefined,
    password: password || undefined,
    clean,
    keepalive: settings.keepalive,
    reconnectPeriod: 0,
    connectTimeout: CONNECT_TIMEOUT,
    resubscribe: false,
    queueQoSZero: false,
    timerVariant: ticker,
    incomingStore,
    properties: version === 5 ? connectProperties(settings) : undefined,
    will: willOf(settings),
  });
  client.on("packetreceive", (packet) => {
    if (packet.cmd === "connack") {
      const code = reasonOf(version, version === 5 ? packet.reasonCode : packet.returnCode);
      if (code) ending = refusal("lost.refused", code, packet);
    } else if (packet.cmd === "disconnect") {
      ending = refusal("lost.disconnected", packet.reasonCode ?? 0, packet);
    }
  });
  client.on("connect", (connack) => {
    opened = true;
    on.open(connack);
  });
  client.on("message", on.message);
  client.on("error", (error) => {
    const reached = opened || socket?.readyState === WebSocket.OPEN;
    ending ??= { problem: problemOf(error, settings.url, reached), final: false };
  });
  client.on("close", () => {
    if (closed) return;
    closed = true;
    ending ??= { problem: { key: opened ? "lost.connection" : unreachableKey(settings.url) }, final: false };
    on.closed(ending);
  });
  return client;
}

function refusal(key, code, packet) {
  const text = packet.properties?.reasonString ?? "";
  return { problem: { key, code, text }, final: isFinal(code) };
}

function problemOf(error, url, reached) {
  if (error.message === "connack timeout") return { key: reached ? "lost.timeout" : unreachableKey(url) };
  if (error.message === "Keepalive timeout") return { key: "lost.keepalive" };
  if (error.event || /websocket/i.test(error.message)) {
    return { key: reached ? "lost.connection" : unreachableKey(url) };
  }
  return { key: "lost.protocol", text: error.message };
}

function connectProperties(settings) {
  const properties = { requestProblemInformation: true };
  if (settings.sessionExpiry) properties.sessionExpiryInterval = settings.sessionExpiry;
  if (settings.userProperties.length) properties.userProperties = grouped(settings.userProperties);
  return properties;
}

function willOf({ will, version }) {
  if (!will.topic) return undefined;
  const properties = version === 5 && will.delay ? { willDelayInterval: will.delay } : undefined;
  return { topic: will.topic, payload: will.payload, qos: will.qos, retain: will.retain, properties };
}

/** Pairs of name and value as MQTT.js wants them: a name that comes twice has a list. */
export function grouped(pairs) {
  const found = Object.create(null);
  for (const [name, value] of pairs) (found[name] ??= []).push(value);
  return found;
}
