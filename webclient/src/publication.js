// From what the form holds to a message, or to what is wrong with it.

import { encode } from "./messages/payload.js";
import { grouped } from "./mqtt/link.js";
import { limitProblem } from "./mqtt/limits.js";
import { topicProblem } from "./mqtt/topics.js";

const encoder = new TextEncoder();

/** { message } or { problem, about: "topic" | "payload" | "response" }. `file`: { payload } in place of the text. */
export function composed(form, file, version, state) {
  const topic = topicProblem(form.topic);
  if (topic) return { problem: topic, about: "topic" };
  const response = version === 5 && form.responseTopic ? topicProblem(form.responseTopic) : null;
  if (response) return { problem: response, about: "response" };
  let payload;
  try {
    payload = file ? file.payload : encode(form.format, form.payload);
  } catch (problem) {
    if (!problem.key) throw problem;
    return { problem, about: "payload" };
  }
  const message = { topic: form.topic, payload, qos: form.qos, retain: form.retain };
  if (version === 5) message.properties = properties(form);
  const limit = limitProblem(state.properties, message);
  return limit ? { problem: limit, about: "payload" } : { message };
}

function properties(form) {
  const found = {};
  if (form.contentType) found.contentType = form.contentType;
  if (form.responseTopic) found.responseTopic = form.responseTopic;
  if (form.correlationData) found.correlationData = encoder.encode(form.correlationData);
  if (form.messageExpiry) found.messageExpiryInterval = form.messageExpiry;
  if (form.userProperties.length) found.userProperties = grouped(form.userProperties);
  return Object.keys(found).length ? found : undefined;
}
