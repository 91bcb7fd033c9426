// Setups that the browser keeps: settings, subscriptions and the message form, by name.

import { fitted, newPublication, newSettings } from "./settings.js";

const KEY = "gmqtt.web-client.setups";
const SUBSCRIPTION = { filter: "", qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0, colour: 0 };

/** `storage`: localStorage, or what does the same. Whatever cannot be read counts as not there. */
export function readSetups(storage, page) {
  let found;
  try {
    found = JSON.parse(storage.getItem(KEY) ?? "{}");
  } catch {
    return {};
  }
  if (typeof found !== "object" || found === null || Array.isArray(found)) return {};
  const entries = Object.entries(found).filter(([name]) => name);
  return Object.fromEntries(entries.map(([name, setup]) => [name, readable(setup, page)]));
}

function readable(setup, page) {
  const given = typeof setup === "object" && setup !== null ? setup : {};
  const subscriptions = Array.isArray(given.subscriptions) ? given.subscriptions : [];
  return {
    settings: fitted(newSettings(page), given.settings),
    publication: fitted(newPublication(), given.publication),
    subscriptions: subscriptions.map((each) => fitted(SUBSCRIPTION, each)).filter((each) => each.filter),
  };
}

/** The password is left out unless it was asked for. Throws where the browser's storage is full or closed. */
export function keepSetup(storage, page, name, setup, withPassword) {
  const { settings, publication, subscriptions } = setup;
  const kept = {
    settings: { ...settings, password: withPassword ? settings.password : "" },
    publication,
    subscriptions: subscriptions.map((each) => fitted(SUBSCRIPTION, each)),
  };
  storage.setItem(KEY, JSON.stringify({ ...readSetups(storage, page), [name]: kept }));
}

export function dropSetup(storage, page, name) {
  const { [name]: _, ...rest } = readSetups(storage, page);
  storage.setItem(KEY, JSON.stringify(rest));
}
