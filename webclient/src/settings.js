// The settings of a connection and of what is published, as plain values that a form fills and a setup keeps.

import { topicProblem } from "./mqtt/topics.js";
import { urlProblem } from "./mqtt/urls.js";

/** Why these settings cannot be used from a page at `page` (a URL), as { key, params }; null if they can. */
export function settingsProblem(settings, page) {
  const will = settings.will.topic ? topicProblem(settings.will.topic) : null;
  if (settings.operator) return will;
  const url = urlProblem(settings.url, page);
  if (url) return url;
  if (settings.version === 4 && settings.password && !settings.username) return { key: "password.alone" };
  return will;
}

export function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(4)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** `page`: { url, operator (name, "" for a visitor) }. */
export function newSettings(page) {
  return {
    name: "",
    url: page.url,
    operator: Boolean(page.operator),
    version: 5,
    clientId: `web-${randomId()}`,
    username: "",
    password: "",
    keepalive: 60,
    clean: true,
    sessionExpiry: 0,
    userProperties: [],
    reconnect: true,
    rows: 5000,
    will: { topic: "", payload: "", qos: 0, retain: false, delay: 0 },
  };
}

export function newPublication() {
  return {
    topic: "",
    format: "text",
    payload: "",
    qos: 0,
    retain: false,
    contentType: "",
    responseTopic: "",
    correlationData: "",
    messageExpiry: 0,
    userProperties: [],
    interval: 1000,
  };
}

/** `given` where it has the shape of `model`, `model` where it has not: what a browser kept may be anything. */
export function fitted(model, given) {
  if (Array.isArray(model)) {
    const isPair = (each) => Array.isArray(each) && each.length === 2 && each.every((part) => typeof part === "string");
    return Array.isArray(given) ? given.filter(isPair) : model;
  }
  if (typeof model !== "object") return typeof given === typeof model ? given : model;
  if (typeof given !== "object" || given === null) return model;
  return Object.fromEntries(Object.keys(model).map((name) => [name, fitted(model[name], given[name])]));
}
