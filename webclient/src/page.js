// What the server wrote into the page, and what the page's address asks for. Nothing in the address can name a
// server or credentials, so a link can only lead to this node.

/** Both of the document's URL and its <main>; `host` as in location. */
export function readPage(dataset, location) {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const asked = new URLSearchParams(location.search);
  return {
    url: `${scheme}://${location.host}${dataset.path}`,
    operator: dataset.operator ?? "",
    tokenUrl: dataset.token ?? "",
    csrf: dataset.csrf ?? "",
    loginUrl: dataset.login ?? "",
    consoleUrl: dataset.console ?? "",
    worker: dataset.worker ?? "",
    language: dataset.language ?? "en",
    // The server says so only where the operator came by a link of this site: a click of his.
    connectNow: dataset.connect === "operator" && Boolean(dataset.operator),
    topics: asked.getAll("topics").flatMap(listed).slice(0, 100),
  };
}

/** Filters separated by commas; one with a comma in it is written %2C inside the value. */
function listed(value) {
  return value
    .split(",")
    .map((part) => {
      try {
        return decodeURIComponent(part);
      } catch {
        return part;
      }
    })
    .filter(Boolean);
}
