// The observatory in a real browser, with a small guest that never stops doing things.
import { createServer } from "node:http";
import { startMachine, startBrowser, openPage, run, check, equal, until, number, grows, colours, screenshot } from "./lib.mjs";

const machine = await startMachine(["--kernel", process.env.RING3_GUEST, "--memory", "32M"]);
const browser = await startBrowser();
let page;

const chip = () => page.textContent("#chip");
const screen = () => page.textContent("#screen");
const figure = (list, name) => `#${list} [data-name="${name}"] dd`;

async function rates_and_totals_move() {
  page = await openPage(browser, machine.url);
  for (const id of ["callouts", "hidden", "true", "translations", "flushes", "interrupts"]) await grows(page, `#total-${id}`);
  for (const id of ["callouts", "interrupts", "hidden"])
    await until(`a rate of ${id}`, () => number(page, `#rate-${id}`), (rate) => rate > 0);
  check("the rates are drawn", await colours(page, ".tile canvas") > 2);
}

async function the_cache_fills() {
  await grows(page, figure("cache-figures", "fragments"));
  await until("the map shows fragments", () => colours(page, "#map"), (n) => n > 3);
  await until("samples", () => page.locator("#hot button").count(), (n) => n > 0);
  for (const by of ["heat", "age", "privilege"]) {
    await page.check(`input[value=${by}]`, { force: true });
    check(`the map by ${by}`, await colours(page, "#map") > 2);
  }
}

async function a_fragment_shows_both_sides() {
  await page.locator("#map").click({ position: { x: 30, y: 8 } });
  await page.waitForSelector("#listing:not([hidden]) .pairs tbody tr");
  const rows = await page.$$eval("#listing tbody tr", (all) => all.map((row) => [row.cells[0].innerText, row.cells[1].innerText]));
  check("guest and host code", rows.length > 0 && rows.every(([guest]) => /[0-9a-f]{8}/.test(guest)));
  check("host code is there", rows.some(([, host]) => /\b(mov|jmp|lea|call)\b/.test(host)));
  check("a class is named", (await page.locator("#listing .kind").count()) > 0);
}

async function callouts_have_classes() {
  await until("the busiest classes", () => page.locator("#callout-table tbody tr").count(), (n) => n >= 4);
  await until("iret counts", () => number(page, '#callout-table tr[data-name="iret"] td:last-child'), (n) => n > 10);
  await grows(page, '#callout-table tr[data-name="iret"] td:last-child');
  check("the chart is drawn", await colours(page, "#callout-chart") > 4);
}

async function windows_show_pages() {
  const mapped = () => number(page, figure("window-figures", "pages writable"));
  await until("the supervisor's window", mapped, (n) => n > 0);
  await until("code in it", () => number(page, figure("window-figures", "pages traced")), (n) => n > 0);
  await until("both grids", () => colours(page, "#pages"), (n) => n > 2);
  const other = await until("a user's window", () => page.$$eval("#window-pick option", (all) => all[1]?.value));
  await page.selectOption("#window-pick", other);
  await until("its pages", () => page.$eval("#window-note", (note) => note.textContent), (text) => /4\w{7} to/.test(text));
  await page.selectOption("#window-pick", "0");
}

async function pause_step_and_resume() {
  await page.click("#pause");
  await until("a pause", chip, (text) => text === "Paused");
  const code = await until("code at EIP", () => page.textContent("#code .line.now").catch(() => ""));
  const before = await number(page, "#total-interrupts");
  await page.waitForTimeout(600);
  equal("nothing happens", before, await number(page, "#total-interrupts"));
  await page.click("#step");
  await until("a step", () => page.textContent("#chip-note"), (note) => note.includes("after a step"));
  await until("other code at EIP", () => page.textContent("#code .line.now").catch(() => ""), (now) => now && now !== code);
  await screenshot(page, "paused");
  await page.click("#resume");
  await until("it runs", chip, (text) => text !== "Paused");
  await grows(page, "#total-interrupts");
}

async function the_console_goes_both_ways() {
  await until("output", screen, (text) => /round \d+/.test(text));
  await page.fill("#input", "good morning");
  await page.press("#input", "Enter");
  await until("the guest's answer", screen, (text) => text.includes("you said: good morning"));
  await until("the terminal's copy", () => machine.out, (text) => text.includes("you said: good morning"));
}

// Nothing but keys, from the address bar on.
async function keys_suffice() {
  page = await openPage(browser, machine.url);
  await until("it runs", chip, (text) => ["Running", "Waiting in HLT"].includes(text));
  await page.keyboard.press("Tab");
  equal("the first stop is the way past the header", "Skip to the panels", await page.evaluate(() => document.activeElement.textContent));
  await page.keyboard.press("p");
  await until("p pauses", chip, (text) => text === "Paused");
  await page.keyboard.press("s");
  await until("s steps", () => page.textContent("#chip-note"), (note) => note.includes("after a step"));
  await page.keyboard.press("r");
  await until("r resumes", chip, (text) => text !== "Paused");
  for (const [key, id] of [["1", "cache"], ["2", "cpu"], ["3", "console"], ["4", "callouts"], ["5", "windows"]]) {
    await page.keyboard.press(key);
    equal(`${key} goes to a panel`, id, await page.evaluate(() => document.activeElement.id));
  }
  await page.keyboard.press("/");
  await page.keyboard.type("by keys");
  await page.keyboard.press("Enter");
  await until("typed by keys", screen, (text) => text.includes("you said: by keys"));
  await page.keyboard.press("Escape");
  await map_by_keys();
  await page.keyboard.press("?");
  check("the help opens", await page.locator("#help").isVisible());
  await page.keyboard.press("Escape");
  check("and closes", !(await page.locator("#help").isVisible()));
}

