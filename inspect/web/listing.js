// One fragment: the guest's instructions beside the host's that were made of them.
import { $, el, hex, count, bytes } from "./format.js";
import { getJson } from "./live.js";
import { ringOf } from "./fragments.js";

let shown = 0;

function line(parts, address) {
  const [at, code, text] = parts;
  const space = text.indexOf(" ");
  const op = space < 0 ? text : text.slice(0, space);
  return el("div", { className: "line" }, el("span", { className: "addr" }, address(at)), " ", el("span", { className: "op" }, op),
    space < 0 ? "" : text.slice(space), el("span", { className: "hex", title: code }, code.length > 16 ? `${code.slice(0, 14)}…` : code));
}

function guestCell(pair) {
  const cell = el("td", {}, ...pair.guest.map((parts) => line(parts, (at) => hex(at))));
  if (pair.class) cell.firstChild?.append(el("span", { className: "kind", dataset: { kind: pair.class } }, pair.class));
  if (pair.why && pair.class !== "copied") cell.append(el("div", { className: "why" }, pair.why));
  return cell;
}

function table(fragment) {
  const rows = fragment.pairs.map((pair) => el("tr", {}, guestCell(pair),
    el("td", { className: "host" }, ...pair.host.map((parts) => line(parts, (at) => hex(at, 7))))));
  const head = el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "Guest: what the kernel's author wrote"),
    el("th", { scope: "col" }, "Host: what runs in its place")));
  return el("div", { className: "pairs", tabIndex: 0, role: "region", ariaLabel: "Guest and host code side by side" },
    el("table", {}, head, el("tbody", {}, ...rows)));
}

function bar(fragment, select) {
  const ring = ringOf(fragment.mode), name = fragment.name || hex(fragment.linear);
  const kind = { 0: "kernel code, ring 0", 3: "user code, ring 3", 16: "16-bit or real mode" }[ring];
  const step = (by, text, label) => el("button", { type: "button", ariaLabel: label, className: "quiet",
    onclick: () => select(fragment.index + by, true) }, text);
  return el("div", { className: "bar" }, el("h3", { className: `mono k${ring}` }, name),
    el("span", { className: "note" }, `${kind}; ${fragment.pairs.length} instructions, ${fragment.guest_len} bytes became ${bytes(fragment.host_len)}; ` +
      `${count(fragment.heat)} samples${fragment.dead ? "; gone, its guest code has changed" : ""}`),
    el("span", { className: "spring" }), step(-1, "‹ before", "Fragment before"), step(1, "after ›", "Fragment after"),
    el("button", { type: "button", className: "quiet", onclick: () => { shown = 0; $("listing").hidden = true; $("map").focus(); } }, "Close"));
}

export async function showFragment(index, select) {
  shown = index;
  const fragment = await getJson(`fragment?index=${index}`).catch(() => null);
  if (shown !== index) return;
  const box = $("listing");
  box.hidden = false;
  box.replaceChildren(...(fragment ? [bar(fragment, select), table(fragment)] : [el("p", { className: "note" }, "It is gone.")]));
}
