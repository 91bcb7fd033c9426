// The live dashboard: one sample a second over a WebSocket, ranges over HTTP.
const root = document.getElementById("dashboard");
const KEEP = 300; // points of the live range
const COLOURS = ["#2563eb", "#16a34a"];
const number = new Intl.NumberFormat(document.documentElement.lang || "en", { maximumFractionDigits: 1 });
const charts = [];
let range = "5m";
let retry = 1000; // milliseconds

function bytes(value) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${number.format(value)} ${units[unit]}`;
}

function show(values) {
  const all = { ...values, offline: Math.max(values.sessions - values.connections, 0) };
  for (const element of root.querySelectorAll("[data-value]")) {
    const value = all[element.dataset.value];
    if (value !== undefined) element.textContent = element.dataset.unit ? bytes(value) : number.format(value);
  }
}

function showWhose(of) {
  const text = of.nodes.length === 1 && !of.missing.length
    ? root.dataset.ofNode.replace("{node}", of.nodes[0])
    : root.dataset.ofCluster.replace("{count}", number.format(of.nodes.length));
  const missing = of.missing.length ? ` ${root.dataset.ofMissing} ${of.missing.join(", ")}` : "";
  root.querySelector("[data-of]").textContent = text + missing;
}

function fill(name, counts) {
  const body = root.querySelector(`[data-table="${name}"]`);
  const rows = Object.entries(counts).sort((a, b) => b[1] - a[1]);
  body.replaceChildren(...(rows.length ? rows : [[root.dataset.none, ""]]).map(([key, count]) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = name === "refused" && count !== "" ? `0x${Number(key).toString(16).padStart(2, "0")}` : key;
    const cell = document.createElement("td");
    cell.className = "gm-number";
    cell.textContent = count === "" ? "" : number.format(count);
    row.append(head, cell);
    return row;
  }));
}

function fillNodes(nodes) {
  const cells = ["state", "version", "connections", "bridge"];
  root.querySelector("[data-nodes]").replaceChildren(...nodes.map((node) => {
    const row = document.createElement("tr");
    const head = document.createElement("th");
    head.scope = "row";
    head.textContent = node.name;
    row.dataset.health = node.state;
    const lag = node.lag === null ? "" : ` (${number.format(node.lag)})`;
    const shown = {
      ...node,
      state: root.dataset[node.state] || node.state,
      connections: node.connections === null ? "–" : number.format(node.connections),
      bridge: node.bridge ? node.bridge + lag : "–",
    };
    row.append(head, ...cells.map((name) => {
      const cell = document.createElement("td");
      cell.textContent = shown[name];
      return cell;
    }));
    return row;
  }));
}

function label(at) {
  const date = new Date(at * 1000);
  if (range === "7d") return date.toLocaleString([], { month: "short", day: "numeric", hour: "2-digit" });
  return date.toLocaleTimeString([], range === "5m" ? {} : { hour: "2-digit", minute: "2-digit" });
}

function makeCharts() {
  const dark = document.documentElement.classList.contains("dark");
  const soft = dark ? "#9ca3af" : "#4b5563";
  const line = dark ? "#1f2937" : "#e5e7eb";
  for (const canvas of root.querySelectorAll("[data-chart]")) {
    const names = canvas.dataset.chart.split(",");
    const labels = canvas.dataset.label.split(",");
    const datasets = names.map((name, index) => ({
      label: labels[index], data: [], borderColor: COLOURS[index], borderWidth: 2, pointRadius: 0, tension: 0.2,
    }));
    const options = {
      animation: false, responsive: true, maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      plugins: { legend: { display: names.length > 1, labels: { color: soft } } },
      scales: {
        x: { ticks: { maxTicksLimit: 6, color: soft, maxRotation: 0 }, grid: { color: line } },
        y: { beginAtZero: true, ticks: { color: soft, maxTicksLimit: 5 }, grid: { color: line } },
      },
    };
    charts.push({ names, chart: new Chart(canvas, { type: "line", data: { labels: [], datasets }, options }) });
  }
}

function draw(points) {
  for (const { names, chart } of charts) {
    chart.data.labels = points.map((point) => label(point.at));
    names.forEach((name, index) => { chart.data.datasets[index].data = points.map((point) => point[name]); });
    chart.update("none");
  }
}

function append(at, values) {
  for (const { names, chart } of charts) {
    chart.data.labels.push(label(at));
    if (chart.data.labels.length > KEEP) chart.data.labels.shift();
    names.forEach((name, index) => {
      const data = chart.data.datasets[index].data;
      data.push(values[name]);
      if (data.length > KEEP) data.shift();
    });
    chart.update("none");
  }
}

async function load() {
  const wanted = range;
  const response = await fetch(`${root.dataset.history}?range=${wanted}`, { credentials: "same-origin" });
  if (response.ok && wanted === range) draw((await response.json()).points);
}

function state(connected, text) {
  root.dataset.connected = connected;
  root.querySelector("[data-state]").textContent = text;
}

function follow() {
  const scheme = location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}${root.dataset.feed}`);
  socket.onmessage = (event) => {
    const sample = JSON.parse(event.data);
    retry = 1000;
    state(true, root.dataset.live);
    show(sample.values);
    showWhose(sample.of);
    fill("drops", sample.drops);
    fill("refused", sample.refused);
    fillNodes(sample.nodes);
    const { status, failing, notes } = sample.health;
    root.querySelector("[data-health]").textContent = [
      status === "ok" ? root.dataset.ok : `${root.dataset.failing} ${failing.join(", ")}`, ...notes,
    ].join(" · ");
    root.querySelector("[data-empty]").hidden = sample.values.sessions > 0;
    if (range === "5m" && !document.hidden) append(sample.at, sample.values);
  };
  socket.onclose = () => {
    state(false, root.dataset.lost);
    setTimeout(() => { follow(); load(); }, retry);
    retry = Math.min(retry * 2, 30000);
  };
}

for (const button of root.querySelectorAll("[data-range]")) {
  button.addEventListener("click", () => {
    range = button.dataset.range;
    for (const other of root.querySelectorAll("[data-range]")) other.setAttribute("aria-pressed", other === button);
    load();
  });
}
document.addEventListener("visibilitychange", () => { if (!document.hidden) load(); });
setInterval(() => { if (range !== "5m" && !document.hidden) load(); }, 60000);
makeCharts();
load();
follow();
