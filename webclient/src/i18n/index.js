// The page's languages. A text is { key, params, code, text } or a key with params.

import { signal } from "@preact/signals";
import { hex } from "../mqtt/reasons.js";
import { en } from "./en.js";
import { zhHans } from "./zh-hans.js";

export const LANGUAGES = { en: "English", "zh-hans": "简体中文" };
const TEXTS = { en, "zh-hans": zhHans };

export const language = signal("en");

/** The text of a key in the page's language, {name} replaced from `params`. */
export function t(key, params = {}) {
  const text = TEXTS[language.value][key];
  if (text === undefined) throw new Error(`no text for ${key}`);
  return text.replace(/\{(\w+)\}/g, (_, name) => String(params[name]));
}

/** A problem as a sentence or two: what happened, the reason code in words, what the server said. */
export function explain(problem) {
  const parts = [t(problem.key, problem.params)];
  if (problem.code !== undefined) parts.push(`${reason(problem.code)} (${hex(problem.code)})`);
  if (problem.text) parts.push(t("said", { text: problem.text }));
  return parts.join(" ");
}

/** A reason code in words. */
export function reason(code) {
  return TEXTS[language.value].reasons[code] ?? t("reason.unknown");
}

export function bytes(count) {
  if (count < 1024) return t("bytes", { count });
  const [divided, unit] = count < 1 << 20 ? [count / 1024, "KiB"] : [count / (1 << 20), "MiB"];
  return `${divided.toFixed(divided < 10 ? 1 : 0)} ${unit}`;
}

export function number(count) {
  return count.toLocaleString(language.value === "en" ? "en" : "zh-Hans");
}
