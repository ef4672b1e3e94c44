/** How long things are kept, in the chat page, against a real server: what is gone is nowhere in it any more. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { settles, until } from "./server.mjs";
import { openPage, server } from "./stage.mjs";

/** Behind its time what is gone may stand so long: a screen reader's region keeps a message for a moment. */
const LATE_MS = 7_000;
/** How long what goes by its time is kept, in seconds: a busy machine looks at it meanwhile. */
const KEPT_S = 12;
const HOUR_MS = 3_600_000;

/** Makes a group of alice's with bob and carol in it. */
async function group(title) {
  await server.run("alice", "conversation", "create", "team", "--title", title, "--member", "bob", "--member", "carol");
  return "team";
}

const open = (user, conversation, options) => openPage(server.link(user, conversation), options);

/** For a browser whose clock is ahead of the server's. What is said to a screen reader, which stands for a moment, is noted. */
const ahead = (ms) => ({
  initScript: `{
    const now = Date.now;
    Date.now = () => now() + ${ms};
    globalThis.said = [];
    const note = () => globalThis.said.push(document.getElementById("say-message")?.textContent ?? "");
    new MutationObserver(note).observe(document, { childList: true, subtree: true });
  }`,
});

/** A page of carol's, who is in the group and looks at another conversation. */
async function openElsewhere(options = {}) {
  const { token } = await (await fetch(`${server.url}dev/token?user=carol`)).json();
  return openPage(`${server.url}#token=${token}&conversation=general`, options);
}

/** Where a text stands in a page: in its document, with hidden parts and attributes, or in what it keeps. */
async function places({ page }, text) {
  return page.evaluate((text) => {
    const found = [];
    for (const node of document.querySelectorAll("body *")) {
      const own = [...node.childNodes].filter((child) => child.nodeType === Node.TEXT_NODE).map((child) => child.data);
      const said = [...own, ...[...node.attributes].map(({ value }) => value), node.value ?? ""];
      if (said.some((one) => String(one).includes(text))) found.push(node.closest("[id]")?.id ?? node.tagName);
    }
    for (const storage of [localStorage, sessionStorage])
      for (const [key, value] of Object.entries(storage)) if (value.includes(text)) found.push(key);
    return found;
  }, text);
}

/** Waits until a text is nowhere, and gives when that was. */
async function gone(page, text, patienceMs) {
  await until(`${text} is gone`, async () => (await places(page, text)).length === 0, patienceMs).catch(async (error) => {
    throw new Error(`${error.message}; it stands in ${await places(page, text)}`);
  });
  return Date.now();
}

const preview = async ({ page }, title) => page.locator("#lists li", { has: page.locator(".talk-name", { hasText: title }) }).locator(".talk-last").innerText();
const list = async ({ page }, title) => page.locator("#lists li", { has: page.locator(".talk-name", { hasText: title }) }).innerText();
const lines = async ({ page }) => page.locator("#rows .quiet-line").allInnerTexts();
const top = async ({ page }) => page.locator("#log-top").innerText();

for (const [name, clockAheadMs] of [["right", 0], ["an hour ahead", HOUR_MS], ["an hour behind", -HOUR_MS]]) {
  test(`a message that disappears is nowhere behind its time, where the browser's clock is ${name}`, async () => {
    const conversation = await group("Team");
    await server.send("bob", ["stays"], conversation);
    const alice = await open("alice", conversation, ahead(clockAheadMs));
    const elsewhere = await openElsewhere(ahead(clockAheadMs));
    await alice.hears("stays");
    const sentMs = Date.now();
    await server.run("bob", "send", conversation, "vanishing", "--expires", `${KEPT_S}s`);
    const storedMs = Date.now();
    await alice.hears("vanishing");
    await until("it is said", () => alice.page.evaluate(() => globalThis.said.some((text) => text.includes("vanishing"))));
    await until("the list has it", async () => /vanishing/.test(await preview(alice, "Team")));
    await until("the other page's list has it", async () => /vanishing/.test(await preview(elsewhere, "Team")));
    await settles("it is shown that it goes", () => alice.page.locator(".fleeting").getByLabel(/^Disappears /).count(), 1);
    // Who answers it at that time keeps nothing of it.
    await alice.tool("vanishing", "Reply");
    assert.ok((await places(alice, "vanishing")).includes("reply-to"));
    for (const page of [alice, elsewhere]) {
      const atMs = await gone(page, "vanishing");
      assert.ok(atMs - sentMs >= KEPT_S * 1_000, `gone ${atMs - sentMs} ms behind the send`);
      assert.ok(atMs - storedMs < KEPT_S * 1_000 + LATE_MS, `there for ${atMs - storedMs} ms once it was stored`);
      await until("the list has what is left", async () => /stays/.test(await preview(page, "Team")));
    }
    await until("it is not counted", async () => /\b1 unread/.test((await list(elsewhere, "Team")).replaceAll(/\s+/g, " ")));
    await alice.hears("stays");
    await settles("the log says so", async () => (await lines(alice)).slice(-1), ["1 message is no longer kept"]);
  });
}

