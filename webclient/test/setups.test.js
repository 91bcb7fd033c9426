import assert from "node:assert/strict";
import test from "node:test";
import { newPublication, newSettings } from "../src/settings.js";
import { dropSetup, keepSetup, readSetups } from "../src/setups.js";

const PAGE = { url: "ws://node/mqtt", operator: "" };

function storage(initial) {
  const kept = new Map(initial ? [["gmqtt.web-client.setups", initial]] : []);
  return {
    getItem: (name) => kept.get(name) ?? null,
    setItem: (name, value) => kept.set(name, value),
    all: () => [...kept.values()].join(),
  };
}

function setup() {
  const settings = { ...newSettings(PAGE), password: "hunter2", username: "u", userProperties: [["a", "b"]] };
  const subscriptions = [{ filter: "a/#", qos: 1, colour: 3, state: "granted", id: 7 }];
  return { settings, publication: { ...newPublication(), topic: "t" }, subscriptions };
}

test("what was saved is there again, without the password", () => {
  const kept = storage();
  keepSetup(kept, PAGE, "one", setup(), false);
  assert.ok(!kept.all().includes("hunter2"));
  const { one } = readSetups(kept, PAGE);
  assert.equal(one.settings.username, "u");
  assert.equal(one.settings.password, "");
  assert.deepEqual(one.settings.userProperties, [["a", "b"]]);
  assert.deepEqual(one.subscriptions.map((each) => [each.filter, each.qos, each.colour]), [["a/#", 1, 3]]);
  assert.equal(one.publication.topic, "t");
});

test("the password is kept where it was asked for", () => {
  const kept = storage();
  keepSetup(kept, PAGE, "one", setup(), true);
  assert.equal(readSetups(kept, PAGE).one.settings.password, "hunter2");
  dropSetup(kept, PAGE, "one");
  assert.deepEqual(readSetups(kept, PAGE), {});
});

test("whatever the browser kept, a setup has the right shape", () => {
  for (const text of ["", "null", "[]", "{", '"x"', "7"]) assert.deepEqual(readSetups(storage(text), PAGE), {});
  const odd = { settings: { keepalive: "x", will: 3, userProperties: [["a"], 1] }, subscriptions: [null, { filter: 1 }] };
  const { found } = readSetups(storage(JSON.stringify({ found: odd })), PAGE);
  const { clientId, ...expected } = newSettings(PAGE);
  assert.partialDeepStrictEqual?.(found.settings, expected);
  assert.equal(found.settings.keepalive, 60);
  assert.deepEqual(found.settings.will, newSettings(PAGE).will);
  assert.deepEqual(found.settings.userProperties, []);
  assert.deepEqual(found.subscriptions, []);
  assert.deepEqual(readSetups(storage('{"x": 1}'), PAGE).x.publication, newPublication());
});
