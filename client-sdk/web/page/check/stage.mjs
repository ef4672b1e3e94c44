/** What each check of the page has: the browser, and the page on the mock of the SDK. */

import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before } from "node:test";
import { bundle } from "../build.mjs";
import { launch } from "./chromium.mjs";
import { serve } from "./serve.mjs";

export const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
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
