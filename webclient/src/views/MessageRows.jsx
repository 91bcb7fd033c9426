import { useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import { bytes, t } from "../i18n/index.js";
import { preview, visible } from "../messages/payload.js";

const ROW = 30; // pixels, as in styles/messages.css
const BEYOND = 5; // rows drawn above and below what is seen

/** Only the rows that are seen are in the document, however many the list holds. */
export function MessageRows({ connection }) {
  const list = connection.messages;
  list.tick.value;
  const box = useRef(null);
  const placed = useRef(0); // where we, not a person, scrolled to last
  const gone = useRef(list.gone);
  const [top, setTop] = useState(0);
  const [height, setHeight] = useState(400);
  const follow = connection.follow.value;
  const selected = connection.selected.value;
  const length = list.length;

  const scrollTo = (wanted) => {
    box.current.scrollTop = wanted;
    placed.current = box.current.scrollTop;
    setTop(placed.current);
  };

  const reveal = (index) => {
    const at = index * ROW;
    const from = box.current.scrollTop;
    if (index < 0) return;
    if (at < from) scrollTo(at);
    else if (at + ROW > from + height) scrollTo(at + ROW - height);
  };

  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setHeight(entry.contentRect.height));
    observer.observe(box.current);
    return () => observer.disconnect();
  }, []);

  // Rows that made room for new ones move the others up: stay with what is being read.
  useLayoutEffect(() => {
    const moved = list.gone - gone.current;
    gone.current = list.gone;
    if (follow) scrollTo(box.current.scrollHeight);
    else if (moved) scrollTo(Math.max(box.current.scrollTop - moved * ROW, 0));
  }, [list.tick.value, follow, height]);

  // The open message takes room from the list: its row stays in sight.
  useLayoutEffect(() => {
    if (selected && !follow) reveal(list.indexOf(selected));
  }, [height, selected]);

  const onScroll = () => {
    const { scrollTop, scrollHeight, clientHeight } = box.current;
    setTop(scrollTop);
    if (follow && scrollTop < placed.current - 1) connection.follow.value = false;
    else if (!follow && scrollTop > placed.current && scrollHeight - clientHeight - scrollTop < 2) {
      connection.follow.value = true;
    }
  };

  const choose = (index) => {
    const row = list.at(Math.min(Math.max(index, 0), length - 1));
    if (!row) return;
    connection.selected.value = row;
    connection.follow.value = false;
  };

  const onKeyDown = (event) => {
    const at = selected ? list.indexOf(selected) : length;
    const page = Math.max(Math.floor(height / ROW) - 1, 1);
    const moves = {
      ArrowUp: at - 1,
      ArrowDown: at + 1,
      PageUp: at - page,
      PageDown: at + page,
      Home: 0,
      End: length - 1,
      Enter: at,
    };
    if (event.key === "Escape") connection.selected.value = null;
    else if (event.key in moves) choose(moves[event.key]);
    else return;
    event.preventDefault();
  };

  const first = Math.max((follow ? length - Math.ceil(height / ROW) : Math.floor(top / ROW)) - BEYOND, 0);
  const last = Math.min(first + Math.ceil(height / ROW) + 2 * BEYOND, length);
  const rows = [];
  for (let index = first; index < last; index += 1) rows.push(list.at(index));

  return (
    <div
      class="rows"
      ref={box}
      role="listbox"
      tabIndex={0}
      aria-label={t("messages.list")}
      aria-activedescendant={selected ? `message-${selected.seq}` : undefined}
      onScroll={onScroll}
      onKeyDown={onKeyDown}
    >
      {length === 0 && <p class="empty">{t(list.ring.length ? "messages.noneFit" : "messages.none")}</p>}
      <div class="sheet" style={{ height: `${length * ROW}px` }}>
        {rows.map((row, index) => (
          <Row
            key={row.seq}
            row={row}
            place={first + index}
            length={length}
            selected={row === selected}
            onChoose={() => choose(list.indexOf(row))}
          />
        ))}
      </div>
    </div>
  );
}

function Row({ row, place, length, selected, onChoose }) {
  const text = preview(row);
  const incoming = row.direction === "in";
  return (
    <div
      id={`message-${row.seq}`}
      role="option"
      aria-selected={selected}
      aria-posinset={place + 1}
      aria-setsize={length}
      class={`message ${row.direction} colour-${row.colour ?? 0}`}
      style={{ transform: `translateY(${place * ROW}px)` }}
      onClick={onChoose}
    >
      <span class="arrow" aria-label={t(incoming ? "messages.received" : "messages.sent")} role="img">
        {incoming ? "↓" : "↑"}
      </span>
      <time>{clock(row.time)}</time>
      <bdi class="topic">{visible(row.topic)}</bdi>
      <span class="tags">
        {t("qos")} {row.qos}
        {row.retain && <abbr title={t("message.retained")}>R</abbr>}
        {row.dup && <abbr title={t("message.duplicate")}>D</abbr>}
        {row.problem && <strong class="problem">{t(`status.${row.status}`)}</strong>}
      </span>
      <span class="size">{bytes(row.payload.length)}</span>
      <bdi class="preview">
        {row.payload.length === 0 ? t("messages.empty") : row.binary ? `${t("messages.binary")} ${text}` : text}
      </bdi>
    </div>
  );
}

/** Local time with milliseconds. */
export function clock(time) {
  const at = new Date(time);
  const two = (value) => String(value).padStart(2, "0");
  const seconds = `${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
  return `${two(at.getHours())}:${two(at.getMinutes())}:${seconds}`;
}
