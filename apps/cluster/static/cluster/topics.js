// Rates of the watched topic filters: counts of every node once a second; a rate is the difference of two.
const root = document.getElementById("rates");
const rows = [...root.querySelectorAll("[data-filter]")];
const state = root.querySelector("[data-state]");
const PAUSE = 1000; // milliseconds
let before = {};

function rate(nodes, filter, what) {
  let sum = null;
  for (const [node, now] of Object.entries(nodes)) {
    const then = before[node];
    const seconds = then ? now.at - then.at : 0;
    const difference = then?.counts[filter] ? now.counts[filter][what] - then.counts[filter][what] : -1;
    if (seconds > 0 && difference >= 0) sum = (sum ?? 0) + difference / seconds; // below 0: the node has started anew
  }
  return sum === null ? "–" : sum.toFixed(sum < 10 ? 1 : 0);
}

async function look() {
  try {
    const query = new URLSearchParams([["rates", ""], ...rows.map((row) => ["watch", row.dataset.filter])]);
    const response = await fetch(`?${query}`, { credentials: "same-origin" });
    if (!response.ok) throw new Error(String(response.status));
    const { nodes, missing } = await response.json();
    for (const row of rows) {
      row.querySelector("[data-messages]").textContent = rate(nodes, row.dataset.filter, 0);
      row.querySelector("[data-bytes]").textContent = rate(nodes, row.dataset.filter, 1);
    }
    before = nodes;
    const names = Object.keys(missing);
    state.textContent = names.length ? `${root.dataset.missing} ${names.join(", ")}` : "";
  } catch (error) {
    state.textContent = String(error);
  }
  setTimeout(look, PAUSE);
}
if (rows.length) look();
