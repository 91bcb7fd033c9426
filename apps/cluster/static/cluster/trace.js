// A trace, live: what came since is asked for once a second until the trace has ended.
const root = document.getElementById("trace");
const body = root.querySelector("tbody");
const MOST_ROWS = 5000;
const APART = ["at", "node", "client_id", "event", "type"];
let after = {};

function row(entry) {
  const made = document.createElement("tr");
  const details = Object.entries(entry).filter(([name]) => !APART.includes(name))
    .map(([name, value]) => `${name}: ${Array.isArray(value) ? value.join(", ") : value}`).join("; ");
  const time = new Date(entry.at * 1000).toISOString().slice(11, 23);
  for (const text of [time, entry.node, entry.client_id, `${entry.event} ${entry.type ?? ""}`, details]) {
    const cell = document.createElement("td");
    cell.textContent = text;
    made.append(cell);
  }
  return made;
}

async function look() {
  let ended = false;
  try {
    const response = await fetch(`?after=${encodeURIComponent(JSON.stringify(after))}`, { credentials: "same-origin" });
    if (!response.ok) throw new Error(String(response.status));
    const answer = await response.json();
    after = answer.next;
    ended = answer.ended;
    body.append(...answer.entries.map(row));
    while (body.rows.length > MOST_ROWS) body.deleteRow(0);
    const missing = Object.keys(answer.missing);
    root.querySelector("[data-state]").textContent = (ended ? root.dataset.ended : root.dataset.recording)
      + (missing.length ? ` ${root.dataset.missing} ${missing.join(", ")}` : "");
  } catch (error) {
    root.querySelector("[data-state]").textContent = String(error);
  }
  if (!ended) setTimeout(look, 1000);
}
look();
