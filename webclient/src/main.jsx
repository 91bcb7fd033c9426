import { render } from "preact";
import { start } from "./app.js";
import { startTicker } from "./mqtt/ticker.js";
import { readPage } from "./page.js";
import { App } from "./views/App.jsx";
import "./styles/base.css";
import "./styles/layout.css";
import "./styles/messages.css";
import "./styles/phone.css";

const root = document.getElementById("client");
const page = readPage(root.dataset, location);
startTicker(page.worker);
start(page);
root.replaceChildren();
render(<App page={page} />, root);