test("an open page keeps what its conversation keeps: by number, by age, and by what holds since before it was opened", async () => {
  const conversation = await group("Team");
  await server.send("bob", ["apple", "banana", "cherry", "damson"], conversation);
  const alice = await open("alice", conversation);
  const elsewhere = await openElsewhere(ahead(-HOUR_MS));
  await alice.hears("damson");
  await server.run("alice", "retention", conversation, "--count", "3");
  // The event that says so is the third.
  await gone(alice, "banana");
  await alice.shows(["cherry", "damson"]);
  await until("the top says so", async () => /Earlier messages are gone/.test(await top(alice)));
  await until("a line says so", async () => (await lines(alice))[0].endsWith("messages are no longer kept"));
  await server.send("bob", ["elderberry"], conversation);
  await gone(alice, "cherry");
  // A page that comes later knows how much is kept by asking, where the event is far away.
  await server.run("alice", "retention", conversation, "--count", "64");
  await server.send("bob", Array.from({ length: 62 }, (_, i) => `number ${i + 1}.`), conversation);
  const late = await open("alice", conversation);
  await late.hears("number 62.");
  await server.send("bob", ["number 63.", "number 64.", "number 65.", "number 66."], conversation);
  for (const page of [alice, late]) {
    // By what it knows, and not because it asks what is left, as it does every 20 s.
    await gone(page, "number 2.", 10_000);
    await settles("what is left begins there", async () => (await page.texts())[0], "number 3.");
  }
  // By age: all of it, in the list as well, whether it is open or not.
  await server.run("alice", "retention", conversation, "--age", `${KEPT_S}s`);
  const sentMs = Date.now();
  await server.send("bob", ["the last one"], conversation);
  const storedMs = Date.now();
  await alice.hears("the last one");
  await until("it is counted", async () => /unread/.test(await list(elsewhere, "Team")));
  for (const page of [alice, late, elsewhere]) {
    const atMs = await gone(page, "the last one");
    assert.ok(atMs - sentMs >= (KEPT_S - 1) * 1_000, `gone ${atMs - sentMs} ms behind the send`);
    assert.ok(atMs - storedMs < KEPT_S * 1_000 + LATE_MS, `there for ${atMs - storedMs} ms once it was stored`);
    await until("nothing is counted", async () => !/unread/.test(await list(page, "Team")));
  }
  await until("nothing is left", async () => (await alice.page.locator("#blank").innerText()).startsWith("Nothing is kept here any more"));
  await until("the list says so", async () => /^No messages left/.test(await preview(alice, "Team")));
  // Nothing of it comes back with a reload.
  await alice.page.reload();
  await alice.page.locator("#blank").getByText("Nothing is kept here any more").waitFor();
  assert.deepEqual(await places(alice, "the last one"), []);
});

test("what has gone by the number of its bytes is asked for when the user looks", async () => {
  const conversation = await group("Team");
  const alice = await open("alice", conversation);
  await server.send("bob", Array.from({ length: 10 }, (_, i) => `number ${i + 1}.`), conversation);
  await alice.hears("number 10.");
  await server.run("alice", "retention", conversation, "--bytes", "40");
  await until("it is told", async () => (await lines(alice)).some((line) => line.includes("up to 40 bytes")));
  await alice.page.evaluate(() => dispatchEvent(new Event("focus")));
  await gone(alice, "number 1.");
  const history = await server.run("alice", "history", conversation);
  await settles("nothing is shown that is gone", async () => (await alice.texts()).filter((text) => !history.includes(text)), []);
});

