// One MQTT.js client after the other does what devices and browsers do; any surprise ends with a non-zero code.
// Usage: node flow.mjs URL VERSION [CA file]; VERSION is 3 (3.1), 4 (3.1.1) or 5.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";

const mqtt = createRequire(`${process.cwd()}/`)("mqtt");
const [url, version, ca] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
const v5 = version === 5;
const root = `js/${process.pid}`;
const clients = [];

const common = {
  protocolVersion: version,
  protocolId: version === 3 ? "MQIsdp" : "MQTT",
  reconnectPeriod: 0,
  connectTimeout: 5000,
  ...(ca ? { ca: readFileSync(ca) } : {}),
};

async function connect(name, options = {}) {
  const client = mqtt.connect(url, { ...common, clientId: `${root}-${name}`, ...options });
  clients.push(client);
  const messages = [];
  let wake = () => {};
  client.on("message", (topic, payload, packet) => {
    messages.push({ topic, payload: payload.toString(), qos: packet.qos, retain: packet.retain, packet });
    wake();
  });
  client.take = async (count) => {
    while (messages.length < count) await new Promise((resolve) => (wake = resolve));
    return messages.splice(0, count);
  };
  client.connack = await new Promise((resolve, reject) => {
    client.once("connect", resolve);
    client.once("error", reject);
  });
  return client;
}

const plain = ({ topic, payload, qos, retain }) => ({ topic, payload, qos, retain });

async function everyQos() {
  const reader = await connect("reader");
  const writer = await connect("writer");
  const granted = await reader.subscribeAsync(`${root}/qos/#`, { qos: 2 });
  assert.equal(granted[0].qos, 2);
  for (const qos of [0, 1, 2]) await writer.publishAsync(`${root}/qos/${qos}`, `at ${qos}`, { qos });
  const got = (await reader.take(3)).map(plain).sort((a, b) => a.qos - b.qos);
  assert.deepEqual(
    got,
    [0, 1, 2].map((qos) => ({ topic: `${root}/qos/${qos}`, payload: `at ${qos}`, qos, retain: false })),
  );
  const large = "x".repeat(200_000);
  await writer.publishAsync(`${root}/qos/large`, large, { qos: 1 });
  assert.equal((await reader.take(1))[0].payload, large);
}

async function retained() {
  const writer = await connect("retaining");
  await writer.publishAsync(`${root}/state`, "on", { qos: 1, retain: true });
  const reader = await connect("late");
  await reader.subscribeAsync(`${root}/state`, { qos: 1 });
  assert.deepEqual((await reader.take(1)).map(plain), [
    { topic: `${root}/state`, payload: "on", qos: 1, retain: true },
  ]);
  await writer.publishAsync(`${root}/state`, "", { qos: 1, retain: true });
  assert.equal((await reader.take(1))[0].payload, "");
  const later = await connect("too-late");
  await later.subscribeAsync([`${root}/state`, `${root}/ping`], { qos: 1 });
  await writer.publishAsync(`${root}/ping`, "only this", { qos: 1 });
  assert.equal((await later.take(1))[0].payload, "only this");
}

async function will() {
  const reader = await connect("heir");
  await reader.subscribeAsync(`${root}/will`, { qos: 1 });
  const dying = await connect("dying", { will: { topic: `${root}/will`, payload: "gone", qos: 1 } });
  dying.stream.destroy();
  assert.equal((await reader.take(1))[0].payload, "gone");
}

async function offlineQueue() {
  const options = { clean: false, ...(v5 ? { properties: { sessionExpiryInterval: 60 } } : {}) };
  const first = await connect("sleeper", options);
  assert.ok(!first.connack.sessionPresent);
  await first.subscribeAsync(`${root}/queue`, { qos: 2 });
  await first.endAsync();
  const writer = await connect("meanwhile");
  for (const qos of [1, 1, 2]) await writer.publishAsync(`${root}/queue`, `kept at ${qos}`, { qos });
  const second = await connect("sleeper", options);
  if (version !== 3) assert.equal(second.connack.sessionPresent, true); // 3.1 has no such flag
  assert.deepEqual(
    (await second.take(3)).map(({ payload, qos }) => [payload, qos]),
    [1, 1, 2].map((qos) => [`kept at ${qos}`, qos]),
  );
}

async function properties() {
  const reader = await connect("properties", { properties: { topicAliasMaximum: 5, receiveMaximum: 10 } });
  const writer = await connect("speaker", { autoUseTopicAlias: true, properties: { topicAliasMaximum: 5 } });
  assert.ok(writer.connack.properties.topicAliasMaximum > 0);
  await reader.subscribeAsync(`${root}/v5`, { qos: 1, properties: { subscriptionIdentifier: 42 } });
  const sent = {
    contentType: "text/plain",
    responseTopic: `${root}/answers`,
    correlationData: Buffer.from([0, 1, 2]),
    messageExpiryInterval: 100,
    payloadFormatIndicator: true,
    userProperties: { unit: ["°C", "K"], device: "7" },
  };
  for (let number = 0; number < 3; number += 1) {
    await writer.publishAsync(`${root}/v5`, "21", { qos: 1, properties: { ...sent } });
  }
  for (const { topic, packet } of await reader.take(3)) {
    assert.equal(topic, `${root}/v5`);
    const { contentType, responseTopic, correlationData, payloadFormatIndicator } = packet.properties;
    assert.deepEqual(
      [contentType, responseTopic, payloadFormatIndicator],
      [sent.contentType, sent.responseTopic, true],
    );
    assert.deepEqual(Buffer.from(correlationData), sent.correlationData);
    assert.deepEqual({ ...packet.properties.userProperties }, sent.userProperties);
    assert.ok(packet.properties.messageExpiryInterval <= 100);
    assert.equal(packet.properties.subscriptionIdentifier, 42);
  }
}

setTimeout(() => {
  console.error("took too long");
  process.exit(2);
}, 20_000).unref();

await everyQos();
await retained();
await will();
await offlineQueue();
if (v5) await properties();
await Promise.all(clients.filter((client) => client.connected).map((client) => client.endAsync()));
process.exit(0);
