import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import test from "node:test";
import { en } from "../src/i18n/en.js";
import { zhHans } from "../src/i18n/zh-hans.js";
import { explain, language } from "../src/i18n/index.js";

const SOURCES = new URL("../src/", import.meta.url);

test("both languages have the same texts with the same places to fill", () => {
  assert.deepEqual(Object.keys(zhHans).sort(), Object.keys(en).sort());
  assert.deepEqual(Object.keys(zhHans.reasons), Object.keys(en.reasons));
  const places = (text) => (text.match(/\{\w+\}/g) ?? []).sort();
  for (const [key, text] of Object.entries(en)) {
    if (key !== "reasons") assert.deepEqual(places(zhHans[key]), places(text), key);
  }
});

test("every text that the sources name is there", () => {
  const files = readdirSync(SOURCES, { recursive: true }).filter((name) => /\.jsx?$/.test(name));
  for (const name of files) {
    const source = readFileSync(new URL(name, SOURCES), "utf8");
    for (const [, key] of source.matchAll(/\b(?:t\(|key: )"([\w.]+)"/g)) assert.ok(key in en, `${name}: ${key}`);
  }
});

test("a refusal is told in words, with its code and what the server said", () => {
  const problem = { key: "lost.refused", code: 0x87, text: "token: it has ended" };
  language.value = "en";
  assert.equal(
    explain(problem),
    "The server refused the connection: Not authorized. (0x87) The server says: “token: it has ended”.",
  );
  language.value = "zh-hans";
  assert.ok(explain(problem).startsWith("服务器拒绝了连接： 未获授权。 (0x87)"));
  assert.ok(explain({ key: "lost.refused", code: 0xff }).includes("未知原因"));
});
