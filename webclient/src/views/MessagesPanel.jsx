import { useState } from "preact/hooks";
import { number, t } from "../i18n/index.js";
import { save, toCsv, toJson } from "../messages/export.js";
import { Detail } from "./Detail.jsx";
import { Check, Select, TextField } from "./fields.jsx";
import { MessageRows } from "./MessageRows.jsx";

export function MessagesPanel({ connection, onReuse }) {
  return (
    <section class="panel messages" id="messages" aria-labelledby="messages-title" tabIndex={-1}>
      <h2 id="messages-title">{t("messages")}</h2>
      <Filter list={connection.messages} />
      <Counts connection={connection} />
      <MessageRows connection={connection} />
      {connection.selected.value && (
        <Detail
          key={connection.selected.value.seq}
          connection={connection}
          row={connection.selected.value}
          onReuse={onReuse}
        />
      )}
    </section>
  );
}

function Filter({ list }) {
  const [criteria, setCriteria] = useState(list.criteria);
  const set = (changes) => {
    list.filter(changes);
    setCriteria(list.criteria);
  };
  return (
    <div class="filter">
      <TextField
        label={t("messages.filterTopic")}
        type="search"
        value={criteria.topic}
        onInput={(topic) => set({ topic })}
      />
      <TextField
        label={t("messages.filterText")}
        type="search"
        value={criteria.text}
        onInput={(text) => set({ text })}
      />
      <Select
        label={t("messages.direction")}
        value={criteria.direction}
        options={{ "": t("messages.all"), in: t("messages.in"), out: t("messages.out") }}
        onInput={(direction) => set({ direction })}
      />
    </div>
  );
}

function Counts({ connection }) {
  const list = connection.messages;
  list.tick.value;
  const counts = { shown: number(list.length), received: number(list.received), sent: number(list.sent) };
  const name = (ending) => `mqtt-messages-${new Date().toISOString().replace(/[:.]/g, "-")}.${ending}`;
  return (
    <div class="counts">
      <p class="note" role="status" aria-live="off">
        <span>{t("messages.count", counts)}</span>
        {list.ring.leftOut > 0 && (
          <span class="left-out"> · {t("messages.leftOut", { count: number(list.ring.leftOut) })}</span>
        )}
        {list.paused > 0 && <span> · {t("messages.paused", { count: number(list.paused) })}</span>}
      </p>
      <div class="row">
        <Check
          label={t("messages.follow")}
          checked={connection.follow.value}
          onInput={(follow) => (connection.follow.value = follow)}
        />
        <button
          type="button"
          class="quiet"
          onClick={() => {
            list.clear();
            connection.selected.value = null;
          }}
        >
          {t("messages.clear")}
        </button>
        <button
          type="button"
          class="quiet"
          disabled={!list.length}
          onClick={() => save(name("json"), toJson(list.shown()), "application/json")}
        >
          {t("messages.exportJson")}
        </button>
        <button
          type="button"
          class="quiet"
          disabled={!list.length}
          onClick={() => save(name("csv"), toCsv(list.shown()), "text/csv")}
        >
          {t("messages.exportCsv")}
        </button>
      </div>
    </div>
  );
}
