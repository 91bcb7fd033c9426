import assert from "node:assert/strict";
import test from "node:test";
import { readPage } from "../src/page.js";
import { urlProblem } from "../src/mqtt/urls.js";

const PLAIN = "http://localhost/client/";
const SECURE = "https://example.org/client/";

test("addresses that can be tried", () => {
  for (const url of ["ws://localhost:8000/mqtt", "wss://example.org", "ws://[::1]:1/x?y=z"]) {
    assert.equal(urlProblem(url, PLAIN), null, url);
  }
  assert.equal(urlProblem("ws://127.0.0.1:8000/mqtt", SECURE), null, "browsers let loopback pass");
});

test("addresses that cannot, and why", () => {
  const wrong = {
    "": "url.empty",
    "localhost": "url.malformed",
    "ws://": "url.malformed",
    "mqtt://localhost": "url.tcp",
    "tcp://localhost": "url.tcp",
    "http://localhost": "url.scheme",
    "javascript:alert(1)": "url.scheme",
    "ws://user:pass@localhost/": "url.credentials",
    "ws://localhost/#x": "url.fragment",
  };
  for (const [url, key] of Object.entries(wrong)) assert.equal(urlProblem(url, PLAIN)?.key, key, url);
  assert.equal(urlProblem("ws://example.org/mqtt", SECURE).key, "url.mixed");
});

test("the page's address names topics, and never a server", () => {
  const search = "?topics=a/b,c/%252C&topics=%23&url=wss://evil.example&username=u&password=p&connect=operator";
  const page = readPage({ path: "/mqtt" }, { protocol: "http:", host: "node:8000", search });
  assert.deepEqual(page.topics, ["a/b", "c/,", "#"]);
  assert.equal(page.url, "ws://node:8000/mqtt");
  assert.equal(page.connectNow, false, "a visitor connects by a click");
  assert.ok(!JSON.stringify(page).includes("evil"));
});

test("connecting at once is the server's word, not the address's", () => {
  const location = { protocol: "https:", host: "node", search: "?connect=operator" };
  assert.equal(readPage({ path: "/mqtt", operator: "alice" }, location).connectNow, false);
  assert.equal(readPage({ path: "/mqtt", operator: "alice", connect: "operator" }, location).connectNow, true);
});
