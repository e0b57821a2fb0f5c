// The serial console: a plain terminal that goes forward, and lines for the guest.
import { $, el } from "./format.js";
import { on, post } from "./live.js";

const KEPT = 200000; // characters
let boot = -1, end = 0, decoder = new TextDecoder();
let text = "", pending = "", returned = false;

// Behind a CR the line is written anew; CR LF ends it.
function put(part) {
  if (part === "\r") {
    returned = true;
  } else if (part === "\b") {
    text = text.endsWith("\n") ? text : text.slice(0, -1);
  } else if (part) {
    if (returned && part !== "\n") text = text.slice(0, text.lastIndexOf("\n") + 1);
    returned = false;
    text += part.replace(/[\x00-\x08\x0b-\x1f\x7f]/g, "");
  }
}

// What a terminal would do with it, as far as a log goes: colours and moves are left out, CR and BS act.
function apply(more) {
  const clean = (pending + more).replace(/\x1b\[[0-9;?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]|\x1b[=>78A-Z]/g, "");
  const cut = clean.lastIndexOf("\x1b");
  pending = cut >= 0 && clean.length - cut < 24 ? clean.slice(cut) : "";
  for (const part of (pending ? clean.slice(0, cut) : clean).split(/([\r\b\n])/)) put(part);
  if (text.length > KEPT) text = text.slice(text.indexOf("\n", text.length - KEPT) + 1);
}

function show() {
  const screen = $("screen");
  const follows = screen.scrollHeight - screen.scrollTop - screen.clientHeight < 40;
  screen.textContent = text;
  if (follows) screen.scrollTop = screen.scrollHeight;
}

function onConsole(event) {
  if (event.boot !== boot) {
    if (boot >= 0) text += `\n----- the machine starts again -----\n\n`;
    boot = event.boot;
    end = 0;
    decoder = new TextDecoder();
  }
  const skip = Math.max(0, end - event.from);
  if (skip >= event.text.length) return;
  const bytes = Uint8Array.from(event.text.slice(skip), (c) => c.charCodeAt(0));
  end = event.from + event.text.length;
  apply(decoder.decode(bytes, { stream: true }));
  show();
}

async function send(bytes) {
  $("console-note").textContent = await post("input", bytes);
}

export function startConsole() {
  on("console", onConsole);
  $("input-form").addEventListener("submit", (event) => {
    event.preventDefault();
    send(new TextEncoder().encode($("input").value + "\r"));
    $("input").value = "";
  });
  $("input-form").addEventListener("click", (event) => {
    const byte = event.target.closest("[data-bytes]")?.dataset.bytes;
    if (byte) send(Uint8Array.of(Number(byte)));
  });
  $("screen").append(el("span", { className: "mark" }, "Nothing yet."));
}
