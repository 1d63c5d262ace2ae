// What every page has: it follows the fleet's stream, says when something is wrong, and is read anew
// when what it shows has changed. Other modules hear of events by `follow`.

const AGAIN_MS = 1000;
const LONGEST_AGAIN_MS = 5000;
const state = document.getElementById("state");
const areas = new Set((document.body.dataset.areas ?? "").split(" ").filter(Boolean));
const againMs = Number(document.body.dataset.againS) * 1000;
const listeners = [];
let source = null;
let last = "";
let pauseMs = AGAIN_MS;
let query = new URLSearchParams();
let timer = 0;

/** Call `listener(name, data)` for every event of the stream: rates, lines, changed, pulse; and when
 * it is lost. */
export function follow(listener) {
  listeners.push(listener);
}

/** Follow the stream by these parameters from now on (URLSearchParams); `after` is where to begin. */
export function restream(parameters, after = last) {
  query = parameters;
  last = after;
  open();
}

function open() {
  close();
  if (document.hidden) return; // browsers allow few streams at a time: who is not looked at has none
  const asked = new URLSearchParams(query);
  if (last) asked.set("after", last);
  source = new EventSource(`/api/v1/stream?${asked}`);
  for (const name of ["rates", "lines", "changed", "pulse"]) {
    source.addEventListener(name, (event) => hear(name, event));
  }
  source.onerror = lost;
}

function close() {
  clearTimeout(timer);
  source?.close();
  source = null;
}

function hear(name, event) {
  last = event.lastEventId || last;
  pauseMs = AGAIN_MS;
  tell(name, JSON.parse(event.data));
}

// The browser's own way of coming back gives up after some answers, and does not slow down.
function lost(event) {
  const isRefused = event.target.readyState === EventSource.CLOSED;
  close();
  tell("lost", { ms: Date.now(), isRefused });
  timer = setTimeout(open, pauseMs);
  pauseMs = Math.min(LONGEST_AGAIN_MS, pauseMs * 2);
}

function tell(name, data) {
  for (const listener of listeners) listener(name, data);
}

// -- the bar that says when something is wrong -------------------------------------------------------

let lostMs = 0;
let isAway = false;
let wasOut = false;
const isWaiting = "waits" in document.body.dataset; // in place of a page that could not be read

/** The time of a day, UTC. */
export function clock(ms) {
  return new Date(ms).toISOString().slice(11, 19);
}

function show(text, command) {
  const parts = [text];
  if (command) {
    const code = document.createElement("code");
    code.textContent = command;
    parts.push(" Run ", code, ".");
  }
  const before = state.textContent.trim();
  state.dataset.state = text ? "trouble" : "fine";
  if (before !== `${text}${command ? ` Run ${command}.` : ""}`) state.replaceChildren(...(text ? parts : []));
}

follow((name, data) => {
  if (name === "lost") {
    lostMs ||= data.ms;
    isAway = !data.isRefused;
    if (isAway) show(`No connection to coord since ${clock(lostMs)} UTC: what is shown is of then. Trying again.`);
    else show(`Not live since ${clock(lostMs)} UTC: too many pages are open, or you are signed out. Trying again.`);
  } else if (name === "pulse") {
    const wasLost = lostMs;
    lostMs = 0;
    isAway = false;
    show(data.trouble?.text ?? "", data.trouble?.command);
    if (isWaiting && !data.outage) location.reload();
    else if (wasLost || (wasOut && !data.outage)) refresh();
    wasOut = data.outage !== "";
  }
});

// -- reading the page anew ---------------------------------------------------------------------------

let isReading = false;
let isWanted = false;

/** Read this page anew, and change what is different on it. */
export async function refresh() {
  isWanted = true;
  if (isReading || document.hidden) return;
  isReading = true;
  while (isWanted) {
    isWanted = false;
    try {
      const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
      if (answer.ok) morph(await answer.text());
    } catch {
      // The stream will say that there is no connection.
    }
  }
  isReading = false;
}

// What somebody has unfolded, chosen or typed stays as it is, and so does what a script looks after.
const callbacks = {
  beforeNodeMorphed: (node) => !(node instanceof Element && node.hasAttribute("data-keep")),
  beforeAttributeUpdated: (name, node) => !(name === "open" && node instanceof HTMLDetailsElement),
};

function morph(text) {
  const fresh = new DOMParser().parseFromString(text, "text/html").getElementById("main");
  if (!fresh) return;
  const options = { ignoreActiveValue: true, restoreFocus: true, callbacks };
  Idiomorph.morph(document.getElementById("main"), fresh, options);
}

follow((name, data) => {
  if (name === "changed" && data.areas.some((area) => areas.has(area))) refresh();
});
if (againMs > 0) setInterval(() => isAway || refresh(), againMs);

document.addEventListener("visibilitychange", () => {
  if (document.hidden) close();
  else {
    open();
    if (areas.size) refresh();
  }
});
queueMicrotask(() => source ?? open()); // unless another module asked for a stream of its own
