// The machine as the server tells of it: one stream of events, requests for more, commands.

const listeners = { state: [], console: [], link: [], boot: [] };
export const on = (name, listener) => listeners[name].push(listener);
const tell = (name, value) => listeners[name].forEach((listener) => listener(value));

export const machine = { model: null, state: null, boot: -1, link: "connecting", how: "" };
let source = null;

function setLink(link, how = "") {
  machine.link = link;
  machine.how = how;
  tell("link", link);
}

async function newBoot(boot) {
  machine.boot = boot;
  machine.model = await getJson("model").catch(() => machine.model);
  tell("boot", boot);
}

async function onState(event) {
  const state = JSON.parse(event.data);
  if (state.boot !== machine.boot) await newBoot(state.boot);
  if (!machine.model) return;
  machine.state = state;
  if (machine.link !== "live") setLink("live");
  tell("state", state);
}

function onEnd(event) {
  const { how } = JSON.parse(event.data);
  source.close();
  setLink(how === "reset" ? "restarting" : "ended", how);
  setTimeout(connect, how === "reset" ? 150 : 1500);
}

export function connect() {
  source?.close();
  source = new EventSource("events");
  source.addEventListener("state", onState);
  source.addEventListener("console", (event) => tell("console", JSON.parse(event.data)));
  source.addEventListener("end", onEnd);
  source.onerror = () => {
    source.close();
    if (machine.link === "live") setLink("lost");
    setTimeout(connect, 1000);
  };
}

async function get(path) {
  const response = await fetch(path, { cache: "no-store" });
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response;
}
export const getJson = async (path) => (await get(path)).json();
export const getWords = async (path) => new Uint32Array(await (await get(path)).arrayBuffer());

// Commands and input; returns what went wrong, or "".
export async function post(path, body = "") {
  try {
    const response = await fetch(path, { method: "POST", body });
    return response.ok ? "" : (await response.text()).trim();
  } catch {
    return "The machine cannot be reached.";
  }
}

// Runs `task` every `ms` while the page can be seen and the machine answers, never twice at once.
export function every(ms, task) {
  const round = async () => {
    if (!document.hidden && machine.link === "live") await task().catch(() => {});
    setTimeout(round, ms);
  };
  round();
}