test("what is deleted, for everybody or for oneself, is nowhere any more, also behind a reload", async () => {
  const conversation = await group("Team");
  const alice = await open("alice", conversation);
  await server.send("bob", ["the oldest", "hidden by me", "taken back"], conversation);
  await alice.hears("taken back");
  const [seq] = (await alice.messages()).filter(({ text }) => text === "taken back").map(({ seq }) => seq);
  await server.run("bob", "revoke", conversation, String(seq));
  await gone(alice, "taken back");
  await until("the list has the one before", async () => /hidden by me/.test(await preview(alice, "Team")));
  await server.run("alice", "hide", conversation, String(seq - 1));
  await gone(alice, "hidden by me");
  await until("the list has the one before", async () => /the oldest/.test(await preview(alice, "Team")));
  await alice.page.reload();
  await alice.hears("the oldest");
  await until("the list has it", async () => /the oldest/.test(await preview(alice, "Team")));
  for (const text of ["taken back", "hidden by me"]) await gone(alice, text);
  // All of it: there were messages, and there are none.
  await server.run("bob", "revoke", conversation, String(seq - 2));
  await gone(alice, "the oldest");
  await until("the list says so", async () => /^No messages left/.test(await preview(alice, "Team")));
});

test("a group's owner says in the page how long messages are kept, and a member does not", async () => {
  const conversation = await group("Team");
  await server.send("bob", ["apple", "banana", "cherry"], conversation);
  const [alice, bob] = [await open("alice", conversation), await open("bob", conversation)];
  await alice.hears("cherry");
  await alice.page.locator("#people-open").click();
  await alice.page.getByLabel("Keep messages", { exact: true }).selectOption("for 7 days");
  await alice.page.getByLabel("Keep so many of the last events").fill("2");
  const button = alice.page.locator("#keep-set");
  await button.click();
  await until("what takes messages away is asked once more", async () => /for good/.test(await button.innerText()));
  assert.deepEqual(await alice.accessibilityFaults(), []);
  await alice.screenshot("retention");
  await button.click();
  await alice.page.getByText("Messages are kept for 7 days, up to 2 events.").waitFor();
  await settles("it is asked anew", () => button.innerText(), "Set");
  await bob.page.locator("#people-open").click();
  await bob.page.getByText("Messages are kept for 7 days, up to 2 events.").waitFor();
  assert.equal(await bob.page.locator("#keep-form").isVisible(), false);
  for (const page of [alice, bob]) {
    await page.page.keyboard.press("Escape");
    await gone(page, "banana");
    await page.shows(["cherry"]);
  }
});

test("who writes says in the page how long a message is kept, by hand and by key", async () => {
  const conversation = await group("Team");
  const [alice, bob] = [await open("alice", conversation), await open("bob", conversation)];
  await alice.page.getByRole("button", { name: "Disappearing messages: off" }).focus();
  await alice.page.keyboard.press("Enter");
  await alice.page.getByRole("menu", { name: "Disappearing messages" }).waitFor();
  assert.deepEqual(await alice.accessibilityFaults(), []);
  await alice.page.keyboard.press("ArrowDown");
  await alice.page.keyboard.press("Enter");
  await alice.page.getByText("What you send is gone after 1 minute.").waitFor();
  await alice.page.keyboard.type("a secret");
  await alice.page.keyboard.press("Enter");
  const { seq } = await bob.hears("a secret");
  await settles("bob sees that it goes", () => bob.page.locator(".fleeting").count(), 1);
  await alice.hears("a secret", (message) => message.seq > 0);
  assert.deepEqual(await alice.accessibilityFaults(), []);
  const events = (await server.run("bob", "history", conversation, "--json")).split("\n").map((line) => JSON.parse(line));
  const event = events.find((one) => one.seq === seq);
  assert.equal(event?.expires_ms - event?.time_ms, 60_000, JSON.stringify(event));
  await alice.page.getByRole("button", { name: "Disappearing messages: 1 minute" }).click();
  await alice.page.getByRole("menuitemcheckbox", { name: "Keep messages" }).click();
  await alice.say("no secret");
  await bob.hears("no secret");
  await settles("that one does not go", () => bob.page.locator(".fleeting").count(), 1);
});
