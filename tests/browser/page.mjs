/** Pages in a real Chromium, as their users see them. */

import { mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

import { settles, until } from "./server.mjs";

const require = createRequire(new URL("../../client-sdk/web/package.json", import.meta.url));
const { chromium } = require("playwright-core");
const axeSource = require.resolve("axe-core/axe.min.js");

const ARGUMENTS = [
  "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
];

const SCREENSHOTS = process.env.QUOTH_SCREENSHOTS ?? new URL("../../target/screenshots", import.meta.url).pathname;

/** `QUOTH_CPU_THROTTLE=8` makes pages so many times slower, which shows what a test takes for granted of their pace. */
const CPU_THROTTLE = Number(process.env.QUOTH_CPU_THROTTLE ?? 1);

async function slowDown({ page, context }) {
  if (CPU_THROTTLE <= 1) return;
  const debug = await context.newCDPSession(page);
  await debug.send("Emulation.setCPUThrottlingRate", { rate: CPU_THROTTLE });
}

export async function launch() {
  return chromium.launch({ executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium", args: ARGUMENTS });
}

/** A request under way when a server dies is cut. The browser tells of it; from a living server it would be a fault. */
const CUT = /ERR_(CONNECTION_(RESET|CLOSED|ABORTED)|EMPTY_RESPONSE|INCOMPLETE_CHUNKED_ENCODING|CONTENT_LENGTH_MISMATCH|SOCKET_NOT_CONNECTED)/;

/** Something that is there is clicked at within this; whoever asks tries again then. */
const SOON_MS = 2_000;

/** Whether something was clicked at that may go meanwhile. */
export function clicked(locator) {
  return locator.click({ timeout: SOON_MS }).then(() => true, () => false);
}

/** What went wrong in pages of a server unseen. */
export function faultsOf(pages, server) {
  return pages.flatMap((page) => page.faults).filter((fault) => !(server.crashed && CUT.test(fault)));
}

export class Page {
  /**
   * Opens a window of its own, so that nothing is shared with other users' windows. What goes wrong in it
   * fails the test. `initScript` runs before the page's own scripts.
   */
  static async open(browser, link, { initScript, ...options } = {}) {
    const context = await browser.newContext({ viewport: { width: 1200, height: 800 }, ...options });
    if (initScript) await context.addInitScript(initScript);
    const self = new Page(await context.newPage());
    await slowDown(self);
    await self.page.goto(link);
    await self.page.locator("#app").waitFor();
    return self;
  }

  constructor(page) {
    this.page = page;
    this.faults = [];
    page.on("pageerror", (error) => this.faults.push(String(error)));
    page.on("console", (message) => {
      // A connection that is refused while the server is down is told by the browser itself.
      if (message.type() === "error" && !/WebSocket connection|ERR_CONNECTION_REFUSED|ERR_INTERNET_DISCONNECTED/.test(message.text())) this.faults.push(message.text());
    });
  }

  get context() {
    return this.page.context();
  }

  async say(text) {
    const field = this.page.getByRole("textbox", { name: "Message" });
    await field.fill(text);
    await field.press("Enter");
  }

  /** The messages in the document: who, what, seq, and the mark of own ones. */
  async messages() {
    return this.page.locator("#rows .msg").evaluateAll((nodes) =>
      nodes.map((node) => {
        const text = node.querySelector(".text").cloneNode(true);
        text.querySelector(".meta")?.remove();
        return {
          from: node.classList.contains("own") ? "You" : node.querySelector(".from").textContent,
          text: text.textContent,
          seq: Number(node.dataset.seq ?? 0),
          mark: node.querySelector(".tick")?.getAttribute("aria-label") ?? null,
        };
      }),
    );
  }

  async texts() {
    return (await this.messages()).map((message) => message.text);
  }

  /** Waits until these are the messages in the document: pages and native clients learn of one thing in any order. */
  async shows(expected) {
    await settles("the page shows what was said", () => this.texts(), expected);
  }

  /** Waits for a message and gives it. */
  async hears(text, also = () => true) {
    return until(`the page shows ${JSON.stringify(text)}`, async () => (await this.messages()).find((message) => message.text === text && also(message)));
  }

  /** The last message in the document that has this in its text. */
  row(text) {
    return this.page.locator("#rows .msg", { has: this.page.locator(".text", { hasText: text }) }).last();
  }

  /** Does something of a message's buttons, which one that is stored has below the pointer. */
  async tool(text, label) {
    await until(`${label} is done of ${JSON.stringify(text)}`, async () => {
      const button = this.row(text).getByRole("button", { name: label });
      await this.page.mouse.move(0, 0);
      await this.row(text).locator(".bubble").hover();
      return (await button.isVisible()) && clicked(button);
    });
  }

  /** Chooses of a message's menu, which goes where something that is said meanwhile moves the log. */
  async choose(text, item) {
    await until(`${item} is chosen of ${JSON.stringify(text)}`, async () => {
      await this.tool(text, "More about this message");
      return clicked(this.page.getByRole("menuitem", { name: item }));
    });
  }

  async screenshot(name) {
    mkdirSync(SCREENSHOTS, { recursive: true });
    await this.page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
  }

  /** Faults of accessibility that axe calls serious or critical. */
  async accessibilityFaults() {
    // The page's policy allows no scripts but its own: axe comes by way of the debugger.
    const { readFileSync } = await import("node:fs");
    await this.page.evaluate(readFileSync(axeSource, "utf8"));
    const { violations } = await this.page.evaluate(() => globalThis.axe.run());
    return violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(", ")}`);
  }
}
