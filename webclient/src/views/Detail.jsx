import { useState } from "preact/hooks";
import { bytes, explain, reason, t } from "../i18n/index.js";
import { readable, save } from "../messages/export.js";
import { FORMATS, base64Of, bestFormat, decode, hexOf, textOf, visible } from "../messages/payload.js";
import { clock } from "./MessageRows.jsx";
import { Select } from "./fields.jsx";

const FIRST = 65_536; // bytes shown before "Show all"

/** A message with its whole payload. */
export function Detail({ connection, row, onReuse }) {
  const [format, setFormat] = useState("auto");
  const [all, setAll] = useState(false);
  const [copied, setCopied] = useState(false);
  const size = row.payload.length;
  const most = all ? Infinity : FIRST;
  const shownAs = format === "auto" ? bestFormat(row.payload.subarray(0, most)) : format;
  const text = decode(shownAs, row.payload, most);
  const formats = Object.fromEntries(["auto", ...FORMATS].map((each) => [each, t(`format.${each}`)]));

  const copy = async () => {
    try {
      await navigator.clipboard.writeText(decode(shownAs, row.payload));
      setCopied(true);
    } catch {
      setCopied(false); // the browser did not allow it
    }
  };
  const reuse = () => {
    const written = textOf(row.payload);
    const payload = written ?? (size <= FIRST ? hexOf(row.payload) : base64Of(row.payload));
    const writtenAs = written !== null ? "text" : size <= FIRST ? "hex" : "base64";
    connection.file.value = null;
    connection.publication.value = {
      ...connection.publication.value,
      topic: row.topic,
      payload,
      format: writtenAs,
      qos: row.qos,
      retain: Boolean(row.retain),
    };
    onReuse();
  };

  return (
    <section class="detail" aria-label={t("detail")}>
      <div class="row">
        <bdi class="topic">{visible(row.topic)}</bdi>
        <button
          type="button"
          class="quiet"
          aria-label={t("detail.close")}
          onClick={() => (connection.selected.value = null)}
        >
          ×
        </button>
      </div>
      <p class="note">
        {t("detail.time")} {clock(row.time)} · {t("qos")} {row.qos} · {t("detail.size")} {bytes(size)}
        {row.retain && ` · ${t("message.retained")}`}
        {row.dup && ` · ${t("message.duplicate")}`}
        {row.status && ` · ${t("detail.status")}: ${t(`status.${row.status}`)}`}
        {row.code > 0 && !row.problem && `. ${reason(row.code)}`}
      </p>
      {row.problem && (
        <p class="problem" role="alert">
          {explain(row.problem)}
        </p>
      )}
      <div class="row">
        <Select label={t("publish.format")} value={format} options={formats} onInput={setFormat} />
        {navigator.clipboard && ( // not there on a page that came over plain HTTP from another machine
          <button type="button" class="quiet" onClick={copy}>
            {t(copied ? "detail.copied" : "detail.copy")}
          </button>
        )}
        <button type="button" class="quiet" onClick={() => save("payload", row.payload, "application/octet-stream")}>
          {t("detail.save")}
        </button>
        <button type="button" class="quiet" onClick={reuse}>
          {t("detail.reuse")}
        </button>
      </div>
      <pre tabIndex={0} class={shownAs}>
        {text}
      </pre>
      {!all && size > FIRST && (
        <p class="note">
          {t("detail.cut", { shown: bytes(FIRST), size: bytes(size) })}{" "}
          <button type="button" class="quiet" onClick={() => setAll(true)}>
            {t("detail.all")}
          </button>
        </p>
      )}
      {row.properties && Object.keys(row.properties).length > 0 && (
        <>
          <h3>{t("detail.properties")}</h3>
          <pre class="json">{JSON.stringify(readable(row.properties), null, 2)}</pre>
        </>
      )}
    </section>
  );
}