async function map_by_keys() {
  await page.focus("#map");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("ArrowRight");
  await page.keyboard.press("Enter");
  await page.waitForSelector("#listing:not([hidden]) tbody tr");
  const first = await page.textContent("#map-note");
  await page.keyboard.press("]");
  check("] goes on", (await page.textContent("#map-note")) !== first);
  await page.focus("#blocks");
  const block = await page.textContent("#window-note");
  await page.keyboard.press("ArrowDown");
  check("arrows move in the window", (await page.textContent("#window-note")) !== block);
  await page.keyboard.press("c");
  check("c changes the colours", await page.isChecked("input[value=heat]"));
}

async function everything_has_a_name() {
  const nameless = await page.$$eval("button, input, select, canvas, section, [tabindex='0']", (all) => all.filter((node) =>
    !(node.getAttribute("aria-label") || node.getAttribute("aria-labelledby") || node.labels?.length || node.textContent.trim() ||
      node.closest("label"))).map((node) => node.outerHTML.slice(0, 80)));
  equal("elements without a name", "", nameless.join());
}

// In both schemes text must stand out from what it stands on: 4.5 to 1.
async function contrast(scheme) {
  const weak = await page.evaluate(() => {
    const rgb = (text) => text.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
      .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (node) => {
      for (; node; node = node.parentElement) {
        const c = rgb(getComputedStyle(node).backgroundColor);
        if (c.length < 4 || c[3] === 1) return c;
      }
      return [255, 255, 255];
    };
    const bad = [];
    for (const node of document.querySelectorAll("p, h1, h2, h3, dt, dd, td, th, button, .note, .chip, .legend span, .modes span, summary, pre, figcaption")) {
      if (!node.textContent.trim() || !node.offsetParent || node.disabled) continue;
      const [a, b] = [light(rgb(getComputedStyle(node).color)), light(ground(node))].sort((x, y) => y - x);
      if ((a + 0.05) / (b + 0.05) < 4.5) bad.push(`${node.tagName}.${node.className} "${node.textContent.trim().slice(0, 30)}"`);
    }
    return bad;
  });
  equal(`text too faint in ${scheme}`, "", weak.join("; "));
}

async function light_and_dark_and_small() {
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.waitForTimeout(1200);
    await contrast(scheme);
    await screenshot(page, `guest-${scheme}`, { fullPage: true });
  }
  await page.setViewportSize({ width: 390, height: 844 });
  await page.waitForTimeout(400);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  equal("nothing sticks out on a telephone", 0, wide);
  await screenshot(page, "guest-small", { fullPage: true });
}

async function a_reset_is_survived() {
  await page.fill("#input", "reset");
  await page.press("#input", "Enter");
  await until("the second boot", () => page.textContent("#chip-note"), (note) => note.includes("boot 2"));
  await grows(page, "#total-callouts");
  check("the console goes on", (await screen()).includes("the machine starts again"));
}

async function the_page_was_quiet() {
  equal("problems", "", page.problems.filter((text) => !text.includes("ERR_")).join("; "));
}

async function other_pages_are_refused() {
  const stranger = await browser.newPage();
  const bare = await stranger.goto(new URL("/", machine.url).href);
  equal("without the token", 403, bare.status());
  const wrong = await stranger.goto(machine.url.replace(/[0-9a-f]\/$/, (c) => (c[0] === "0" ? "1/" : "0/")));
  equal("with a wrong token", 403, wrong.status());
  const elsewhere = createServer((_, answer) => answer.end("<p>another origin")).listen(0, "127.0.0.1");
  await until("another server", () => elsewhere.address());
  await stranger.goto(`http://127.0.0.1:${elsewhere.address().port}/`);
  const read = await stranger.evaluate((url) => fetch(`${url}model`).then((r) => r.status, () => "refused"), machine.url);
  equal("from another origin", "refused", read);
  const sent = await stranger.evaluate((url) => fetch(`${url}pause`, { method: "POST", mode: "no-cors" }).then(() => "sent", () => "refused"), machine.url);
  elsewhere.close();
  await page.waitForTimeout(500);
  check(`a pause from another origin (${sent}) does nothing`, (await chip()) !== "Paused");
}

async function the_end_is_told() {
  await page.fill("#input", "quit");
  await page.press("#input", "Enter");
  await until("the end", chip, (text) => text === "Ended");
  equal("how", "debug port", await page.textContent("#chip-note"));
  equal("status", 1, await machine.exited);
}

await run([rates_and_totals_move, the_cache_fills, a_fragment_shows_both_sides, callouts_have_classes, windows_show_pages,
  pause_step_and_resume, the_console_goes_both_ways, keys_suffice, everything_has_a_name, light_and_dark_and_small,
  a_reset_is_survived, the_page_was_quiet, other_pages_are_refused, the_end_is_told], async () => {
  machine.child.kill();
  await browser.close();
});
