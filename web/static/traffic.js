// The page Traffic: rates as a chart, and the newest lines as they come.

import { restream } from "/static/live.js";
import { begin as beginLines } from "/static/lines.js";
import { begin as beginRates } from "/static/rates.js";

beginRates();
const box = document.getElementById("lines");
const asked = new URLSearchParams({ rates: "true" });
if (box) {
  asked.set("lines", "true");
  for (const [name, value] of new FormData(document.getElementById("filters"))) {
    if (value) asked.set(name, value);
  }
  beginLines(box);
}
restream(asked, box?.dataset.after);
