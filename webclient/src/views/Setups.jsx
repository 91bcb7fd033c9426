import { useState } from "preact/hooks";
import { nameOf } from "../app.js";
import { t } from "../i18n/index.js";
import { dropSetup, keepSetup, readSetups } from "../setups.js";
import { Check, Select, TextField } from "./fields.jsx";

/** Save what is set up here in the browser, and load it again. Loading never connects. */
export function Setups({ connection, page }) {
  const [setups, setSetups] = useState(() => readAll(page));
  const [chosen, setChosen] = useState("");
  const [name, setName] = useState(null);
  const [withPassword, setWithPassword] = useState(false);
  const [said, setSaid] = useState(null);
  const options = new Map([["", t("setups.choose")], ...Object.keys(setups).map((each) => [each, each])]);
  const as = name ?? nameOf(connection);

  const save = (event) => {
    event.preventDefault();
    const setup = {
      settings: { ...connection.settings.value, name: as },
      publication: connection.publication.value,
      subscriptions: connection.subscriptions.list.value,
    };
    try {
      keepSetup(localStorage, page, as, setup, withPassword);
      setSaid({ key: "setups.saved", params: { name: as } });
      setSetups(readAll(page));
      setChosen(as);
    } catch (error) {
      setSaid({ key: "setups.failed", params: { why: error.message } });
    }
  };
  const load = () => {
    const setup = setups[chosen];
    connection.settings.value = setup.settings;
    connection.publication.value = setup.publication;
    connection.messages.resize(setup.settings.rows);
    for (const each of connection.subscriptions.list.value) connection.subscriptions.remove(each.id);
    for (const each of setup.subscriptions) connection.subscriptions.add(each);
    setSaid({ key: "setups.loaded", params: { name: chosen } });
  };
  const drop = () => {
    dropSetup(localStorage, page, chosen);
    setSetups(readAll(page));
    setChosen("");
  };

  return (
    <details class="more">
      <summary>{t("setups")}</summary>
      <div class="with-button">
        <Select label={t("setups")} hideLabel value={chosen} options={options} onInput={setChosen} />
        <button type="button" disabled={!chosen || connection.isOn} onClick={load}>
          {t("setups.load")}
        </button>
        <button type="button" class="quiet" disabled={!chosen} onClick={drop}>
          {t("setups.delete")}
        </button>
      </div>
      <form onSubmit={save}>
        <div class="with-button">
          <TextField label={t("setups.name")} value={as} maxLength={100} onInput={setName} />
          <button disabled={!as.trim()}>{t("setups.save")}</button>
        </div>
        <Check label={t("setups.password")} checked={withPassword} onInput={setWithPassword} />
      </form>
      <p class="note" role="status">
        {said && t(said.key, said.params)}
      </p>
    </details>
  );
}

function readAll(page) {
  try {
    return readSetups(localStorage, page);
  } catch {
    return {};
  }
}
