/** What each check of the page has: the browser, and the page on the mock of the SDK. */

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before } from "node:test";
import { isDeepStrictEqual } from "node:util";
import { bundle } from "../build.mjs";
import { launch } from "./chromium.mjs";
import { serve } from "./serve.mjs";

export const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** A bound of a hang, not a measurement. */
const PATIENCE_MS = 30_000;
export let browser;
export let site;

before(async () => {
  site = await serve(await bundle(join(import.meta.dirname, "mock_main.ts")));
  browser = await launch();
});
after(async () => {
  await browser?.close();
  site?.close();
});

/** Waits until what is seen is what is expected, and shows how they differ when it never is: much is drawn with the next frame only. */
export async function settles(look, expected) {
  for (const deadline = Date.now() + PATIENCE_MS; ; ) {
    const seen = await look();
    if (isDeepStrictEqual(seen, expected) || Date.now() > deadline) return assert.deepEqual(seen, expected);
    await new Promise((resolve) => setTimeout(resolve, 25));
  }
}
