// The building blocks of the forms. Each has a label of its own, and says below itself what is wrong.

import { useId, useState } from "preact/hooks";
import { t } from "../i18n/index.js";

export function Field({ label, problem, wide, children }) {
  const id = useId();
  return (
    <div class={wide ? "field wide" : "field"}>
      <label for={id}>{label}</label>
      {children({ id, "aria-invalid": Boolean(problem), "aria-describedby": problem ? `${id}-problem` : undefined })}
      {problem && (
        <p class="problem" id={`${id}-problem`} role="alert">
          {problem}
        </p>
      )}
    </div>
  );
}

export function TextField({ label, value, onInput, problem, wide, ...more }) {
  return (
    <Field label={label} problem={problem} wide={wide}>
      {(aria) => (
        <input
          {...aria}
          type="text"
          spellcheck={false}
          autocomplete="off"
          autocapitalize="off"
          {...more}
          value={value}
          onInput={(event) => onInput(event.target.value)}
        />
      )}
    </Field>
  );
}

/** `onInput` hears whole numbers from `low` to `high` only. */
export function NumberField({ label, value, low, high, onInput }) {
  const [written, setWritten] = useState(null); // what is no such number yet
  const problem = written === null ? "" : t("number.range", { low, high });
  const take = (text) => {
    const found = Number(text);
    const good = text.trim() !== "" && Number.isInteger(found) && found >= low && found <= high;
    setWritten(good ? null : text);
    if (good) onInput(found);
  };
  return (
    <Field label={label} problem={problem}>
      {(aria) => (
        <input
          {...aria}
          type="number"
          min={low}
          max={high}
          step={1}
          value={written ?? value}
          onInput={(event) => take(event.target.value)}
          onBlur={() => setWritten(null)}
        />
      )}
    </Field>
  );
}

/** `options`: value -> text. Values that are numbers come back as numbers. */
export function Select({ label, value, options, onInput, hideLabel }) {
  const id = useId();
  const entries = options instanceof Map ? [...options] : Object.entries(options);
  return (
    <div class={hideLabel ? "field bare" : "field"}>
      <label for={id} class={hideLabel ? "hidden" : undefined}>
        {label}
      </label>
      <select
        id={id}
        value={String(value)}
        onChange={(event) => onInput(typeof value === "number" ? Number(event.target.value) : event.target.value)}
      >
        {entries.map(([each, text]) => (
          <option key={each} value={String(each)}>
            {text}
          </option>
        ))}
      </select>
    </div>
  );
}

export function Check({ label, checked, onInput, disabled }) {
  return (
    <label class="check">
      <input
        type="checkbox"
        checked={checked}
        disabled={disabled}
        onChange={(event) => onInput(event.target.checked)}
      />
      {label}
    </label>
  );
}

export function Qos({ value, onInput }) {
  return <Select label={t("qos")} value={value} options={{ 0: "0", 1: "1", 2: "2" }} onInput={onInput} />;
}

/** Names and values, in their order; a name may come twice. */
export function Pairs({ pairs, onInput }) {
  const change = (at, part, text) =>
    onInput(pairs.map((pair, index) => (index === at ? pair.with(part, text) : pair)));
  return (
    <fieldset class="pairs">
      <legend>{t("userProperties")}</legend>
      {pairs.map(([name, value], at) => (
        <div class="pair" key={at}>
          <input
            aria-label={t("userProperties.name")}
            value={name}
            onInput={(event) => change(at, 0, event.target.value)}
          />
          <input
            aria-label={t("userProperties.value")}
            value={value}
            onInput={(event) => change(at, 1, event.target.value)}
          />
          <button type="button" class="quiet" onClick={() => onInput(pairs.filter((_, index) => index !== at))}>
            {t("remove")}
          </button>
        </div>
      ))}
      <button type="button" class="quiet" onClick={() => onInput([...pairs, ["", ""]])}>
        {t("userProperties.add")}
      </button>
    </fieldset>
  );
}
