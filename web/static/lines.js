// The newest lines of the history, new ones on top. While somebody reads, or has stopped them, those
// that come wait.

import { clock, follow } from "/static/live.js";

const SHOWN_MAX = 200;
const NO_AIS = new Set(["hub", "operator", "gateway"]); // who speaks, and has no page

/** Show in `box` the lines that the stream tells. */
export function begin(box) {
  const rows = box.querySelector("tbody");
  const button = document.getElementById("pause");
  const waiting = document.getElementById("waiting");
  const dialog = document.getElementById("entry");
  let isPaused = false;
  let held = []; // rows, the newest first
  let came = 0; // so many lines are held, or were and had to make room

  const isRead = () => box.scrollTop > 0 || rows.contains(document.activeElement) || dialog.open;

  function take({ lines, left_out: leftOut, missed }) {
    const news = lines.map(rowOf).reverse();
    if (leftOut) news.push(note(`${leftOut.toLocaleString("en")} more lines came than can be shown.`));
    if (missed) news.push(note("Here lines are missing: there was no connection for too long."));
    held = [...news, ...held].slice(0, SHOWN_MAX);
    came += lines.length + leftOut;
    settle();
  }

  /** Show what is held, unless it is to wait. */
  function settle() {
    const isHeld = isPaused || isRead();
    if (!isHeld) {
      rows.prepend(...held);
      while (rows.rows.length > SHOWN_MAX) rows.deleteRow(-1);
      held = [];
      came = 0;
      document.getElementById("none").hidden = rows.rows.length > 0;
    }
    button.textContent = isHeld ? "Go on" : "Pause";
    waiting.textContent = isHeld ? `Waiting${isPaused ? "" : " while you read"}: ${came.toLocaleString("en")} new` : "";
  }

  function toggle() {
    isPaused = !(isPaused || isRead());
    if (!isPaused) {
      box.scrollTop = 0;
      if (rows.contains(document.activeElement)) box.focus({ preventScroll: true });
    }
    settle();
  }

  async function show(link) {
    const place = dialog.querySelector(".entry");
    place.textContent = "Reading …";
    dialog.showModal();
    try {
      const answer = await fetch(link.href, { headers: { Accept: "text/html" } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      place.replaceChildren(...page.getElementById("main").childNodes);
    } catch {
      place.textContent = "There is no connection to coord: it could not be read.";
    }
  }

  box.addEventListener("scroll", settle);
  rows.addEventListener("focusin", settle);
  rows.addEventListener("focusout", () => setTimeout(settle)); // by then the focus is where it goes
  dialog.addEventListener("close", settle);
  button.addEventListener("click", toggle);
  document.addEventListener("keydown", (event) => {
    const isTyped = event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select, dialog");
    if (event.key === "p" && !isTyped) toggle();
  });
  rows.addEventListener("click", (event) => {
    const link = event.target.closest("tr").querySelector("th a");
    const other = event.target.closest("a");
    if (!link || (other && other !== link) || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    show(link);
  });
  for (const choice of document.querySelectorAll("#filters select")) {
    choice.addEventListener("change", () => choice.form.requestSubmit());
  }
  follow((name, data) => {
    if (name === "lines") take(data);
  });
  document.getElementById("flow").hidden = false;
}

function rowOf(line) {
  if (line.kind === "gap" || line.kind === "epoch") return note(line.text);
  const row = document.createElement("tr");
  const type = document.createElement("th");
  type.scope = "row";
  const epoch = new URLSearchParams(line.epoch ? { epoch: line.epoch } : {});
  type.append(linked(line.type, `/traffic/${line.source}/${line.n}?${epoch}`));
  row.append(cell(clock(line.ms)), type);
  for (const ai of [line.ai, line.to]) row.append(cell(!ai || NO_AIS.has(ai) ? ai : linked(ai, `/fleet/${encodeURIComponent(ai)}`)));
  row.append(cell(line.text));
  return row;
}

function note(text) {
  const row = document.createElement("tr");
  const only = cell(text);
  row.className = "note";
  only.colSpan = 5;
  row.append(only);
  return row;
}

function cell(content) {
  const made = document.createElement("td");
  made.append(content);
  return made;
}

function linked(text, href) {
  const made = document.createElement("a");
  made.href = href;
  made.textContent = text;
  return made;
}
