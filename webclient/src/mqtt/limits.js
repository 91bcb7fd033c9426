// What the server said in CONNACK that it takes.

const OVERHEAD = 11; // bytes of a PUBLISH beside topic, properties and payload, at most
const encoder = new TextEncoder();

/** What is wrong with a message for a server with these CONNACK properties, as { key, params }, or null. */
export function limitProblem(properties = {}, { topic, payload, qos, retain }) {
  const size = payload.length + encoder.encode(topic).length + OVERHEAD;
  const most = properties.maximumPacketSize;
  if (most && size > most) return { key: "limit.size", params: { size, most } };
  const highest = properties.maximumQoS;
  if (highest !== undefined && qos > highest) return { key: "limit.qos", params: { most: highest } };
  if (retain && properties.retainAvailable === false) return { key: "limit.retain" };
  return null;
}
