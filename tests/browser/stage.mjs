/** What each test of the chat page has: the browser, a server of its own, and the pages that it opens. */

import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach } from "node:test";

import { faultsOf, launch, Page } from "./page.mjs";
import { Server } from "./server.mjs";

export let browser;
export let server;
export let pages;

before(async () => (browser = await launch()));
after(() => browser?.close());
beforeEach(async () => {
  server = await Server.start();
  pages = [];
});
afterEach(async () => {
  const faults = faultsOf(pages, server);
  await Promise.all(pages.map((page) => page.context.close()));
  await server.stop();
  assert.deepEqual(faults, [], "nothing goes wrong in a page unseen");
});

/** Opens a page that is looked at when the test ends. */
export async function openPage(link, options) {
  const page = await Page.open(browser, link, options);
  pages.push(page);
  return page;
}
