// The map of the cache: a square for each fragment, or for several when there are many.
import { $, el, css, ramp, prepare, count, bytes, figures, hex, setText, onScheme, arrows } from "./format.js";
import { fragments, onFragments, linearOf, sizeOf, bornOf, heatOf, isDead, modeOf, ringOf } from "./fragments.js";
import { machine, on } from "./live.js";
import { showFragment } from "./listing.js";

const view = { by: "privilege", cursor: 1, size: 6, columns: 1, rows: 1, each: 1, colours: {} };
const AGES_MS = 20000; // younger than this stand out

function readColours() {
  view.colours = { 0: css("--k0"), 3: css("--k3"), 16: css("--k16"), dead: css("--dead"), ink: css("--ink"),
    heat: ramp(["--heat0", "--heat1", "--heat2", "--heat3"]), age: ramp(["--age0", "--age1", "--age2", "--age3"]) };
}

// As large squares as fit; from 5 pixels on down a square stands for several fragments.
function layOut(width, height) {
  const cells = Math.max(1, fragments.count - 1);
  let size = 22;
  while (size > 5 && Math.floor(width / size) * Math.floor(height / size) < cells) size--;
  view.size = size;
  view.columns = Math.max(1, Math.floor(width / size));
  view.rows = Math.max(1, Math.floor(height / size));
  view.each = 1;
  while (view.columns * view.rows * view.each < cells) view.each *= 2;
}

function heatColour(heat) {
  const part = heat ? 0.18 + 0.82 * (Math.log2(1 + heat) / Math.log2(1 + fragments.top)) : 0;
  return view.colours.heat[Math.min(63, Math.floor(part * 63))];
}

function ageColour(born) {
  const young = Math.max(0, 1 - (machine.state.ms - born) / AGES_MS);
  const order = machine.state.ms ? born / machine.state.ms : 0;
  return view.colours.age[Math.min(63, Math.floor((0.12 + 0.42 * order + 0.46 * young) * 63))];
}

// One colour for the fragments from `first` on; "" when all of them are dead.
function colourOf(first, end) {
  const rings = { 0: 0, 3: 0, 16: 0 };
  let heat = 0, born = 0, living = 0;
  for (let i = first; i < end; i++) {
    if (isDead(i)) continue;
    living++;
    rings[ringOf(modeOf(i))]++;
    heat = Math.max(heat, heatOf(i));
    born = Math.max(born, bornOf(i));
  }
  if (!living) return "";
  if (view.by === "heat") return heatColour(heat);
  if (view.by === "age") return ageColour(born);
  const ring = rings[3] >= rings[0] && rings[3] >= rings[16] ? 3 : rings[0] >= rings[16] ? 0 : 16;
  return view.colours[ring];
}

function drawDead(context, x, y, side) {
  context.strokeStyle = view.colours.dead;
  context.lineWidth = 1;
  context.strokeRect(x + 0.5, y + 0.5, side - 1, side - 1);
}

function drawCursor(context) {
  const cell = Math.floor((view.cursor - 1) / view.each);
  const x = (cell % view.columns) * view.size, y = Math.floor(cell / view.columns) * view.size;
  context.strokeStyle = view.colours.ink;
  context.lineWidth = 2;
  context.strokeRect(x - 1.5, y - 1.5, view.size + 2, view.size + 2);
}

export function drawMap() {
  const { context, width, height } = prepare($("map"));
  layOut(width, height);
  if (!machine.state || fragments.count < 2) return;
  const side = view.size - (view.size > 4 ? 1 : 0);
  for (let cell = 0, i = 1; i < fragments.count; cell++, i += view.each) {
    const x = (cell % view.columns) * view.size, y = Math.floor(cell / view.columns) * view.size;
    const colour = colourOf(i, Math.min(i + view.each, fragments.count));
    if (colour) {
      context.fillStyle = colour;
      context.fillRect(x, y, side, side);
    } else {
      drawDead(context, x, y, side);
    }
  }
  drawCursor(context);
}

const swatch = (colour, text, className = "") =>
  el("span", {}, el("i", { className, vars: { "--swatch": `var(${colour})` } }), text);

function drawLegend() {
  const rampOf = (name, from, to) => el("span", {}, from, el("i", { className: "ramp",
    vars: { "--r0": `var(--${name}0)`, "--r1": `var(--${name}1)`, "--r2": `var(--${name}2)`, "--r3": `var(--${name}3)` } }), to);
  const parts = {
    privilege: [swatch("--k0", "kernel, ring 0"), swatch("--k3", "user, ring 3"), swatch("--k16", "16-bit or real mode")],
    heat: [rampOf("heat", "never seen running", "hottest")],
    age: [rampOf("age", "old", "just made")],
  }[view.by];
  const many = view.each > 1 ? [el("span", { className: "note" }, `a square is ${view.each} fragments`)] : [];
  $("map-legend").replaceChildren(...parts, swatch("--dead", "gone: its code changed", "hollow"), ...many);
}

