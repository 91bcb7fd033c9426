import { signal } from "@preact/signals";
import { THEMES, active, choose, close, connections, nameOf, open, theme } from "../app.js";
import { LANGUAGES, language, t } from "../i18n/index.js";
import { MessagesPanel } from "./MessagesPanel.jsx";
import { PublishPanel } from "./PublishPanel.jsx";
import { SettingsPanel } from "./SettingsPanel.jsx";
import { StateBar } from "./StateBar.jsx";
import { SubscriptionsPanel } from "./SubscriptionsPanel.jsx";
import { Select } from "./fields.jsx";

const PANELS = ["connection", "subscriptions", "publish", "messages"];
const panel = signal("connection"); // the one that a phone shows

export function App({ page }) {
  const connection = connections.value.find((each) => each.id === active.value);
  return (
    <>
      <a class="skip" href="#messages">
        {t("skip")}
      </a>
      <Header page={page} />
      <Tabs page={page} />
      {connection ? (
        <Workplace key={connection.id} connection={connection} page={page} />
      ) : (
        <p class="empty">{t("connection.none")}</p>
      )}
    </>
  );
}

function Header({ page }) {
  const themes = Object.fromEntries(THEMES.map((name) => [name, t(`theme.${name}`)]));
  return (
    <header>
      <h1>{t("title")}</h1>
      <nav>
        {page.operator ? (
          <a href={page.consoleUrl}>{t("console")}</a>
        ) : (
          <a href={page.loginUrl}>{t("signIn")}</a>
        )}
      </nav>
      <Select
        label={t("language")}
        hideLabel
        value={language.value}
        options={LANGUAGES}
        onInput={(value) => choose("language", value)}
      />
      <Select
        label={t("theme")}
        hideLabel
        value={theme.value}
        options={themes}
        onInput={(value) => choose("theme", value)}
      />
    </header>
  );
}

function Tabs({ page }) {
  return (
    <nav class="tabs" aria-label={t("connections")}>
      {connections.value.map((each) => (
        <span key={each.id} class={each.id === active.value ? "tab current" : "tab"}>
          <button
            type="button"
            aria-current={each.id === active.value ? "true" : undefined}
            onClick={() => (active.value = each.id)}
          >
            <i class={`dot ${each.state.value.kind}`} aria-hidden="true" />
            <bdi>{nameOf(each)}</bdi>
          </button>
          <button
            type="button"
            class="quiet"
            aria-label={t("connection.close", { name: nameOf(each) })}
            onClick={() => close(each)}
          >
            ×
          </button>
        </span>
      ))}
      <button type="button" class="quiet" onClick={() => open(page)}>
        + {t("connection.new")}
      </button>
    </nav>
  );
}

function Workplace({ connection, page }) {
  return (
    <>
      <StateBar connection={connection} page={page} />
      <nav class="panels">
        {PANELS.map((name) => (
          <button
            type="button"
            key={name}
            aria-current={panel.value === name ? "true" : undefined}
            onClick={() => (panel.value = name)}
          >
            {t(name)}
          </button>
        ))}
      </nav>
      <div class="workplace" data-panel={panel.value}>
        <div class="left">
          <SettingsPanel connection={connection} page={page} />
          <SubscriptionsPanel connection={connection} />
          <PublishPanel connection={connection} />
        </div>
        <MessagesPanel connection={connection} onReuse={() => (panel.value = "publish")} />
      </div>
    </>
  );
}
