// Drives the credits page in a real browser, for a test that knows what the page should show.
//
//   PAGE_TEST='{"url":"http://127.0.0.1:9464/","token":null,"screenshots":"DIR"}' node page.mjs drive
//
// `drive` opens the page, prints {"event":"ready"}, and then answers each line of standard input with one line:
// {"do":"read"} → {"did":"read","result":…}, or {"did":"read","failed":"why"}. It ends with its input. Any other
// argument is a single command, whose other settings are in PAGE_TEST too. What each command takes and
// returns is said above it. Nothing sleeps: everything waits for what it waits for.

import { createInterface } from "node:readline";
import { join } from "node:path";
import axe from "axe-core";
import { chromium } from "playwright-core";
import { read } from "./read.mjs";

const settings = JSON.parse(process.env.PAGE_TEST ?? "{}");
const QUIET = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
const SCHEMES = ["light", "dark"];
const RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"];

const browser = await chromium.launch({
  executablePath: settings.chromium ?? "/usr/bin/chromium",
  args: QUIET,
});
const context = await browser.newContext({
  viewport: { width: settings.width ?? 1280, height: settings.height ?? 900 },
  colorScheme: settings.scheme ?? "light",
  reducedMotion: "reduce",
});
const page = await context.newPage();
const heard = { console: [], errors: [], requests: new Map() };
page.on("console", (message) =>
  heard.console.push({ type: message.type(), text: message.text(), from: message.location().url }),
);
page.on("pageerror", (error) => heard.errors.push(String(error)));
context.on("request", (request) => {
  const { origin } = new URL(request.url());
  heard.requests.set(origin, (heard.requests.get(origin) ?? 0) + 1);
});

// Looks at what is shown until it is as wanted: a path of `read`'s answer, parts separated by `/`, to the text
// that is wanted there, null for nothing, { matches: "pattern" } or { not: text }.
const fits = (want, found) => {
  if (want !== null && typeof want === "object") {
    if ("matches" in want) return typeof found === "string" && new RegExp(want.matches).test(found);
    return !fits(want.not, found);
  }
  return want === null ? found === null || found === undefined : String(found) === String(want);
};
const follow = (shown, path) => path.split("/").reduce((part, name) => part?.[name], shown);

// Resolves when the document has changed, or at the latest when a change may have been missed.
const changed = () =>
  page.evaluate(
    () =>
      new Promise((resolve) => {
        const observer = new MutationObserver(() => done());
        const timer = setTimeout(() => done(), 250);
        const done = () => {
          observer.disconnect();
          clearTimeout(timer);
          resolve();
        };
        observer.observe(document, { subtree: true, childList: true, attributes: true, characterData: true });
      }),
  );

const shape = async ({ width, height, scheme }) => {
  const now = page.viewportSize();
  if (width || height)
    await page.setViewportSize({ width: width ?? now.width, height: height ?? now.height });
  if (scheme) await page.emulateMedia({ colorScheme: scheme });
  // The chart follows in the frame after.
  await page.evaluate(
    () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))),
  );
};

