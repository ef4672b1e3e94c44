/**
 * How long it takes from a cold start of the chat page until its user can type, and what is transferred for that: a figure, not a test.
 *
 *     node tests/browser/first_use.mjs [ROUNDS]
 *
 * Each round is a browser context of its own, so nothing is cached. The time is the page's own, from the begin of its navigation.
 */

import { launch } from "./page.mjs";
import { Server } from "./server.mjs";

const rounds = Number(process.argv[2] ?? 20);
const browser = await launch();
const server = await Server.start();
await server.send("bob", ["Good morning!", "Is anybody here?"]);

const times = [];
let transferred = 0;
for (let i = 0; i < rounds; i++) {
  const context = await browser.newContext();
  await context.addInitScript(() => {
    const look = () => {
      const text = document.querySelector("#text");
      // Visible, and what was said is there.
      if (text?.offsetParent && !text.disabled && document.querySelector("#rows .msg")) globalThis.usableMs = performance.now();
      else requestAnimationFrame(look);
    };
    look();
  });
  const page = await context.newPage();
  const debug = await context.newCDPSession(page);
  await debug.send("Network.enable");
  transferred = 0;
  debug.on("Network.loadingFinished", ({ encodedDataLength }) => (transferred += encodedDataLength));
  await page.goto(server.link("alice"));
  await page.waitForFunction(() => globalThis.usableMs !== undefined);
  times.push(await page.evaluate(() => globalThis.usableMs));
  await page.waitForLoadState("networkidle");
  await context.close();
}
await server.stop();
await browser.close();
times.sort((a, b) => a - b);
const [least, median, most] = [times[0], times[Math.floor(times.length / 2)], times.at(-1)].map(Math.round);
console.log(`usable after ${median} ms (${least}-${most}, median of ${rounds}), ${transferred} bytes transferred`);
