import { useEffect, useState } from "preact/hooks";
import { explain, t } from "../i18n/index.js";
import { settingsProblem } from "../settings.js";

/** Whether and as whom the connection is there, and if not, why not. */
export function StateBar({ connection, page }) {
  const state = connection.state.value;
  const identity = connection.identity.value;
  const settings = connection.settings.value;
  const problem = connection.isOn ? null : settingsProblem(settings, location.href);
  const told = problem ? [problem] : [state.cause, state.problem];
  const problems = told.filter((each, at) => each && told.indexOf(each) === at);
  return (
    <section class="state" aria-label={t("connection")}>
      <p role="status">
        <i class={`dot ${state.kind}`} aria-hidden="true" />
        <strong>{stateText(state)}</strong>{" "}
        {state.kind === "connected" && <bdi>{t("state.as", { clientId: identity.clientId })}</bdi>}
        {state.sessionPresent && <span class="note"> {t("state.session")}</span>}
        {state.kind === "waiting" && <Countdown state={state} />}
      </p>
      <div class="buttons">
        {state.kind === "waiting" && (
          <button type="button" onClick={() => connection.connect()}>
            {t("retryNow")}
          </button>
        )}
        {connection.isOn ? (
          <button type="button" onClick={() => connection.disconnect()}>
            {state.kind === "connected" ? t("disconnect") : t("cancel")}
          </button>
        ) : (
          <button type="button" class="primary" disabled={Boolean(problem)} onClick={() => connection.connect()}>
            {settings.operator ? t("connectAs", { name: page.operator }) : t("connect")}
          </button>
        )}
      </div>
      {problems.map((each) => (
        <p class="problem" role="alert" key={each.key}>
          {explain(each)}
        </p>
      ))}
      {identity?.leftOut > 0 && <p class="note">{t("operator.leftOut", { count: identity.leftOut })}</p>}
    </section>
  );
}

function stateText(state) {
  if (state.kind === "waiting") return "";
  if (state.kind === "connecting" && state.tries) return t("state.retrying", { tries: state.tries });
  return t(`state.${state.kind}`);
}

function Countdown({ state }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), 500);
    return () => clearInterval(timer);
  }, []);
  const seconds = Math.max(Math.ceil((state.at - now) / 1000), 0);
  return <strong>{t("state.waiting", { tries: state.tries, seconds })}</strong>;
}
