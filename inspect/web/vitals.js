// The row of rates, and callouts by class.
import { $, el, rate, count, setText, onScheme } from "./format.js";
import { Series, sparkline, stacked } from "./rates.js";
import { machine, on } from "./live.js";

const counter = (state, name) => state.counters[machine.model.counters.findIndex(([n]) => n === name)] ?? 0;
const sum = (state, ...names) => names.reduce((all, name) => all + counter(state, name), 0);

const TILES = [
  ["callouts", "Callouts", "--callout", (s) => s.callouts.reduce((a, b) => a + b, 0),
    "Privileged and sensitive instructions carried out by a C function."],
  ["hidden", "Hidden faults", "--hidden", (s) => counter(s, "hidden_faults"),
    "First touches of a page: the window is filled and the guest notices nothing."],
  ["true", "True faults", "--true", (s) => counter(s, "true_faults"),
    "The guest's own tables refuse the access: its kernel gets the page fault."],
  ["translations", "Translations", "--translate", (s) => counter(s, "fragments"),
    "Fragments made. Code that has run before is found, not made again."],
  ["flushes", "Flushes", "--flush", (s) => sum(s, "flush_cr3", "flush_all", "flush_page"),
    "The guest changes its address space or drops an entry of its TLB."],
  ["interrupts", "Interrupts", "--irq", (s) => counter(s, "interrupts"),
    "Timer, serial port and other devices, taken between two instructions."],
];

const tiles = [];

function buildTiles() {
  for (const [id, name, colour, total, text] of TILES) {
    const value = el("span", { id: `rate-${id}` }, "0"), sums = el("span", { className: "total", id: `total-${id}` });
    const canvas = el("canvas", { role: "img", "aria-label": `${name} a second, the last minute` });
    $("tiles").append(el("article", { className: "tile", vars: { "--tile": `var(${colour})` } },
      el("h3", { className: "name" }, name), el("div", { className: "value" }, value, el("small", {}, "a second")),
      canvas, el("p", {}, text, " ", sums)));
    tiles.push({ value, sums, canvas, colour, total, series: new Series() });
  }
}

function drawTiles() {
  for (const tile of tiles) {
    setText(tile.value, rate(tile.series.now));
    setText(tile.sums, `${count(tile.series.total)} in all.`);
    sparkline(tile.canvas, tile.series.values, tile.colour);
  }
}

const CATEGORIES = ["--cat0", "--cat1", "--cat2", "--cat3", "--cat4"];
let classes = [];        // a series for each class, in the model's order
const coloured = new Map(); // class -> colour; given once and kept, so that colours do not jump

function weight(i) { return classes[i].values.reduce((a, b) => a + b, 0) + classes[i].total * 1e-9; }

// The classes that are worth a row: the busiest of the last minute.
function busiest() {
  const order = classes.map((_, i) => i).filter((i) => classes[i].total > 0);
  order.sort((a, b) => weight(b) - weight(a));
  return order.slice(0, 8);
}

function colourOf(index, rank) {
  if (!coloured.has(index) && rank < CATEGORIES.length && coloured.size < CATEGORIES.length)
    coloured.set(index, CATEGORIES[coloured.size]);
  return coloured.get(index) ?? "--cat5";
}

// A colour is taken back from a class that has fallen out of the table.
function releaseColours(rows) {
  for (const index of coloured.keys())
    if (!rows.includes(index)) coloured.delete(index);
}

function takeColours(rows) {
  releaseColours(rows);
  const free = CATEGORIES.filter((c) => ![...coloured.values()].includes(c));
  rows.slice(0, CATEGORIES.length).forEach((index) => {
    if (!coloured.has(index) && free.length) coloured.set(index, free.shift());
  });
}

function drawClasses() {
  const rows = busiest();
  takeColours(rows);
  const body = $("callout-table").tBodies[0];
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((index, rank) => {
    const [name, insns] = machine.model.callouts[index];
    const row = body.rows[rank] ?? body.insertRow();
    if (row.dataset.name !== name) {
      row.dataset.name = name;
      row.replaceChildren(el("td", {}, el("div", { className: "class" }, el("i"), name), el("div", { className: "insns" }, insns)),
        el("td", { className: "num" }), el("td", { className: "num" }));
    }
    row.querySelector("i").style.setProperty("--swatch", `var(${colourOf(index, rank)})`);
    setText(row.cells[1], rate(classes[index].now));
    setText(row.cells[2], count(classes[index].total));
  });
  drawStack(rows);
}

function drawStack(rows) {
  const own = rows.filter((i) => coloured.has(i)).sort((a, b) => coloured.get(a).localeCompare(coloured.get(b)));
  const length = Math.max(0, ...classes.map((s) => s.values.length));
  const rest = new Array(length).fill(0);
  classes.forEach((series, i) => {
    if (!own.includes(i)) series.values.forEach((value, k) => (rest[k + length - series.values.length] += value));
  });
  stacked($("callout-chart"), [...own.map((i) => [classes[i].values, coloured.get(i)]), [rest, "--cat5"]], rate);
}

function draw() {
  drawTiles();
  if (machine.model) drawClasses();
}

function onState(state) {
  for (const tile of tiles) tile.series.step(state.ms, tile.total(state));
  state.callouts.forEach((total, i) => classes[i].step(state.ms, total));
  if (!document.hidden) draw();
}

export function startVitals() {
  buildTiles();
  on("boot", () => {
    tiles.forEach((tile) => tile.series.reset());
    classes = machine.model.callouts.map(() => new Series());
    coloured.clear();
  });
  on("state", onState);
  onScheme(draw);
}
