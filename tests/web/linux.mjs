// The observatory while Debian's kernel boots; the picture in the README is of this.
import { startMachine, startBrowser, openPage, run, check, until, number, grows, colours, screenshot } from "./lib.mjs";

const [kernel, initrd] = process.env.RING3_LINUX.split(":");
const browser = await startBrowser();
const machine = await startMachine(["--kernel", kernel, "--initrd", initrd, "--append", "console=ttyS0 panic=-1", "--memory", "256M", "-S"]);
let page;

async function numbers_change_while_it_boots() {
  page = await openPage(browser, machine.url);
  await until("a machine that waits", () => page.textContent("#chip"), (text) => text === "Paused");
  await page.click("#resume");
  for (const id of ["callouts", "hidden", "true", "translations", "flushes", "interrupts"])
    await until(`${id} of the boot`, () => number(page, `#total-${id}`), (n) => n > 0);
  await grows(page, "#total-callouts");
  await until("the map", () => colours(page, "#map"), (n) => n > 3);
}

async function names_are_the_kernels() {
  await until("a hot function of the kernel", () => page.$$eval("#hot .where", (all) => all.map((node) => node.textContent).join()),
    (names) => /[a-z]_[a-z]/.test(names));
}

async function the_guest_works() {
  await until("its shell", () => page.textContent("#screen"), (text) => text.includes("/ # "));
  await page.fill("#input", "uname -m; i=0; while [ $i -lt 5000 ]; do i=$((i+1)); done; ls /");
  await page.press("#input", "Enter");
  await until("its answer", () => page.textContent("#screen"), (text) => /\ni[56]86/.test(text));
  await until("true faults", () => number(page, "#total-true"), (n) => n > 50);
}

async function the_picture() {
  await page.locator("#hot button").nth(1).click();
  await page.waitForSelector("#listing tbody tr");
  await page.evaluate(() => { document.activeElement.blur(); window.scrollTo(0, 0); });
  await page.setViewportSize({ width: 1440, height: 1180 });
  for (const scheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.waitForTimeout(1500);
    check(`the map in ${scheme}`, await colours(page, "#map") > 3);
    await screenshot(page, `linux-${scheme}`);
  }
}

async function it_ends() {
  await page.fill("#input", "poweroff");
  await page.press("#input", "Enter");
  await until("the end", () => page.textContent("#chip"), (text) => text === "Ended");
  check("it powered off", (await machine.exited) === 0);
}

await run([numbers_change_while_it_boots, names_are_the_kernels, the_guest_works, the_picture, it_ends], async () => {
  machine.child.kill();
  await browser.close();
});
