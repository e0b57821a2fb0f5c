// Registers and mode of the vCPU, and the instructions at EIP while it stands still.
import { $, el, hex, setText } from "./format.js";
import { machine, getJson, on } from "./live.js";
import { ringOf } from "./fragments.js";

const GPRS = ["EAX", "ECX", "EDX", "EBX", "ESP", "EBP", "ESI", "EDI"];
const FLAGS = [["CF", 0], ["PF", 2], ["AF", 4], ["ZF", 6], ["SF", 7], ["TF", 8], ["IF", 9], ["DF", 10], ["OF", 11], ["NT", 14], ["RF", 16], ["VM", 17], ["AC", 18], ["ID", 21]];
const REAL = 0x80000, VM86 = 0x40000, CODE16 = 4;
const before = {}; // what was shown, to mark what a step has changed
let codeFor = "";

function register(list, name, value, mark) {
  let row = list.querySelector(`[data-name="${name}"]`);
  if (!row) {
    row = el("div", { dataset: { name } }, el("span", { className: "name" }, name), el("span"));
    list.append(row);
  }
  if (mark !== null) row.classList.toggle("changed", mark && before[name] !== undefined && before[name] !== value);
  setText(row.lastChild, value);
  if (mark !== null) before[name] = value;
}

function drawFlags(cpu) {
  const list = $("registers");
  let row = list.querySelector(".flags");
  if (!row) list.append(row = el("div", { className: "flags" }));
  const iopl = (cpu.eflags >> 12) & 3, key = String(cpu.eflags);
  if (row.dataset.key === key) return;
  row.dataset.key = key;
  row.replaceChildren(el("span", { className: "name" }, "EFLAGS"),
    el("span", {}, ...FLAGS.flatMap(([name, bit]) => [el(cpu.eflags & (1 << bit) ? "b" : "s", {}, name), " "]), `IOPL ${iopl}`));
}

function modeChips(cpu) {
  const paging = cpu.cr0 & 0x80000000 ? (cpu.cr4 & 0x20 ? "paging, PAE" : "paging, 32-bit") : "no paging";
  const kind = cpu.mode & REAL ? "real mode" : cpu.mode & VM86 ? "virtual-8086 mode" : "protected mode";
  const who = cpu.cpl === 0 ? "ring 0: kernel" : `ring ${cpu.cpl}: ${cpu.cpl === 3 ? "user" : "supervisor"}`;
  const chips = [[who, ringOf(cpu.mode & ~CODE16)], [kind, cpu.mode & (REAL | VM86) ? "16" : ""], [cpu.mode & CODE16 ? "16-bit code" : "32-bit code", ""], [paging, ""],
    [cpu.eflags & 0x200 ? "interrupts on" : "interrupts off", ""]];
  const text = JSON.stringify(chips);
  if ($("modes").dataset.key === text) return;
  $("modes").dataset.key = text;
  $("modes").replaceChildren(...chips.map(([name, ring]) => el("span", { dataset: { ring } }, name)));
}

function drawSegments(cpu) {
  const body = $("segments").tBodies[0];
  cpu.segments.forEach(([name, selector, base, limit, attr, usable], i) => {
    const row = body.rows[i] ?? body.insertRow();
    const cells = [name, hex(selector, 4), usable ? hex(base) : "-", usable ? hex(limit) : "-", usable ? String((attr >> 5) & 3) : "-"];
    cells.forEach((text, k) => setText(row.cells[k] ?? row.insertCell(), text));
  });
}

function drawControl(cpu) {
  const list = $("controls-registers");
  const pairs = [["CR0", cpu.cr0], ["CR2", cpu.cr2], ["CR3", cpu.cr3], ["CR4", cpu.cr4], ["EFER", cpu.efer], ["DR6", cpu.dr6], ["DR7", cpu.dr7],
    ["GDT", cpu.gdt], ["GDT limit", cpu.gdt_limit], ["IDT", cpu.idt], ["IDT limit", cpu.idt_limit]];
  for (const [name, value] of pairs) register(list, name, hex(value, name.includes("limit") ? 4 : 8), null);
}

function hint(text) {
  if (codeFor === text) return;
  codeFor = text;
  $("code").replaceChildren(el("span", { className: "hint" }, text));
}

async function drawCode(state) {
  if (state.activity !== "paused") return hint(state.activity === "ended" ? "The machine has ended." : "Pause the machine to see the instructions at EIP.");
  const key = `${state.cpu.eip}/${state.cpu.cr3}/${state.stops}`;
  if (key === codeFor) return;
  codeFor = key;
  const { lines, name } = await getJson("code").catch(() => ({ lines: [] }));
  if (codeFor !== key) return;
  const rows = lines.map(([at, , text], i) => {
    const space = text.indexOf(" ");
    return el("div", { className: i ? "line" : "line now" }, el("span", { className: "addr" }, hex(at)), " ",
      el("span", { className: "op" }, space < 0 ? text : text.slice(0, space)), space < 0 ? "" : text.slice(space));
  });
  if (name) rows.unshift(el("div", { className: "line symbol" }, `${name}:`));
  $("code").replaceChildren(...(rows.length ? rows : [el("span", { className: "hint" }, "There is no memory at EIP.")]));
}

const ABOUT = {
  paused: "The machine stands between two instructions: these are its registers, to the bit. What the last step changed is marked.",
  running: "While translated code runs, the guest's registers live in the host's; shown is what was stored when it last left the cache.",
};

function onState(state) {
  if (document.hidden) return;
  const cpu = state.cpu, paused = state.activity === "paused";
  setText($("cpu-about"), ABOUT[paused ? "paused" : "running"]);
  modeChips(cpu);
  const stopped = paused && before.stops !== state.stops;
  const mark = paused ? (stopped ? true : null) : false;
  before.stops = state.stops;
  GPRS.forEach((name, i) => register($("registers"), name, hex(cpu.gpr[i]), mark));
  register($("registers"), "EIP", hex(cpu.eip), mark);
  drawFlags(cpu);
  drawControl(cpu);
  drawSegments(cpu);
  drawCode(state);
}

export function startCpu() {
  on("state", onState);
  on("link", () => { if (machine.link === "ended") hint("The machine has ended."); });
}
