// Messages as files.

import { base64Of, textOf } from "./payload.js";

function plain(row) {
  const text = textOf(row.payload);
  return {
    time: new Date(row.time).toISOString(),
    direction: row.direction,
    topic: row.topic,
    qos: row.qos,
    retain: Boolean(row.retain),
    size: row.payload.length,
    encoding: text === null ? "base64" : "text",
    payload: text ?? base64Of(row.payload),
    properties: readable(row.properties),
  };
}

/** Properties with binary values in base64. */
export function readable(properties) {
  if (!properties) return undefined;
  const found = Object.entries(properties).map(([name, value]) => [
    name,
    value instanceof Uint8Array ? base64Of(value) : value,
  ]);
  return Object.fromEntries(found);
}

export function toJson(rows) {
  return JSON.stringify(Array.from(rows, plain), null, 1);
}

const COLUMNS = ["time", "direction", "topic", "qos", "retain", "size", "encoding", "payload", "properties"];

/** RFC 4180. A cell that a spreadsheet would take for a formula gets a ' before it. */
export function toCsv(rows) {
  const lines = [COLUMNS.join(",")];
  for (const row of rows) {
    const found = plain(row);
    found.properties = found.properties ? JSON.stringify(found.properties) : "";
    lines.push(COLUMNS.map((name) => cell(String(found[name]))).join(","));
  }
  return `${lines.join("\r\n")}\r\n`;
}

function cell(text) {
  const safe = /^[\s'"]*[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}

/** Let the browser save it. */
export function save(name, content, type) {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
