/** The browser of the page's checks: Debian's Chromium, or the one that QUOTH_CHROMIUM names. */

import { chromium } from "playwright-core";

const FLAGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

export async function launch() {
  return chromium.launch({ executablePath: process.env.QUOTH_CHROMIUM ?? "/usr/bin/chromium", args: FLAGS });
}

/** Opens a window of its own, with a storage of its own. `problems` gathers what the browser complains of. */
export async function open(browser, url, { width = 1280, height = 800, dark = false, touch = width < 720, prepare } = {}) {
  const context = await browser.newContext({
    viewport: { width, height },
    colorScheme: dark ? "dark" : "light",
    hasTouch: touch,
    isMobile: touch,
    reducedMotion: "reduce",
  });
  const page = await context.newPage();
  const problems = [];
  const requests = [];
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && problems.push(message.text()));
  page.on("pageerror", (error) => problems.push(String(error.stack)));
  page.on("request", (request) => requests.push(request.url()));
  if (prepare) await page.addInitScript(prepare);
  await page.goto(url);
  return { page, context, problems, requests };
}
