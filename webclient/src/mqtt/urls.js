// The server's address, checked before a connection is tried: browsers do not say afterwards what was wrong.

const NOT_FOR_BROWSERS = new Set(["mqtt:", "mqtts:", "tcp:", "ssl:", "tls:"]);

/** The problem of a URL as { key, params }, null if it can be tried from a page at `page` (a URL, too). */
export function urlProblem(url, page) {
  if (!url.trim()) return { key: "url.empty" };
  let parsed;
  try {
    parsed = new URL(url);
  } catch {
    return { key: "url.malformed" };
  }
  if (NOT_FOR_BROWSERS.has(parsed.protocol)) return { key: "url.tcp", params: { scheme: parsed.protocol } };
  if (parsed.protocol !== "ws:" && parsed.protocol !== "wss:") {
    return { key: "url.scheme", params: { scheme: parsed.protocol } };
  }
  if (!parsed.hostname) return { key: "url.malformed" };
  if (parsed.username || parsed.password) return { key: "url.credentials" };
  if (url.includes("#")) return { key: "url.fragment" };
  if (parsed.protocol === "ws:" && new URL(page).protocol === "https:" && !isLoopback(parsed.hostname)) {
    return { key: "url.mixed" };
  }
  return null;
}

/** Why a server that could not be reached may be so, as a key for i18n. */
export function unreachableKey(url) {
  return url.startsWith("wss:") ? "lost.unreachableTls" : "lost.unreachable";
}

function isLoopback(host) {
  return host === "localhost" || host.endsWith(".localhost") || host === "[::1]" || /^127\./.test(host);
}
