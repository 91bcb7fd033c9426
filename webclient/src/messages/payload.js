// Payloads, to and from what people read and write. A payload is a Uint8Array.

const strict = new TextDecoder("utf-8", { fatal: true });
const lenient = new TextDecoder("utf-8");
const encoder = new TextEncoder();

export const FORMATS = ["text", "json", "hex", "base64"];
const PREVIEW = 200; // bytes
const SEARCHED = 65_536; // bytes of a payload
const JSON_MOST = 1 << 20; // bytes of a payload that is indented

/** Bytes of what was written in a format. Throws { key, params }, for i18n. */
export function encode(format, written) {
  if (format === "json") {
    try {
      JSON.parse(written);
    } catch (error) {
      throw { key: "payload.json", params: { why: error.message } };
    }
    return encoder.encode(written);
  }
  if (format === "hex") {
    const digits = written.replace(/0x|[\s:,-]/gi, "");
    if (!/^([0-9a-f]{2})*$/i.test(digits)) throw { key: "payload.hex" };
    return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  }
  if (format === "base64") {
    try {
      return Uint8Array.from(atob(written.replace(/\s/g, "")), (character) => character.charCodeAt(0));
    } catch {
      throw { key: "payload.base64" };
    }
  }
  return encoder.encode(written);
}

/** The payload as text, null where it is not UTF-8 or holds control characters. */
export function textOf(payload) {
  try {
    const text = strict.decode(payload);
    return /[\0-\x08\x0b\x0c\x0e-\x1f]/.test(text) ? null : text;
  } catch {
    return null;
  }
}

export function hexOf(payload) {
  return Array.from(payload, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

export function base64Of(payload) {
  const parts = [];
  for (let at = 0; at < payload.length; at += 32_766) {
    parts.push(btoa(String.fromCharCode(...payload.subarray(at, at + 32_766))));
  }
  return parts.join("");
}

/** The format that shows it best: json, text or hex. */
export function bestFormat(payload) {
  const text = textOf(payload);
  if (text === null) return "hex";
  return payload.length <= JSON_MOST && indented(text) !== null ? "json" : "text";
}

/** The first `most` bytes in a format. JSON is whole or not at all: then it is shown as text. */
export function decode(format, payload, most = Infinity) {
  const part = payload.subarray(0, most);
  if (format === "json" && part.length === payload.length) {
    return indented(lenient.decode(payload)) ?? lenient.decode(part);
  }
  if (format === "hex") return hexOf(part);
  if (format === "base64") return base64Of(part);
  return lenient.decode(part);
}

/** JSON with line breaks, null for anything else. Its tokens stay as they came: no number is rounded. */
export function indented(text) {
  try {
    JSON.parse(text);
  } catch {
    return null;
  }
  let depth = 0;
  const onNewLine = () => `\n${"  ".repeat(depth)}`;
  const tokens = text.match(/"(?:[^"\\]|\\.)*"|[^\s"[\]{},:]+|[[\]{},:]/g) ?? [];
  return tokens
    .map((token, at) => {
      if (token === "{" || token === "[") {
        if (tokens[at + 1] === "}" || tokens[at + 1] === "]") return token;
        depth += 1;
        return token + onNewLine();
      }
      if (token === "}" || token === "]") {
        if (tokens[at - 1] === "{" || tokens[at - 1] === "[") return token;
        depth -= 1;
        return onNewLine() + token;
      }
      if (token === ",") return token + onNewLine();
      return token === ":" ? ": " : token;
    })
    .join("");
}

/** One line for the list, made once. */
export function preview(row) {
  if (row.preview === null) {
    const part = row.payload.subarray(0, PREVIEW);
    // What was cut in the middle of a character is still text.
    const whole = part.length === row.payload.length;
    const text = textOf(part) ?? (whole ? null : textOf(part.subarray(0, lastCharacter(part))));
    row.preview = text === null ? hexOf(part.subarray(0, 32)) : visible(text.replace(/\s+/g, " "));
    row.binary = text === null;
  }
  return row.preview;
}

/** Control characters as their pictures, U+2400 and on. */
export function visible(text) {
  return text.replace(/[\0-\x1f]/g, (character) => String.fromCharCode(0x2400 + character.charCodeAt(0)));
}

function lastCharacter(part) {
  let end = part.length - 1;
  while (end > 0 && (part[end] & 0xc0) === 0x80) end -= 1;
  return end;
}

/** What the text filter looks at, in lower case. */
export function searchable(row) {
  return `${row.topic}\n${lenient.decode(row.payload.subarray(0, SEARCHED))}`.toLowerCase();
}
