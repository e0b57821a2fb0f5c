// Shadow windows against the guest's page tables.
import { $, el, css, prepare, hex, count, figures, setText, onScheme, arrows } from "./format.js";
import { every, getJson, on } from "./live.js";

// Letter, colour, name, sentence; in the order in which one outshines another in a block.
const STATES = [
  ["x", "--traced", "traced", "holds translated code: a write to it is caught"],
  ["w", "--rw", "writable", "mapped: reads and writes at full speed"],
  ["r", "--ro", "read-only", "mapped until the first write"],
  ["s", "--stale", "stale", "mapped, gone from the tables, not flushed yet"],
  ["p", "--present", "never touched", "in the guest's tables, not mapped"],
  [".", "--none", "nothing", "not in the guest's tables"],
];
const SIDE = 32, LABEL = 66;
const view = { window: 0, block: 768, blocks: new Map(), pages: "", cell: [1, 1] };

function layOut(width, height) {
  return [(width - LABEL) / SIDE, height / SIDE];
}

function square(context, i, [w, h], colour, alpha = 1) {
  context.globalAlpha = alpha;
  context.fillStyle = colour;
  context.fillRect(LABEL + (i % SIDE) * w, Math.floor(i / SIDE) * h, w - 1, h - 1);
  context.globalAlpha = 1;
}

function labels(context, [, h], base, step) {
  context.fillStyle = css("--muted");
  context.font = `11px ${css("--mono")}`;
  for (let row = 0; row < SIDE; row += 4) context.fillText(hex(base + row * step * SIDE), 0, row * h + 10);
}

// The counts of a block are in the order present, writable, read-only, traced, stale.
function counts(block) {
  const [p = 0, w = 0, r = 0, x = 0, s = 0] = view.blocks.get(block) ?? [];
  return { p, w, r, x, s };
}

function drawBlocks() {
  const { context, width, height } = prepare($("blocks"));
  const cell = (view.cell = layOut(width, height));
  labels(context, cell, 0, 0x400000);
  for (let i = 0; i < SIDE * SIDE; i++) {
    const has = counts(i), none = css("--none");
    square(context, i, cell, none);
    const state = STATES.find(([letter]) => has[letter] > 0);
    if (state) square(context, i, cell, css(state[1]), state[0] === "p" ? 0.45 + 0.55 * (has.p / 1024) : 1);
  }
  context.strokeStyle = css("--ink");
  context.lineWidth = 2;
  context.strokeRect(LABEL + (view.block % SIDE) * cell[0] - 1, Math.floor(view.block / SIDE) * cell[1] - 1, cell[0] + 1, cell[1] + 1);
}

function drawPages() {
  const { context, width, height } = prepare($("pages"));
  const cell = layOut(width, height);
  labels(context, cell, view.block * 0x400000, 0x1000);
  const colours = Object.fromEntries(STATES.map(([letter, colour]) => [letter, css(colour)]));
  for (let i = 0; i < SIDE * SIDE; i++) square(context, i, cell, colours[view.pages[i] ?? "."]);
  setText($("pages-caption"), `The 4 MiB at ${hex(view.block * 0x400000)}, a square for each page`);
}

function describe() {
  const has = counts(view.block), start = view.block * 0x400000;
  const parts = STATES.filter(([letter]) => has[letter]).map(([letter, , name]) => `${count(has[letter])} ${name}`);
  setText($("window-note"), `${hex(start)} to ${hex(start + 0x3fffff)}\n${parts.join(", ") || "nothing here"}`);
}

function drawFigures() {
  const totals = { p: 0, w: 0, r: 0, x: 0, s: 0 };
  for (const block of view.blocks.keys()) for (const [letter, n] of Object.entries(counts(block))) totals[letter] += n;
  figures($("window-figures"), STATES.slice(0, -1).map(([letter, , name]) => [`pages ${name}`, count(totals[letter])]));
}

function drawLegend() {
  $("window-legend").replaceChildren(...STATES.map(([, colour, name, text]) =>
    el("span", {}, el("i", { vars: { "--swatch": `var(${colour})` } }), el("span", {}, name, " ", el("span", { className: "what" }, text)))));
}

function draw() {
  drawBlocks();
  drawPages();
  drawFigures();
  describe();
}

const nameOf = (w) => w.number === 0 ? "Supervisor" : `User, CR3 ${hex(w.cr3)}`;

async function fetchList() {
  const list = await getJson("windows"), pick = $("window-pick");
  list.sort((a, b) => (a.number && b.number ? b.last_use - a.last_use : a.number - b.number));
  const key = list.map((w) => `${w.number}:${w.cr3}`).join();
  if (pick.dataset.key === key || document.activeElement === pick) return;
  pick.dataset.key = key;
  pick.replaceChildren(...list.map((w) => el("option", { value: w.number }, nameOf(w))));
  if (!list.some((w) => w.number === view.window)) view.window = 0;
  pick.value = view.window;
}

// The first look goes to where there is most to see.
function settle() {
  if (view.settled || !view.blocks.size) return;
  const busy = ([, [, w, r, x, s]]) => 4 * Math.min(w, r + x + s) + w + r + x + s;
  view.block = [...view.blocks].sort((a, b) => busy(b) - busy(a))[0][0];
  view.settled = true;
}

async function fetchPages() {
  const answer = await getJson(`pages?window=${view.window}&block=${view.block}`);
  if (answer.block === view.block && answer.window === view.window) view.pages = answer.pages;
}

async function fetchAll() {
  await fetchList();
  const { blocks } = await getJson(`blocks?window=${view.window}`);
  view.blocks = new Map(blocks.map(([block, ...rest]) => [block, rest]));
  settle();
  await fetchPages();
  draw();
}

function choose(block) {
  view.block = Math.max(0, Math.min(block, SIDE * SIDE - 1));
  view.settled = true;
  draw();
  fetchPages().then(drawPages).catch(() => {});
}

export function startWindows() {
  drawLegend();
  every(1000, fetchAll);
  on("boot", () => { view.settled = false; });
  onScheme(draw);
  $("window-pick").addEventListener("change", (event) => {
    view.window = Number(event.target.value);
    view.settled = false;
    fetchAll().catch(() => {});
  });
  $("blocks").addEventListener("click", (event) => {
    const box = $("blocks").getBoundingClientRect();
    const x = Math.floor((event.clientX - box.left - LABEL) / view.cell[0]), y = Math.floor((event.clientY - box.top) / view.cell[1]);
    if (x >= 0 && x < SIDE && y < SIDE) choose(y * SIDE + x);
  });
  arrows($("blocks"), (dx, dy) => choose(view.block + dx + dy * SIDE), () => fetchPages().then(drawPages).catch(() => {}));
  new ResizeObserver(draw).observe($("blocks"));
}
