import { useState } from "preact/hooks";
import { explain, number, t } from "../i18n/index.js";
import { COLOURS } from "../mqtt/subscriptions.js";
import { filterProblem } from "../mqtt/topics.js";
import { Check, Qos, Select, TextField } from "./fields.jsx";

export function SubscriptionsPanel({ connection }) {
  const list = connection.subscriptions.list.value;
  return (
    <section class="panel" id="subscriptions" aria-labelledby="subscriptions-title">
      <h2 id="subscriptions-title">{t("subscriptions")}</h2>
      <NewSubscription connection={connection} />
      {list.length === 0 ? (
        <p class="empty">{t("subscriptions.none")}</p>
      ) : (
        <ul class="subscriptions">
          {list.map((each) => (
            <Subscription key={each.id} connection={connection} subscription={each} />
          ))}
        </ul>
      )}
    </section>
  );
}

function NewSubscription({ connection }) {
  const [filter, setFilter] = useState("");
  const [options, setOptions] = useState({ qos: 0, noLocal: false, retainAsPublished: false, retainHandling: 0 });
  const [asked, setAsked] = useState(false);
  const problem = filter || asked ? filterProblem(filter) : null;
  const change = (changes) => setOptions({ ...options, ...changes });
  const add = (event) => {
    event.preventDefault();
    setAsked(true);
    if (filterProblem(filter)) return;
    connection.subscriptions.add({ filter, ...options, colour: 0 });
    setFilter("");
    setAsked(false);
  };
  return (
    <form onSubmit={add}>
      <div class="with-button">
        <TextField
          label={t("subscription.filter")}
          placeholder={t("subscription.placeholder")}
          value={filter}
          problem={problem ? explain(problem) : ""}
          onInput={setFilter}
        />
        <Qos value={options.qos} onInput={(qos) => change({ qos })} />
        <button class="primary">{t("subscribe")}</button>
      </div>
      {connection.settings.value.version === 5 && (
        <details class="more">
          <summary>{t("subscription.options")}</summary>
          <div class="grid">
            <Select
              label={t("subscription.retainHandling")}
              value={options.retainHandling}
              options={Object.fromEntries([0, 1, 2].map((each) => [each, t(`retainHandling.${each}`)]))}
              onInput={(retainHandling) => change({ retainHandling })}
            />
            <Check
              label={t("subscription.noLocal")}
              checked={options.noLocal}
              onInput={(noLocal) => change({ noLocal })}
            />
            <Check
              label={t("subscription.retainAsPublished")}
              checked={options.retainAsPublished}
              onInput={(retainAsPublished) => change({ retainAsPublished })}
            />
          </div>
        </details>
      )}
    </form>
  );
}

function Subscription({ connection, subscription }) {
  const { id, filter, state, granted, problem, colour, paused } = subscription;
  const subscriptions = connection.subscriptions;
  connection.messages.tick.value; // its count goes with the messages
  return (
    <li class={`colour-${colour}`}>
      <button
        type="button"
        class="swatch"
        aria-label={t("subscription.colour", { filter })}
        onClick={() => subscriptions.paint(id, (colour % COLOURS) + 1)}
      />
      <div>
        <bdi class="topic">{filter}</bdi>
        <p class="note">
          <span class={`granted ${state}`}>{t(`subscription.${state}`, { qos: granted })}</span>
          {" · "}
          {t("subscription.count", { count: number(subscriptions.countOf(id)) })}
          {paused && ` · ${t("subscription.paused")}`}
        </p>
        {problem && (
          <p class="problem" role="alert">
            {explain(problem)}
          </p>
        )}
      </div>
      <button
        type="button"
        class="quiet"
        aria-pressed={paused}
        aria-label={t(paused ? "subscription.resume" : "subscription.pause", { filter })}
        onClick={() => subscriptions.pause(id, !paused)}
      >
        {paused ? "▶" : "❚❚"}
      </button>
      <button
        type="button"
        class="quiet"
        aria-label={t("unsubscribe.from", { filter })}
        onClick={() => subscriptions.remove(id)}
      >
        ×
      </button>
    </li>
  );
}
