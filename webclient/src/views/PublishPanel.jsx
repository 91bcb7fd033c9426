import { useState } from "preact/hooks";
import { bytes, explain, number, t } from "../i18n/index.js";
import { FORMATS } from "../messages/payload.js";
import { composed } from "../publication.js";
import { FASTEST } from "../repeat.js";
import { Check, Field, NumberField, Pairs, Qos, Select, TextField } from "./fields.jsx";

const UINT32 = 2 ** 32 - 1;
const HOUR = 3_600_000; // milliseconds

export function PublishPanel({ connection }) {
  const [wrong, setWrong] = useState(null);
  const form = connection.publication.value;
  const version = connection.settings.value.version;
  const running = connection.repeater.count.value;
  const set = (changes) => {
    setWrong(null);
    connection.publication.value = { ...form, ...changes };
  };
  const compose = () => {
    const found = composed(connection.publication.value, connection.file.value, version, connection.state.value);
    setWrong(found.problem ? found : null);
    return found.message;
  };
  const send = (event) => {
    event.preventDefault();
    const message = ready && compose(); // Ctrl-Enter asks no button
    if (message) connection.publish(message);
  };
  const repeat = () => {
    const message = compose();
    if (!message) return;
    const once = () => {
      if (!connection.connected) return false;
      connection.publish({ ...message });
      return true;
    };
    connection.repeater.start(once, form.interval);
  };
  const ready = connection.connected && connection.file.value?.payload !== null;
  const problem = (about) => (wrong?.about === about ? explain(wrong.problem) : "");

  return (
    <section class="panel" id="publish" aria-labelledby="publish-title">
      <h2 id="publish-title">{t("publish")}</h2>
      <form onSubmit={send}>
        <TextField
          label={t("publish.topic")}
          value={form.topic}
          problem={problem("topic")}
          onInput={(topic) => set({ topic })}
        />
        <Payload connection={connection} form={form} set={set} problem={problem("payload")} />
        <div class="row">
          <Qos value={form.qos} onInput={(qos) => set({ qos })} />
          <Check label={t("retain")} checked={form.retain} onInput={(retain) => set({ retain })} />
          <button class="primary" disabled={!ready}>
            {t("publish")}
          </button>
        </div>
        {!connection.connected && <p class="note">{t("publish.offline")}</p>}
        {version === 5 && <Properties form={form} set={set} problem={problem("response")} />}
        <details class="more">
          <summary>{t("publish.repeat")}</summary>
          <div class="row">
            <NumberField
              label={t("publish.interval")}
              value={form.interval}
              low={FASTEST}
              high={HOUR}
              onInput={(interval) => set({ interval })}
            />
            {running === null ? (
              <button type="button" disabled={!ready} onClick={repeat}>
                {t("publish.repeat")}
              </button>
            ) : (
              <button type="button" onClick={() => connection.repeater.stop()}>
                {t("publish.stop", { count: number(running) })}
              </button>
            )}
          </div>
        </details>
      </form>
    </section>
  );
}

function Payload({ connection, form, set, problem }) {
  const file = connection.file.value;
  const take = async (event) => {
    const [chosen] = event.target.files;
    if (!chosen) return;
    const reading = { name: chosen.name, payload: null };
    connection.file.value = reading;
    const payload = new Uint8Array(await chosen.arrayBuffer());
    if (connection.file.value === reading) connection.file.value = { ...reading, payload };
    set({});
  };
  if (file) {
    return (
      <div class="with-button">
        <p>
          <bdi>{t("publish.fileName", { name: file.name, size: file.payload ? bytes(file.payload.length) : "…" })}</bdi>
          {problem && (
            <span class="problem" role="alert">
              {problem}
            </span>
          )}
        </p>
        <button type="button" class="quiet" onClick={() => (connection.file.value = null)}>
          {t("publish.fileRemove")}
        </button>
      </div>
    );
  }
  const formats = Object.fromEntries(FORMATS.map((each) => [each, t(`format.${each}`)]));
  return (
    <>
      <Field label={t("publish.payload")} problem={problem}>
        {(aria) => (
          <textarea
            {...aria}
            rows={4}
            spellcheck={false}
            value={form.payload}
            onInput={(event) => set({ payload: event.target.value })}
            onKeyDown={(event) => {
              if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) event.target.form.requestSubmit();
            }}
          />
        )}
      </Field>
      <div class="row">
        <Select
          label={t("publish.format")}
          value={form.format}
          options={formats}
          onInput={(format) => set({ format })}
        />
        <Field label={t("publish.file")}>{(aria) => <input {...aria} type="file" onChange={take} />}</Field>
      </div>
    </>
  );
}

function Properties({ form, set, problem }) {
  return (
    <details class="more">
      <summary>{t("publish.properties")}</summary>
      <div class="grid">
        <TextField
          label={t("publish.contentType")}
          value={form.contentType}
          onInput={(contentType) => set({ contentType })}
        />
        <TextField
          label={t("publish.responseTopic")}
          value={form.responseTopic}
          problem={problem}
          onInput={(responseTopic) => set({ responseTopic })}
        />
        <TextField
          label={t("publish.correlationData")}
          value={form.correlationData}
          onInput={(correlationData) => set({ correlationData })}
        />
        <NumberField
          label={t("publish.messageExpiry")}
          value={form.messageExpiry}
          low={0}
          high={UINT32}
          onInput={(messageExpiry) => set({ messageExpiry })}
        />
      </div>
      <Pairs pairs={form.userProperties} onInput={(userProperties) => set({ userProperties })} />
    </details>
  );
}
