/** The chat page against a real server, in real Chromium, beside native clients. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Page } from "./page.mjs";
import { until } from "./server.mjs";
import { browser, openPage, pages, server } from "./stage.mjs";

function open(user, options) {
  return openPage(server.link(user), options);
}

/** A bound of a hang where thousands of messages are drawn. */
const FLOOD_PATIENCE_MS = 120_000;

/** Seqs from 1 on without a hole, each once. */
function assertGapless(events, count) {
  assert.deepEqual(events.map(({ seq }) => seq), Array.from({ length: count }, (_, i) => i + 1));
}

test("two pages and a native client are in one conversation", async () => {
  const [alice, bob] = [await open("alice"), await open("bob")];
  const native = server.tail("alice");
  assert.equal(new URL(alice.page.url()).hash.includes("token"), false, "the token does not stay in the address bar");
  await alice.say("hello from a page");
  await bob.hears("hello from a page", ({ from }) => from === "alice");
  await server.send("bob", ["hello from a terminal"]);
  await alice.hears("hello from a terminal", ({ from }) => from === "bob");
  await bob.say("line one");
  await until("the native client hears both", () => native.events.length >= 3);
  assertGapless(native.events, 3);
  for (const page of [alice, bob]) await page.shows(["hello from a page", "hello from a terminal", "line one"]);
  await alice.hears("hello from a page", ({ mark }) => mark === "Read");
  await until("alice sees that bob types", async () => {
    await bob.page.getByRole("textbox", { name: "Message" }).pressSequentially("I am typing ");
    return /bob/.test(await alice.page.locator("#typing").innerText());
  });
  await alice.page.getByRole("button", { name: /Who is here/ }).click();
  await until("both are here", async () => {
    const here = await alice.page.locator("#people-list").innerText();
    return /alice|You/.test(here) && /bob/.test(here);
  });
  await alice.screenshot("who-is-here");
});

test("what is written is text and nothing else", async () => {
  const [alice, bob] = [await open("alice"), await open("bob")];
  const nasty = '<img src=x onerror="window.hacked=1"><b>bold</b> https://example.org/a?b=c javascript:alert(1)';
  await alice.say(nasty);
  await bob.hears(nasty);
  assert.equal(await bob.page.evaluate(() => "hacked" in globalThis), false);
  assert.deepEqual(await bob.page.locator("#rows .msg a").evaluateAll((links) => links.map((link) => link.href)), ["https://example.org/a?b=c"]);
});

test("who writes fast stays at the end", async () => {
  await server.send("bob", Array.from({ length: 40 }, (_, i) => `message ${i}`));
  const alice = await open("alice");
  await alice.hears("message 39");
  const below = () => alice.page.locator("#log").evaluate((log) => log.scrollHeight - log.scrollTop - log.clientHeight);
  for (let round = 0; round < 3; round++) {
    await alice.say(`one ${round}`);
    await alice.say(`two ${round}`);
    await alice.hears(`two ${round}`, ({ mark }) => mark === "Stored");
    await until("the last message is in sight", async () => (await below()) < 2);
  }
});

test("a conversation goes on over a crash of the server", async () => {
  const [alice, bob] = [await open("alice"), await open("bob")];
  for (let i = 1; i <= 5; i++) await alice.say(`before ${i}`);
  await bob.hears("before 5");
  await server.kill();
  await until("alice is told", async () => alice.page.locator("#banner").isVisible());
  await alice.screenshot("reconnecting");
  await alice.say("typed while it was down");
  await server.restart();
  await bob.hears("typed while it was down");
  await alice.hears("typed while it was down", ({ mark }) => mark === "Stored" || mark === "Read");
  await until("the banner goes", async () => !(await alice.page.locator("#banner").isVisible()));
  await bob.say("and back");
  await alice.hears("and back");
  const expected = ["before 1", "before 2", "before 3", "before 4", "before 5", "typed while it was down", "and back"];
  for (const page of [alice, bob]) await page.shows(expected);
  const native = server.tail("bob");
  await until("all is stored", () => native.events.length >= expected.length);
  assertGapless(native.events, expected.length);
});

