// Topic names and filters (MQTT 5.0, section 4.7), checked before anything is sent. A problem is
// { key, params } for i18n; null: none.

const MOST_BYTES = 65535;
const encoder = new TextEncoder();

/** What is wrong with a topic filter, null if nothing is. */
export function filterProblem(filter) {
  let rest = filter;
  if (filter.startsWith("$share/") || filter === "$share") {
    const parts = filter.split("/");
    if (parts.length < 3 || !parts[1] || /[+#]/.test(parts[1])) return { key: "filter.share" };
    rest = parts.slice(2).join("/");
    if (!rest) return { key: "filter.share" };
  }
  const text = textProblem(rest, filter);
  if (text) return text;
  const levels = rest.split("/");
  for (const [index, level] of levels.entries()) {
    if (level.includes("#") && level !== "#") return { key: "filter.hashAlone", params: { level } };
    if (level === "#" && index < levels.length - 1) return { key: "filter.hashLast" };
    if (level.includes("+") && level !== "+") return { key: "filter.plusAlone", params: { level } };
  }
  return null;
}

/** What is wrong with the topic of a message, null if nothing is. */
export function topicProblem(topic) {
  const text = textProblem(topic, topic);
  if (text) return text;
  if (/[+#]/.test(topic)) return { key: "topic.wildcard" };
  return null;
}

function textProblem(text, whole) {
  if (!text) return { key: "topic.empty" };
  if (text.includes("\0")) return { key: "topic.nul" };
  if (!whole.isWellFormed()) return { key: "topic.unicode" };
  if (encoder.encode(whole).length > MOST_BYTES) return { key: "topic.long" };
  return null;
}

/** Does the topic match the filter? Both well formed; of $share/name/filter the filter counts. */
export function matches(filter, topic) {
  const wanted = (filter.startsWith("$share/") ? filter.split("/").slice(2).join("/") : filter).split("/");
  const levels = topic.split("/");
  if (levels[0].startsWith("$") && wanted[0] !== levels[0]) return false; // [MQTT-4.7.2-1]
  for (const [index, want] of wanted.entries()) {
    if (want === "#") return true;
    if (index === levels.length || (want !== "+" && want !== levels[index])) return false;
  }
  return wanted.length === levels.length;
}
