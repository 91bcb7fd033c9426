import assert from "node:assert/strict";
import test from "node:test";
import { filterProblem, matches, topicProblem } from "../src/mqtt/topics.js";

test("filters that may be sent", () => {
  for (const filter of ["#", "+", "a/b", "/", "a//b", "+/+/#", "$SYS/#", "$share/g/a/+", "$share/g/#", "温度/+", " "]) {
    assert.equal(filterProblem(filter), null, filter);
  }
});

test("filters that may not, and why", () => {
  const wrong = {
    "": "topic.empty",
    "a/#/b": "filter.hashLast",
    "a#": "filter.hashAlone",
    "a/b#": "filter.hashAlone",
    "a+": "filter.plusAlone",
    "a/+b/c": "filter.plusAlone",
    "a\0": "topic.nul",
    "\ud800": "topic.unicode",
    "$share": "filter.share",
    "$share/": "filter.share",
    "$share/g": "filter.share",
    "$share/g/": "filter.share",
    "$share//a": "filter.share",
    "$share/+/a": "filter.share",
    "$share/g/a#": "filter.hashAlone",
  };
  for (const [filter, key] of Object.entries(wrong)) assert.equal(filterProblem(filter)?.key, key, filter);
  assert.equal(filterProblem("ü".repeat(32768)).key, "topic.long");
  assert.equal(filterProblem("ü".repeat(32767)), null);
});

test("topics of messages", () => {
  assert.equal(topicProblem("a/b"), null);
  for (const topic of ["a/+", "#", "a#b"]) assert.equal(topicProblem(topic).key, "topic.wildcard");
  assert.equal(topicProblem("").key, "topic.empty");
});

test("which filter matches which topic", () => {
  const rows = [
    ["#", "a", true],
    ["#", "$SYS/x", false],
    ["+/x", "$SYS/x", false],
    ["$SYS/#", "$SYS/x", true],
    ["a/#", "a", true],
    ["a/#", "ab", false],
    ["a/+", "a", false],
    ["a/+", "a/", true],
    ["+", "a/b", false],
    ["a/+/c", "a/b/c", true],
    ["$share/g/a/+", "a/b", true],
    ["/+", "/a", true],
    ["+/+", "/a", true],
  ];
  for (const [filter, topic, yes] of rows) assert.equal(matches(filter, topic), yes, `${filter} ${topic}`);
});