test("a page that was offline comes back to what it missed", async () => {
  const [alice, bob] = [await open("alice"), await open("bob")];
  await bob.say("first");
  await alice.hears("first");
  await alice.context.setOffline(true);
  await until("alice is told", async () => alice.page.locator("#banner").isVisible());
  await alice.screenshot("offline");
  await bob.say("missed 1");
  await bob.say("missed 2");
  await alice.say("typed offline");
  await bob.hears("missed 2", ({ mark }) => mark === "Stored" || mark === "Read");
  assert.equal((await bob.texts()).includes("typed offline"), false);
  await alice.context.setOffline(false);
  await bob.hears("typed offline");
  await alice.hears("missed 2");
  await alice.hears("typed offline", ({ mark }) => mark === "Stored" || mark === "Read");
  await alice.shows(["first", "missed 1", "missed 2", "typed offline"]);
});

test("a message typed without a connection survives a reload and is sent once", async () => {
  const [alice, bob] = [await open("alice"), await open("bob")];
  await alice.say("before");
  await bob.hears("before");
  // The page can be loaded, but no WebSocket gets through.
  await alice.page.routeWebSocket(/\/v1\/ws/, (socket) => socket.close());
  await alice.page.reload();
  await alice.page.locator("#app").waitFor();
  await alice.say("kept in the outbox");
  await alice.hears("kept in the outbox");
  await alice.page.reload();
  await alice.page.locator("#app").waitFor();
  await alice.hears("kept in the outbox");
  await alice.screenshot("outbox");
  assert.deepEqual(await bob.texts(), ["before"]);
  await alice.page.unrouteAll();
  const fresh = await alice.context.newPage();
  await alice.page.close();
  alice.page = fresh;
  await fresh.goto(server.link("alice"));
  await bob.hears("kept in the outbox");
  await alice.hears("kept in the outbox", ({ mark }) => mark === "Stored" || mark === "Read");
  await fresh.reload();
  await alice.hears("kept in the outbox");
  const native = server.tail("bob");
  await until("both are stored", () => native.events.length >= 2);
  await bob.say("the last one");
  await until("the last one is stored", () => native.events.length >= 3);
  assertGapless(native.events, 3);
});

test("ten thousand messages are scrolled through with few of them in the document", async () => {
  const COUNT = 10_000;
  await server.send("bob", Array.from({ length: COUNT }, (_, i) => `message ${i + 1}`));
  const alice = await open("alice");
  await alice.hears(`message ${COUNT}`);
  const seen = new Set();
  let rowsMax = 0;
  const note = async () => {
    const { seqs, rows } = await alice.page.evaluate(() => {
      const nodes = [...document.querySelectorAll("#rows .msg")];
      return { seqs: nodes.map((node) => Number(node.dataset.seq)), rows: nodes.length };
    });
    seqs.forEach((seq, i) => i === 0 || assert.equal(seq, seqs[i - 1] + 1, "no hole among the rows"));
    seqs.forEach((seq) => seen.add(seq));
    rowsMax = Math.max(rowsMax, rows);
  };
  const log = alice.page.locator("#log");
  await until("the first message is reached", async () => {
    await note();
    await log.evaluate((node) => node.scrollBy(0, -20_000));
    return seen.has(1);
  }, FLOOD_PATIENCE_MS);
  assert.equal(seen.size, COUNT, "every message was shown on the way");
  assert.ok(rowsMax < 600, `${rowsMax} rows in the document`);
  await alice.screenshot("history");
  await alice.page.getByRole("button", { name: /Jump to the latest/ }).click();
  await alice.hears(`message ${COUNT}`);
});