const commands = {
  // Everything that can be seen, as text.
  read: () => page.evaluate(read),

  // { until, timeout = 15000 } → what is shown when it is so.
  async wait({ until, timeout = 15_000 }) {
    const deadline = performance.now() + timeout;
    for (;;) {
      const shown = await page.evaluate(read);
      const unmet = Object.entries(until).filter(([path, want]) => !fits(want, follow(shown, path)));
      if (!unmet.length) return shown;
      if (performance.now() > deadline) {
        const found = Object.fromEntries(unmet.map(([path]) => [path, follow(shown, path) ?? null]));
        throw new Error(
          `not within ${timeout} ms: ${JSON.stringify(found)}, wanted ${JSON.stringify(Object.fromEntries(unmet))}`,
        );
      }
      await changed();
    }
  },

  // { range, since, until, team, caller, outcome, basis, id }: what is left out stays as it is.
  async filter({ id, since, until, ...chosen }) {
    for (const [name, value] of Object.entries(chosen))
      await page.locator(`select[name=${name}]`).selectOption(value);
    for (const [name, value] of Object.entries({ id, since, until }))
      if (value !== undefined) await page.locator(`input[name=${name}]`).fill(value);
  },

  // { name } → the lines of the file that the button of that name saves, and what it is called.
  async save({ name }) {
    const [download] = await Promise.all([
      page.waitForEvent("download"),
      page.getByRole("button", { name, exact: true }).click(),
    ]);
    const chunks = [];
    for await (const chunk of await download.createReadStream()) chunks.push(chunk);
    return {
      name: download.suggestedFilename(),
      lines: Buffer.concat(chunks).toString().trim().split("\n"),
    };
  },

  // { value }: gives the token that the page asks for.
  async token({ value }) {
    await page.getByLabel("Token", { exact: true }).fill(value);
    await page.getByRole("button", { name: "Show the figures" }).click();
  },

  // { detail, token }: answers the question about a key, and confirms it.
  async change({ detail, token }) {
    const form = page.locator("#key-change form");
    if (detail !== undefined) await form.locator("[name=detail]").fill(detail);
    await form.locator("[name=token]").fill(token);
    await form.locator("[name=confirm]").click();
  },

  // { name }: presses the button, link or summary of that name.
  async press({ name }) {
    const exact = { name, exact: true };
    await page
      .getByRole("button", exact)
      .or(page.getByRole("link", exact))
      .or(page.locator("summary", { hasText: name }))
      .first()
      .click();
  },

  // { key }: presses a key where the focus is.
  key: ({ key }) => page.keyboard.press(key),

  // { hidden }: what a page is told when its tab goes behind others, or comes back.
  hide: ({ hidden }) =>
    page.evaluate((value) => {
      Object.defineProperty(document, "hidden", { configurable: true, get: () => value });
      document.dispatchEvent(new Event("visibilitychange"));
    }, hidden),

  // { fragment = "" }: opens the page anew, at a fragment.
  async open({ fragment = "" }) {
    await page.goto("about:blank");
    await page.goto(settings.url + fragment);
  },

  // { name, width, height, scheme, full = true } → the file's path.
  async screenshot({ name, full = true, ...size }) {
    await shape(size);
    const path = join(settings.screenshots, `${name}.png`);
    await page.screenshot({ path, fullPage: full });
    return path;
  },

  // { name, width, height, schemes }: the demo of a while, as pictures of the first screen.
  async pictures({ schemes = SCHEMES, height = 900, ...rest }) {
    await commands.wait({ until: { "spend/drawn": true } });
    const made = [];
    for (const scheme of schemes)
      made.push(await commands.screenshot({ name: `page-${scheme}`, full: false, height, scheme, ...rest }));
    return made;
  },

  // → what axe finds wrong, in both colour schemes.
  async audit() {
    await page.evaluate(axe.source);
    const found = [];
    for (const scheme of SCHEMES) {
      await shape({ scheme });
      const { violations } = await page.evaluate(
        (values) => globalThis.axe.run(document, { runOnly: { type: "tag", values } }),
        RULES,
      );
      for (const { id, help, nodes } of violations) {
        found.push({
          scheme,
          id,
          help,
          nodes: nodes.map(({ target, failureSummary }) => `${target.join(" ")}: ${failureSummary}`),
        });
      }
    }
    await shape({ scheme: settings.scheme ?? "light" });
    return found;
  },

  // Goes through the page with Tab alone. → `reached` in order, `missed` controls, and those whose focus cannot be
  // seen: no outline, or out of view.
  async keyboard() {
    await page.evaluate(() => {
      document.activeElement?.blur();
      scrollTo(0, 0);
      // Where Tab goes on from, if nothing has the focus.
      getSelection().collapse(document.body, 0);
    });
    const controls = "a[href], button:not(:disabled), input, select, summary, [tabindex='0']";
    const all = await page.evaluate((selector) => {
      // Kept as a list, so that a control is known again by its number.
      globalThis.controls = [...document.querySelectorAll(selector)].filter((node) => node.checkVisibility());
      return globalThis.controls.map(
        (node) => `${node.localName} “${(node.ariaLabel ?? node.innerText ?? node.name).trim()}”`,
      );
    }, controls);
    const order = [];
    const unseen = [];
    for (let presses = 0; presses < all.length + 5; presses += 1) {
      await page.keyboard.press("Tab");
      const [index, seen] = await page.evaluate(() => {
        const node = document.activeElement;
        const { outlineStyle, outlineWidth } = getComputedStyle(node);
        const { top, bottom } = node.getBoundingClientRect();
        return [
          globalThis.controls.indexOf(node),
          outlineStyle !== "none" && parseFloat(outlineWidth) >= 1 && bottom > 0 && top < innerHeight,
        ];
      });
      if (index === -1) continue;
      if (order.includes(index)) break;
      order.push(index);
      if (!seen) unseen.push(all[index]);
    }
    return {
      reached: order.map((index) => all[index]),
      missed: all.filter((_, index) => !order.includes(index)),
      unseen,
    };
  },

  // → everything the browser said, and which origins were asked how often. A failed fetch is told by Chromium
  // itself, as an error of type "error" with the address in `from`.
  console: () => ({
    messages: heard.console,
    errors: heard.errors,
    origins: Object.fromEntries(heard.requests),
  }),

  // { width, height } → whether the page scrolls sideways at that width, and what sticks out.
  async overflow({ width, height }) {
    const before = page.viewportSize();
    await shape({ width, height });
    const result = await page.evaluate(() => {
      const { scrollWidth, clientWidth } = document.documentElement;
      const outside = (node) =>
        node.getBoundingClientRect().right > clientWidth + 0.5 &&
        node.checkVisibility() &&
        !node.closest(".scroll");
      const out = [...document.querySelectorAll("body *")].filter(outside);
      return { overflows: scrollWidth > clientWidth, out: out.map((node) => node.outerHTML.slice(0, 120)) };
    });
    await shape(before);
    return result;
  },
};

async function obey({ do: name, ...options }) {
  try {
    if (!Object.hasOwn(commands, name)) throw new Error(`there is no command ${name}`);
    return { did: name, result: (await commands[name](options)) ?? null };
  } catch (error) {
    return { did: name, failed: error.message };
  }
}

const tell = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

await page.goto(settings.url);
if (settings.token) {
  await page.getByLabel("Token", { exact: true }).waitFor();
  await commands.token({ value: settings.token });
}
const [command] = process.argv.slice(2);
if (command === "drive") {
  tell({ event: "ready" });
  for await (const line of createInterface({ input: process.stdin })) tell(await obey(JSON.parse(line)));
} else {
  await commands.wait({ until: { state: { not: "Loading" } } });
  const answer = await obey({ ...settings, do: command });
  tell(answer);
  if ("failed" in answer) process.exitCode = 1;
}
await browser.close();
