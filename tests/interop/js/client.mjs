// MQTT.js or async-mqtt: which is the first argument. See ../programs.py.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline/promises";

const [library, plain, tls, ca, username, password, tag, more] = process.argv.slice(2);
const version = Number(more);
const { default: mqtt } = await import(library);
const at = (name) => `${tag}/${name}`;
const said = (step) => console.log(`${step} ok`);

async function connect(name, { keep = false, secret = password, secure = false, will } = {}) {
  const url = secure ? tls : plain;
  const client = mqtt.connect(url, {
    clientId: `${tag}-${name}`,
    protocolVersion: version,
    protocolId: version === 3 ? "MQIsdp" : "MQTT",
    clean: !keep,
    properties: version === 5 ? { sessionExpiryInterval: keep ? 3600 : 0 } : undefined,
    username,
    password: secret,
    ca: readFileSync(ca),
    will: will ? { topic: will, payload: Buffer.from("gone"), qos: 1, retain: false } : undefined,
    reconnectPeriod: 0,
    connectTimeout: 10_000,
  });
  const messages = [];
  let wake = () => {};
  client.on("message", (topic, payload, packet) => {
    messages.push({ topic, payload, retain: packet.retain, qos: packet.qos });
    wake();
  });
  const expect = async (topic, payload) => {
    const late = setTimeout(() => assert.fail(`nothing on ${topic}`), 15_000);
    while (!messages.length) await new Promise((resolve) => (wake = resolve));
    clearTimeout(late);
    const message = messages.shift();
    assert.equal(message.topic, topic);
    assert.ok(message.payload.equals(Buffer.from(payload)), `another payload on ${topic}`);
    return message;
  };
  await new Promise((resolve, reject) => {
    client.once("connect", resolve);
    client.once("error", reject);
  });
  client.on("error", () => {});
  // MQTT.js' own methods take callbacks, and the ones with promises call them; async-mqtt's return promises.
  const method = (name) => client[library === "mqtt" ? `${name}Async` : name].bind(client);
  return { publish: method("publish"), subscribe: method("subscribe"), end: method("end"), expect };
}

await (await connect("first")).end();
said("login");
await assert.rejects(connect("refused", { secret: "wrong horse" }));
said("refused");
await (await connect("tls", { secure: true })).end();
said("tls");

const reader = await connect("reader");
const writer = await connect("writer");
await reader.subscribe(at("qos/#"), { qos: 2 });
for (const qos of [0, 1, 2]) {
  await writer.publish(at(`qos/${qos}`), "x", { qos });
  assert.equal((await reader.expect(at(`qos/${qos}`), "x")).qos, qos);
}
said("qos");
await writer.publish(at("kept"), "on", { qos: 1, retain: true });
await reader.subscribe(at("kept"), { qos: 1 });
assert.ok((await reader.expect(at("kept"), "on")).retain);
said("retained");
await reader.subscribe(at("gone"), { qos: 1 });
await connect("mortal", { will: at("gone") });
const successor = await connect("mortal");
await reader.expect(at("gone"), "gone");
await successor.end();
said("will");

const lasting = await connect("lasting", { keep: true });
await lasting.subscribe(at("later"), { qos: 1 });
await lasting.end();
await writer.publish(at("later"), "waited", { qos: 1 });
const back = await connect("lasting", { keep: true });
await back.expect(at("later"), "waited");
said("session");

const large = "x".repeat(1_000_000);
await reader.subscribe(at("large"), { qos: 1 });
await writer.publish(at("large"), large, { qos: 1 });
await reader.expect(at("large"), large);
said("large");
for (const each of [reader, writer, back]) await each.end();

console.log("restart");
await createInterface({ input: process.stdin }).question("");
const again = await connect("lasting", { keep: true });
await (await connect("writer")).publish(at("later"), "after", { qos: 1 });
await again.expect(at("later"), "after");
said("restart");
process.exit(0);
