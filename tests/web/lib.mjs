// For the browser tests: a ring3 that serves its page, a browser that looks at it, and checks.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";

const { chromium } = createRequire(process.env.RING3_MODULES)("playwright-core");
const PATIENCE_MS = 60000;

// Starts ring3 with `args`; resolves once it has printed the page's address.
export function startMachine(args) {
  const child = spawn(process.env.RING3, ["run", ...args, "--web", "0"], { stdio: ["ignore", "pipe", "pipe"] });
  const machine = { child, out: "", err: "", url: "", exited: new Promise((done) => child.on("exit", (code) => done(code))) };
  child.stdout.on("data", (bytes) => (machine.out += bytes));
  return new Promise((ready, failed) => {
    child.stderr.on("data", (bytes) => {
      machine.err += bytes;
      machine.url ||= machine.err.match(/observatory at (http:\S+)/)?.[1] ?? "";
      if (machine.url) ready(machine);
    });
    child.on("exit", () => failed(new Error(`ring3 ended: ${machine.err}`)));
  });
}

export async function startBrowser() {
  return chromium.launch({ executablePath: process.env.RING3_BROWSER, args: ["--no-sandbox", "--disable-gpu"] });
}

// A page of its own; what goes wrong in it, and what it asks of others, is kept in `problems`.
export async function openPage(browser, url, options = {}) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 1000 }, ...options });
  const page = await context.newPage();
  page.problems = [];
  page.on("pageerror", (error) => page.problems.push(`error: ${error.message}`));
  page.on("console", (message) => message.type() === "error" && page.problems.push(`console: ${message.text()}`));
  page.on("request", (request) => {
    const to = request.url();
    if (!to.startsWith(url) && !to.startsWith("data:")) page.problems.push(`request elsewhere: ${to}`);
  });
  await page.goto(url);
  return page;
}

let checks = 0;
export function check(what, good) {
  checks++;
  if (!good) throw new Error(`check failed: ${what}`);
}
export const equal = (what, expected, got) => check(`${what}: expected ${expected}, got ${got}`, expected === got);

// Waits until `probe` gives something that `good` accepts; what it gave.
export async function until(what, probe, good = Boolean) {
  const end = Date.now() + PATIENCE_MS;
  let value;
  do {
    value = await probe();
    if (good(value)) return value;
    await new Promise((done) => setTimeout(done, 50));
  } while (Date.now() < end);
  throw new Error(`waited too long for: ${what}; last: ${JSON.stringify(value)?.slice(0, 300)}`);
}

// The number in an element: "1,234", "3.4M", "12.0 KiB".
export async function number(page, selector) {
  const text = (await page.textContent(selector)) ?? "";
  const [, digits, unit] = text.match(/([\d,.]+)\s*([KM]?)/) ?? [];
  return digits === undefined ? NaN : Number(digits.replaceAll(",", "")) * ({ K: 1e3, M: 1e6 }[unit] ?? 1);
}

export async function grows(page, selector) {
  const before = await until(`${selector} shows a number`, () => number(page, selector), Number.isFinite);
  await until(`${selector} grows from ${before}`, () => number(page, selector), (now) => now > before);
}

// How many colours a canvas shows: a drawing has several.
export const colours = (page, selector) => page.$eval(selector, (canvas) => {
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  return new Set(new Uint32Array(data.buffer)).size;
});

export const screenshot = (page, name, options = {}) =>
  page.screenshot({ path: `${process.env.RING3_ARTEFACTS}/${name}.png`, ...options });

// Runs the tests in turn; the first that fails ends it all.
export async function run(tests, clean) {
  let status = 0;
  for (const test of tests) {
    const start = Date.now();
    try {
      await test();
      console.log(`ok ${test.name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
    } catch (error) {
      console.log(`FAIL ${test.name}: ${error.message}`);
      status = 1;
      break;
    }
  }
  await clean().catch(() => {});
  console.log(`${checks} checks`);
  process.exit(status);
}
