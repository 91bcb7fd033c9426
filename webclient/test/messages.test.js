import assert from "node:assert/strict";
import test from "node:test";
import { toCsv, toJson } from "../src/messages/export.js";
import { MessageList } from "../src/messages/list.js";
import { bestFormat, decode, encode, indented, preview, textOf } from "../src/messages/payload.js";
import { Ring } from "../src/messages/ring.js";

const bytes = (text) => new TextEncoder().encode(text);
const message = (topic, payload = "x", more = {}) => ({
  direction: "in",
  topic,
  payload: typeof payload === "string" ? bytes(payload) : payload,
  qos: 0,
  ...more,
});

test("the ring keeps the newest rows and counts the others", () => {
  const ring = new Ring(3, 1 << 20);
  for (let at = 0; at < 5000; at += 1) ring.push(message(`t/${at}`));
  assert.deepEqual(Array.from(ring, (row) => row.topic), ["t/4997", "t/4998", "t/4999"]);
  assert.equal(ring.leftOut, 4997);
});

test("the ring is bounded in bytes, too, but keeps the newest", () => {
  const ring = new Ring(1000, 10_000);
  for (let at = 0; at < 10; at += 1) ring.push(message("t", "x".repeat(3000)));
  assert.equal(ring.length, 3);
  assert.ok(ring.bytes <= 10_000);
  ring.push(message("t", "x".repeat(50_000)));
  assert.equal(ring.length, 1);
});

test("the list shows what the filter lets through, while rows come and go", () => {
  const list = new MessageList(100);
  list.filter({ topic: "even/+" });
  for (let at = 0; at < 1000; at += 1) list.add(message(`${at % 2 ? "odd" : "even"}/${at}`, `n${at}`));
  assert.equal(list.length, 50);
  assert.equal(list.at(0).topic, "even/900");
  assert.equal(list.indexOf(list.at(7)), 7);
  assert.equal(list.received, 1000);
  list.filter({ topic: "", text: "N99" });
  assert.deepEqual(Array.from(list.shown(), (row) => row.topic.split("/")[1]), [
    "990", "991", "992", "993", "994", "995", "996", "997", "998", "999",
  ]); // prettier-ignore
  list.filter({ text: "", direction: "out" });
  assert.equal(list.length, 0);
});

test("payloads as they are written", () => {
  assert.deepEqual([...encode("hex", "0x00 ff-7F")], [0, 255, 127]);
  assert.deepEqual([...encode("base64", "AP9/")], [0, 255, 127]);
  assert.equal(new TextDecoder().decode(encode("json", ' {"a": 1}')), ' {"a": 1}');
  for (const [format, written] of [["hex", "0"], ["hex", "xy"], ["base64", "*"], ["json", "{a: 1}"]]) {
    assert.throws(() => encode(format, written), { key: `payload.${format}` });
  }
});

test("payloads as they are shown", () => {
  assert.equal(bestFormat(bytes('{"a":1}')), "json");
  assert.equal(bestFormat(bytes("hello")), "text");
  assert.equal(bestFormat(new Uint8Array([0xff, 0xfe])), "hex");
  assert.equal(bestFormat(bytes("a\0b")), "hex");
  assert.equal(decode("hex", new Uint8Array([0, 255])), "00 ff");
  assert.equal(decode("base64", new Uint8Array([0, 255, 127])), "AP9/");
  assert.equal(textOf(new Uint8Array([0xc3])), null);
});

test("indenting JSON changes no token of it", () => {
  const text = '{"big":12345678901234567890,"a":[],"o":{},"s":"{\\"x\\": [1,2]}","n":[1.0,-0,1e5,true,null]}';
  const shown = indented(text);
  assert.equal(shown.replace(/\n\s*/g, "").replaceAll(": ", ":").replace('{\\"x\\":[', '{\\"x\\": ['), text);
  assert.ok(shown.includes('\n  "big": 12345678901234567890,\n  "a": [],'));
  assert.equal(indented("nonsense"), null);
});

test("a preview is one line, and binary is told from text that was cut", () => {
  assert.equal(preview({ preview: null, payload: bytes("a\n b") }), "a b");
  const cut = { preview: null, payload: bytes("ü".repeat(300) + "x") };
  assert.match(preview(cut), /^ü+$/);
  const binary = { preview: null, payload: new Uint8Array(300).fill(0xff) };
  assert.match(preview(binary), /^(ff ?){32}$/);
  assert.equal(binary.binary, true);
});

test("an exported table holds no formula", () => {
  for (const payload of ["=1+1", "+1", "-1", "@x", "\t=1", ' =HYPERLINK("http://x")', "'=1"]) {
    const [, line] = toCsv([{ ...message("=cmd|' /C calc'!A0", payload), time: 0 }]).split("\r\n");
    const cells = line.match(/("(?:[^"]|"")*"|[^,]*)(?:,|$)/g).map((cell) => cell.replace(/^"|",?$|,$/g, ""));
    assert.ok(!/^[=+\-@\t\r]/.test(cells[2]), cells[2]);
    assert.ok(!/^\s*[=+\-@\t\r]/.test(cells[7]), cells[7]);
  }
});

test("exported JSON keeps binary payloads and properties", () => {
  const properties = { correlationData: new Uint8Array([255]), userProperties: { a: ["1", "2"] } };
  const rows = [{ ...message("t", new Uint8Array([255, 0]), { properties }), time: 0 }];
  const [found] = JSON.parse(toJson(rows));
  assert.equal(found.encoding, "base64");
  assert.equal(found.payload, "/wA=");
  assert.deepEqual(found.properties, { correlationData: "/w==", userProperties: { a: ["1", "2"] } });
});
