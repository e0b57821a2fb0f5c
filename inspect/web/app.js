// The page: its state chip, the three commands, keys; panels start themselves.
import { $, setText } from "./format.js";
import { machine, on, post, connect } from "./live.js";
import { startVitals } from "./vitals.js";
import { startFragments } from "./fragments.js";
import { startMap, selectNext, nextColour } from "./map.js";
import { startCpu } from "./cpu.js";
import { startConsole } from "./console.js";
import { startWindows } from "./windows.js";

const CHIPS = { running: "Running", halted: "Waiting in HLT", paused: "Paused", ended: "Ended" };
const LINKS = { connecting: "Connecting", lost: "Not connected", restarting: "Restarting", ended: "Ended" };

function seconds(ms) {
  const all = Math.floor(ms / 1000);
  return all < 60 ? `${(ms / 1000).toFixed(1)} s` : `${Math.floor(all / 60)} min ${all % 60} s`;
}

function showStatus() {
  const state = machine.state, live = machine.link === "live";
  const activity = live ? state.activity : machine.link;
  $("chip").dataset.state = activity;
  setText($("chip"), (live ? CHIPS : LINKS)[activity] ?? activity);
  const boot = state?.boot ? `, boot ${state.boot + 1}` : "";
  const why = live && activity === "paused" && state.why ? `${state.why}; ` : "";
  setText($("chip-note"), machine.link === "ended" ? machine.how : state ? `${why}${seconds(state.ms)}${boot}` : "");
  $("pause").disabled = !live || activity === "paused" || activity === "ended";
  $("resume").disabled = $("step").disabled = !live || activity !== "paused";
}

async function command(name) {
  const button = $(name);
  if (button.disabled) return;
  const problem = await post(name);
  if (problem) setText($("chip-note"), problem);
}

function goTo(panel) {
  panel.scrollIntoView({ block: "start" });
  panel.focus({ preventScroll: true });
}

const PANELS = ["cache", "cpu", "console", "callouts", "windows"];
const KEYS = {
  p: () => command("pause"),
  s: () => command("step"),
  r: () => command("resume"),
  c: nextColour,
  "[": () => selectNext(-1),
  "]": () => selectNext(1),
  "/": () => $("input").focus(),
  "?": () => $("help").showModal(),
};
PANELS.forEach((id, i) => (KEYS[i + 1] = () => goTo($(id))));

function onKey(event) {
  if (event.ctrlKey || event.altKey || event.metaKey || $("help").open) return;
  if (event.target.matches("input[type=text], select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
}

for (const name of ["pause", "step", "resume"]) $(name).addEventListener("click", () => command(name));
$("help-open").addEventListener("click", () => $("help").showModal());
document.addEventListener("keydown", onKey);
on("state", showStatus);
on("link", showStatus);
startVitals();
startMap();
startFragments();
startCpu();
startConsole();
startWindows();
connect();
