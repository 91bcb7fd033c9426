import { explain, t } from "../i18n/index.js";
import { topicProblem } from "../mqtt/topics.js";
import { urlProblem } from "../mqtt/urls.js";
import { randomId } from "../settings.js";
import { Check, NumberField, Pairs, Qos, Select, TextField } from "./fields.jsx";
import { Setups } from "./Setups.jsx";

const UINT32 = 2 ** 32 - 1;

export function SettingsPanel({ connection, page }) {
  const settings = connection.settings.value;
  const set = (changes) => (connection.settings.value = { ...connection.settings.value, ...changes });
  return (
    <section class="panel" id="connection" aria-label={t("settings")}>
      <details open={!connection.connected}>
        <summary>{t("settings")}</summary>
        {connection.isOn && <p class="note">{t("settings.locked")}</p>}
        <fieldset disabled={connection.isOn}>
          <Identity settings={settings} set={set} page={page} />
          <details class="more">
            <summary>{t("settings.more")}</summary>
            <Session settings={settings} set={set} connection={connection} />
            <Will settings={settings} set={set} />
            {settings.version === 5 && (
              <Pairs pairs={settings.userProperties} onInput={(userProperties) => set({ userProperties })} />
            )}
          </details>
        </fieldset>
        <Setups connection={connection} page={page} />
      </details>
    </section>
  );
}

function Identity({ settings, set, page }) {
  const identities = {
    operator: t("settings.operator", { name: page.operator }),
    someone: t("settings.someone"),
  };
  const problem = urlProblem(settings.url, location.href);
  return (
    <div class="grid">
      <TextField label={t("settings.name")} value={settings.name} maxLength={100} onInput={(name) => set({ name })} />
      <Select
        label={t("settings.version")}
        value={settings.version}
        options={{ 5: "5.0", 4: "3.1.1" }}
        onInput={(version) => set({ version })}
      />
      {page.operator && (
        <Select
          label={t("settings.identity")}
          value={settings.operator ? "operator" : "someone"}
          options={identities}
          onInput={(value) => set({ operator: value === "operator" })}
        />
      )}
      {settings.operator ? (
        <p class="note wide">{t("settings.operatorHelp")}</p>
      ) : (
        <>
          <TextField
            wide
            label={t("settings.url")}
            value={settings.url}
            inputMode="url"
            aria-invalid={Boolean(problem)}
            onInput={(url) => set({ url: url.trim() })}
          />
          <div class="with-button">
            <TextField
              label={t("settings.clientId")}
              value={settings.clientId}
              onInput={(clientId) => set({ clientId })}
            />
            <button type="button" class="quiet" onClick={() => set({ clientId: `web-${randomId()}` })}>
              {t("settings.clientIdNew")}
            </button>
          </div>
          <TextField
            label={t("settings.username")}
            value={settings.username}
            onInput={(username) => set({ username })}
          />
          <TextField
            label={t("settings.password")}
            type="password"
            autocomplete="new-password"
            value={settings.password}
            onInput={(password) => set({ password })}
          />
        </>
      )}
    </div>
  );
}

function Session({ settings, set, connection }) {
  return (
    <div class="grid">
      <NumberField
        label={t("settings.keepalive")}
        value={settings.keepalive}
        low={0}
        high={65535}
        onInput={(keepalive) => set({ keepalive })}
      />
      {settings.version === 5 && (
        <NumberField
          label={t("settings.sessionExpiry")}
          value={settings.sessionExpiry}
          low={0}
          high={UINT32}
          onInput={(sessionExpiry) => set({ sessionExpiry })}
        />
      )}
      <NumberField
        label={t("settings.rows")}
        value={settings.rows}
        low={10}
        high={100000}
        onInput={(rows) => {
          set({ rows });
          connection.messages.resize(rows);
        }}
      />
      <Check
        label={t(settings.version === 5 ? "settings.clean" : "settings.clean311")}
        checked={settings.clean}
        onInput={(clean) => set({ clean })}
      />
      <Check
        label={t("settings.reconnect")}
        checked={settings.reconnect}
        onInput={(reconnect) => set({ reconnect })}
      />
    </div>
  );
}

function Will({ settings, set }) {
  const will = settings.will;
  const change = (changes) => set({ will: { ...will, ...changes } });
  const problem = will.topic ? topicProblem(will.topic) : null;
  return (
    <fieldset>
      <legend>{t("will")}</legend>
      <div class="grid">
        <TextField
          wide
          label={t("will.topic")}
          value={will.topic}
          problem={problem ? explain(problem) : ""}
          onInput={(topic) => change({ topic })}
        />
        <TextField wide label={t("will.payload")} value={will.payload} onInput={(payload) => change({ payload })} />
        <Qos value={will.qos} onInput={(qos) => change({ qos })} />
        {settings.version === 5 && (
          <NumberField
            label={t("will.delay")}
            value={will.delay}
            low={0}
            high={UINT32}
            onInput={(delay) => change({ delay })}
          />
        )}
        <Check label={t("retain")} checked={will.retain} onInput={(retain) => change({ retain })} />
      </div>
    </fieldset>
  );
}
