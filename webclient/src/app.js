// The state of the page: its connections, and what was chosen for the whole of it.

import { effect, signal } from "@preact/signals";
import { LANGUAGES, language, t } from "./i18n/index.js";
import { Connection } from "./mqtt/connection.js";
import { filterProblem } from "./mqtt/topics.js";
import { Repeater } from "./repeat.js";
import { newPublication, newSettings } from "./settings.js";

export const THEMES = ["auto", "light", "dark"];

const kept = {
  read: (name) => {
    try {
      return localStorage.getItem(`gmqtt.web-client.${name}`);
    } catch {
      return null; // a browser may deny it
    }
  },
  write: (name, value) => {
    try {
      localStorage.setItem(`gmqtt.web-client.${name}`, value);
    } catch {
      // then it is forgotten with the page
    }
  },
};

export const theme = signal("auto");
export const connections = signal([]);
export const active = signal(0);
let last = 0;

/** Its settings and forms live as long as it has a tab. */
function tab(page, setup) {
  const id = ++last;
  const connection = new Connection(id, setup.settings, page);
  for (const each of setup.subscriptions) connection.subscriptions.add(each);
  return Object.assign(connection, {
    publication: signal(setup.publication),
    file: signal(null), // { name, payload (null: being read) } to publish in place of what is written
    selected: signal(null), // the row that is open
    follow: signal(true),
    repeater: new Repeater(),
  });
}

export function open(page, setup = {}) {
  const whole = { settings: newSettings(page), publication: newPublication(), subscriptions: [], ...setup };
  const connection = tab(page, whole);
  connections.value = [...connections.value, connection];
  active.value = connection.id;
  return connection;
}

export function close(connection) {
  connection.repeater.stop();
  connection.disconnect();
  const at = connections.value.indexOf(connection);
  connections.value = connections.value.filter((each) => each !== connection);
  if (active.value === connection.id) {
    active.value = (connections.value[at] ?? connections.value[at - 1])?.id ?? 0;
  }
}

export function nameOf(connection) {
  return connection.settings.value.name || t("connection.unnamed", { number: connection.id });
}

/** Called once, before the page is shown. */
export function start(page) {
  const chosen = kept.read("language") ?? page.language;
  language.value = Object.hasOwn(LANGUAGES, chosen) ? chosen : "en";
  const appearance = kept.read("theme");
  theme.value = THEMES.includes(appearance) ? appearance : "auto";
  effect(() => {
    document.documentElement.lang = language.value === "en" ? "en" : "zh-Hans";
    document.title = t("title");
  });
  effect(() => {
    document.documentElement.dataset.theme = theme.value;
  });
  const topics = page.topics.filter((filter) => !filterProblem(filter));
  const defaults = { noLocal: false, retainAsPublished: false, retainHandling: 0, colour: 0, qos: 0 };
  const connection = open(page, { subscriptions: topics.map((filter) => ({ ...defaults, filter })) });
  if (page.connectNow) connection.connect();
}

export function choose(what, value) {
  (what === "language" ? language : theme).value = value;
  kept.write(what, value);
}