function describe(i) {
  if (i < 1 || i >= fragments.count) return "";
  const ring = { 0: "kernel", 3: "user", 16: "16-bit" }[ringOf(modeOf(i))];
  return `Fragment ${count(i)} of ${count(fragments.count - 1)}: ${ring} code at ${hex(linearOf(i))}, ${sizeOf(i)} bytes of host code, ` +
    `${count(heatOf(i))} sample${heatOf(i) === 1 ? "" : "s"}${isDead(i) ? ", gone" : ""}`;
}

function drawFigures() {
  const cache = machine.state?.cache;
  if (!cache) return;
  const value = (name) => machine.state.counters[machine.model.counters.findIndex(([n]) => n === name)];
  const growth = value("guest_bytes") ? value("fragment_bytes") / value("guest_bytes") : 0;
  figures($("cache-figures"), [["fragments", count(cache.count - 1)], ["of code, of " + bytes(cache.size), bytes(cache.used)],
    ["of ways out", bytes(cache.cold_used)], ["bytes for each of the guest's", growth.toFixed(1)],
    ["links made", count(value("links_made"))], ["times that a part was emptied", count(cache.generation)]]);
}

function drawHot() {
  const rows = fragments.hot.map(({ index, heat, linear, mode, name }) => {
    const share = fragments.samples ? (100 * heat) / fragments.samples : 0;
    const button = el("button", { type: "button", title: describe(index), dataset: { index } },
      el("i"), el("span", { className: "where" }, name || hex(linear)), el("span", { className: "share" }, `${share.toFixed(1)} %`),
      el("span", { className: "bar", ariaHidden: "true" }));
    button.style.setProperty("--dot", `var(--k${ringOf(mode)})`);
    button.lastChild.style.width = `${Math.min(100, share)}%`;
    button.setAttribute("aria-current", String(index === view.cursor));
    return el("li", {}, button);
  });
  const focused = document.activeElement?.closest?.("#hot button")?.dataset.index;
  $("hot").replaceChildren(...(rows.length ? rows : [el("li", { className: "empty" }, "No samples yet.")]));
  if (focused) $("hot").querySelector(`[data-index="${focused}"]`)?.focus();
}

export function select(index, open) {
  view.cursor = Math.max(1, Math.min(index, fragments.count - 1));
  setText($("map-note"), describe(view.cursor));
  drawMap();
  for (const button of $("hot").querySelectorAll("button"))
    button.setAttribute("aria-current", String(Number(button.dataset.index) === view.cursor));
  if (open) showFragment(view.cursor, select);
}
export const selectNext = (step) => select(view.cursor + step, true);

export function nextColour() {
  const inputs = [...document.querySelectorAll("#colour-by input")];
  inputs[(inputs.findIndex((input) => input.checked) + 1) % inputs.length].click();
}

// Of the fragments behind a square the hottest one that lives.
function bestOf(cell) {
  const first = 1 + cell * view.each, end = Math.min(first + view.each, fragments.count);
  let best = first;
  for (let i = first; i < end; i++) if (!isDead(i) && (isDead(best) || heatOf(i) > heatOf(best))) best = i;
  return best;
}

function cellAt(event) {
  const box = $("map").getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left) / view.size), row = Math.floor((event.clientY - box.top) / view.size);
  const cell = row * view.columns + column;
  return column < view.columns && 1 + cell * view.each < fragments.count ? cell : -1;
}

function listen() {
  $("colour-by").addEventListener("change", (event) => {
    view.by = event.target.value;
    drawLegend();
    drawMap();
  });
  $("map").addEventListener("click", (event) => {
    const cell = cellAt(event);
    if (cell >= 0) select(bestOf(cell), true);
  });
  $("map").addEventListener("mousemove", (event) => {
    const cell = cellAt(event);
    setText($("map-note"), describe(cell < 0 ? view.cursor : bestOf(cell)));
  });
  $("map").addEventListener("focus", () => setText($("map-note"), describe(view.cursor)));
  arrows($("map"), (dx, dy) => select(view.cursor + (dx + dy * view.columns) * view.each, false),
    () => select(view.cursor, true));
  $("hot").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button) select(Number(button.dataset.index), true);
  });
}

function refresh() {
  drawMap();
  drawLegend();
  drawHot();
}

export function startMap() {
  readColours();
  drawLegend();
  listen();
  onFragments(refresh);
  onScheme(() => { readColours(); refresh(); });
  on("state", drawFigures);
  new ResizeObserver(drawMap).observe($("map"));
}