test("a tab that is paused slows nobody and catches up", async () => {
  const COUNT = 2_000;
  const [alice, bob] = [await open("alice"), await open("bob")];
  await bob.say("begin");
  await alice.hears("begin");
  const debug = await alice.context.newCDPSession(alice.page);
  await debug.send("Debugger.enable");
  const paused = new Promise((resolve) => debug.once("Debugger.paused", resolve));
  await debug.send("Debugger.pause");
  // Something must run for the pause to take hold.
  alice.page.evaluate(() => 1).catch(() => {});
  await paused;
  const native = server.tail("bob");
  await server.send("bob", Array.from({ length: COUNT }, (_, i) => `${i} ${"x".repeat(500)}`));
  await bob.say("after the flood");
  await until("the native client has all", () => native.events.length >= COUNT + 2, FLOOD_PATIENCE_MS);
  await bob.hears("after the flood", ({ mark }) => mark === "Stored" || mark === "Read");
  await debug.send("Debugger.resume");
  await debug.send("Debugger.disable");
  await until("alice has caught up", async () => {
    await alice.page.keyboard.press("Escape");
    return (await alice.texts()).includes("after the flood");
  }, FLOOD_PATIENCE_MS);
  assertGapless(native.events, COUNT + 2);
});

for (const [name, options] of [
  ["wide-light", { colorScheme: "light" }],
  ["wide-dark", { colorScheme: "dark" }],
  ["narrow-light", { colorScheme: "light", viewport: { width: 390, height: 780 } }],
  ["narrow-dark", { colorScheme: "dark", viewport: { width: 390, height: 780 } }],
]) {
  test(`axe finds no serious fault: ${name}`, async () => {
    await server.send("bob", ["Good morning!", "Has anybody seen the release notes? https://example.org/notes", "😀"]);
    await server.send("alice", ["I have. They are short."]);
    const alice = await open("alice", options);
    await alice.hears("Good morning!");
    await alice.screenshot(`chat-${name}`);
    assert.deepEqual(await alice.accessibilityFaults(), []);
    await alice.page.getByRole("button", { name: /Who is here/ }).click();
    assert.deepEqual(await alice.accessibilityFaults(), []);
    await alice.page.keyboard.press("Escape");
    const overflow = await alice.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(overflow, 0, "nothing is wider than the window");
    const stranger = new Page(await alice.context.newPage());
    pages.push(stranger);
    await stranger.page.goto(server.url);
    await stranger.page.locator("#signin").waitFor();
    await stranger.screenshot(`sign-in-${name}`);
    assert.deepEqual(await stranger.accessibilityFaults(), []);
  });
}

test("everything works from the keyboard", async () => {
  const [alice, bob] = [await open("alice"), await open("bob")];
  await alice.page.keyboard.press("Control+k");
  await alice.page.keyboard.type("garden");
  await alice.page.keyboard.press("Enter");
  await until("the new conversation is shown", async () => (await alice.page.locator("#room-name").innerText()) === "garden");
  await alice.page.keyboard.type("a first line");
  await alice.page.keyboard.press("Shift+Enter");
  await alice.page.keyboard.type("a second line");
  await alice.page.keyboard.press("Enter");
  await alice.hears("a first line\na second line", ({ mark }) => mark === "Stored");
  await bob.say("unread in general");
  const general = alice.page.locator('.talk[data-name="general"]');
  await until("it counts as unread", async () => /unread in general/.test(await general.innerText()) && /1/.test(await general.innerText()));
  await alice.screenshot("unread");
  await alice.page.keyboard.press("Alt+ArrowUp");
  await alice.hears("unread in general");
});

test("the first use is small", async () => {
  const context = await browser.newContext();
  const page = await context.newPage();
  const debug = await context.newCDPSession(page);
  await debug.send("Network.enable");
  let transferred = 0;
  debug.on("Network.loadingFinished", ({ encodedDataLength }) => (transferred += encodedDataLength));
  await page.goto(server.link("alice"));
  await page.locator("#app").waitFor();
  await page.waitForLoadState("networkidle");
  await context.close();
  assert.ok(transferred > 1_000 && transferred <= 60 * 1024, `${transferred} bytes`);
});
