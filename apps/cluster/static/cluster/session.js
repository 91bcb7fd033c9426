// A client's live counters, asked for every other second.
const root = document.getElementById("now");
const state = root.querySelector("[data-state]");
const PAUSE = 2000; // milliseconds
let before = null;

function shown(value) {
  return typeof value === "boolean" ? (value ? root.dataset.yes : root.dataset.no) : String(value ?? 0);
}

async function look() {
  try {
    const response = await fetch(root.dataset.url, { credentials: "same-origin" });
    const answer = await response.json();
    if (!response.ok) throw new Error(answer.detail ?? answer.code);
    for (const element of root.querySelectorAll("[data-now]")) {
      element.textContent = shown(element.dataset.now.split(".").reduce((found, name) => found?.[name], answer));
    }
    const at = performance.now();
    if (before && before.connected_at === answer.connected_at) {
      const rate = (name) => ((answer[name] ?? 0) - (before[name] ?? 0)) / ((at - before.at) / 1000);
      root.querySelector("[data-rates]").textContent = `${rate("publishes_in").toFixed(1)} / ${rate("publishes_out").toFixed(1)}`;
    }
    before = { ...answer, at };
    state.textContent = "";
  } catch (error) {
    state.textContent = error.message;
  }
  setTimeout(look, PAUSE);
}
look();
