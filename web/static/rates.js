// Messages a second by type: a chart of the last ten minutes, and the table beside it, which is its
// legend.

import { clock, follow } from "/static/live.js";

const KEPT = 600; // as many as the server tells to begin with, PULSES_KEPT
const NAMED_MAX = 7;
const CHOSEN_FOR = 30;
const LEAST_S = 60;
const HEIGHT = 270;
const OTHER = "other";

const place = document.getElementById("chart");
const head = document.getElementById("rate-head");
const headText = head.textContent;
let ms = [];
let rates = new Map(); // by type, one number for each moment, null while the server was away
let named = []; // the busiest types, the first at the bottom of the chart
let age = 0;
let chart = null;
let hovered = null;
let totals = {};

/** Show the rates that the stream tells. */
export function begin() {
  follow((name, data) => {
    if (name === "rates") {
      ms = data.ms;
      rates = new Map(Object.entries(data.rates));
      choose();
    } else if (name === "pulse" && data.ms > (ms.at(-1) ?? 0)) {
      take(data);
    }
  });
  new ResizeObserver(() => chart?.setSize({ width: place.clientWidth, height: HEIGHT })).observe(place);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => chart?.redraw(false, true));
}

function take(pulse) {
  ms.push(pulse.ms);
  for (const type of Object.keys(pulse.rates)) {
    if (!rates.has(type)) rates.set(type, Array(ms.length - 1).fill(0));
  }
  for (const [type, series] of rates) series.push(pulse.outage ? null : (Object.hasOwn(pulse.rates, type) ? pulse.rates[type] : 0));
  if (ms.length > KEPT) {
    ms.shift();
    for (const series of rates.values()) series.shift();
  }
  if (!pulse.outage) totals = pulse.totals;
  age += 1;
  if (age >= CHOSEN_FOR || (named.length < NAMED_MAX && named.length < rates.size)) choose();
  else chart.setData(stacked());
  tell();
}

/** Which types the chart names: the busiest of all that is kept. */
function choose() {
  age = 0;
  const sum = (type) => rates.get(type).reduce((all, rate) => all + rate, 0);
  const found = [...rates.keys()].filter(sum).sort((a, b) => sum(b) - sum(a));
  rates = new Map(found.map((type) => [type, rates.get(type)]));
  named = found.slice(0, NAMED_MAX);
  draw();
}

// -- the chart ---------------------------------------------------------------------------------------

/** The moments in seconds, then sums of types: the first of all, the last of the first alone. */
function stacked() {
  const others = [...rates.keys()].filter((type) => !named.includes(type));
  const sums = [];
  let below = ms.map(() => 0);
  for (const types of [...named.map((type) => [type]), others]) {
    below = below.map((sum, n) => types.reduce((all, type) => all === null || rates.get(type)[n] === null ? null : all + rates.get(type)[n], sum));
    sums.unshift(below);
  }
  return [ms.map((one) => one / 1000), ...sums];
}

function colour(name) {
  return getComputedStyle(place).getPropertyValue(`--${name}`);
}

function draw() {
  chart?.destroy();
  const line = () => colour("line");
  const axis = { stroke: () => colour("muted"), font: "12px system-ui", grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 } };
  const series = [...named.keys(), OTHER].reverse().map((n) => ({
    fill: () => colour(`series-${n}`), width: 0, points: { show: false },
  }));
  const options = {
    width: place.clientWidth,
    height: HEIGHT,
    legend: { show: false },
    cursor: { y: false, points: { show: false }, drag: { x: false, y: false } },
    scales: {
      x: { range: (_, from, to) => [Math.min(from, to - LEAST_S), to] },
      y: { range: (_, least, most) => [0, Math.max(1, most * 1.05)] },
    },
    axes: [{ ...axis, space: 80, values: (_, seconds) => seconds.map((one) => clock(one * 1000)) }, { ...axis, size: 56 }],
    series: [{}, ...series],
    hooks: { setCursor: [({ cursor }) => { hovered = cursor.idx ?? null; tell(); }] },
  };
  chart = new uPlot(options, stacked(), place);
}

// -- the table ---------------------------------------------------------------------------------------

/** What was at the moment under the pointer, else what is now. */
function tell() {
  const n = hovered !== null && hovered < ms.length ? hovered : ms.length - 1;
  if (n < 0) return;
  head.textContent = hovered === null ? headText : `at ${clock(ms[n])}`;
  const sum = (numbers) => numbers.reduce((all, one) => all + one, 0);
  fill("", sum([...rates.values()].map((series) => series[n])), sum(Object.values(totals)));
  for (const [type, total] of Object.entries(totals)) fill(type, rates.get(type)?.[n] ?? 0, total);
}

function fill(type, rate, total) {
  const row = document.getElementById(`type-${type}`) ?? added(type);
  const [name, rateCell, totalCell] = row.cells;
  if (type) mark(name, named.includes(type) ? named.indexOf(type) : OTHER);
  rateCell.textContent = rate.toLocaleString("en", { minimumFractionDigits: 1, maximumFractionDigits: 1 });
  totalCell.textContent = total.toLocaleString("en");
}

function added(type) {
  const rows = document.querySelector("#types tbody");
  const row = rows.rows[0].cloneNode(true);
  row.id = `type-${type}`;
  row.cells[0].textContent = type;
  rows.append(row);
  return row;
}

function mark(cell, series) {
  const dot = cell.querySelector(".dot") ?? cell.insertBefore(document.createElement("span"), cell.firstChild);
  dot.className = `dot series-${series}`;
}
