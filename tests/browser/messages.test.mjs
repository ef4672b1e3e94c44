/** Messages as people live with them, in the chat page, against a real server, beside second pages and a native client. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { clicked } from "./page.mjs";
import { settles, until } from "./server.mjs";
import { openPage, server } from "./stage.mjs";

function open(user, { conversation, ...options } = {}) {
  return openPage(server.link(user, conversation), options);
}

const plain = (text) => text.replaceAll(/[\u2068\u2069]/gu, "");
const field = ({ page }) => page.getByRole("textbox", { name: "Message" });
const row = (page, text) => page.row(text);
const talk = ({ page }, title) => page.locator("#lists li", { has: page.locator(".talk-name", { hasText: title }) });
const shows = (page, what, look) => until(what, () => look(page));

/** Everything that stands in the log, as a reader has it: deletions, quotes, edits and reactions included. */
async function view({ page }) {
  const rows = await page.locator("#rows li").evaluateAll((nodes) =>
    nodes
      .filter((node) => !node.classList.contains("new-line"))
      .map((node) => {
        const part = (what) => node.querySelector(what)?.innerText ?? "";
        const text = node.querySelector(".text")?.cloneNode(true);
        text?.querySelector(".meta")?.remove();
        const reactions = [...node.querySelectorAll(".reaction")].map((chip) => `${chip.innerText}${chip.ariaPressed === "true" ? " own" : ""}`);
        return [node.dataset.seq, part(".quote"), text?.textContent ?? node.innerText, part(".edited"), ...reactions].join("|");
      }),
  );
  return rows.map(plain);
}

/** A group that alice makes on her page, with bob and carol in it. Gives its name. */
async function group(alice, title = "The team") {
  await alice.page.getByRole("button", { name: "New group or direct message" }).click();
  await alice.page.getByRole("textbox", { name: "Title" }).fill(title);
  await alice.page.getByRole("textbox", { name: "Who else is in it" }).fill("bob, carol");
  await alice.page.getByRole("button", { name: "Create" }).click();
  await shows(alice, "the group is shown", async ({ page }) => (await page.locator("#room-name").innerText()) === title);
  return alice.page.locator(".talk[aria-current]").getAttribute("data-name");
}

test("the list is the inbox: counts, mentions and previews come by themselves, and reading takes them away everywhere", async () => {
  const [alice, bob] = [await open("alice"), await open("bob")];
  await group(alice);
  await alice.say("first");
  // Who types an @ is offered the members, with the next letter when they are known only then.
  await until("bob is offered", async () => {
    await field(alice).fill("");
    await field(alice).pressSequentially("hey @bo");
    return alice.page.getByRole("option", { name: "bob" }).isVisible();
  });
  await alice.page.keyboard.press("Enter");
  await alice.page.keyboard.type("look at this");
  await alice.page.keyboard.press("Enter");
  await alice.hears("hey @bob look at this");
  const counted = (page, count, mentions) =>
    shows(page, `${count} unread, ${mentions} mentions`, async () => {
      const told = (await talk(page, "The team").innerText()).replaceAll(/\s+/g, " ");
      return new RegExp(`${count} unread`).test(told) === count > 0 && new RegExp(`@ ${mentions} mentions`).test(told) === mentions > 0;
    });
  const other = await open("bob");
  await counted(bob, 2, 1);
  await counted(other, 2, 1);
  await shows(bob, "the preview", async () => /alice: hey @bob look at this/.test(plain(await talk(bob, "The team").innerText())));
  await bob.screenshot("inbox");
  // He reads it in one window: the divider stands where he had read to, and the other window follows.
  await talk(bob, "The team").locator(".talk").click();
  await bob.hears("hey @bob look at this");
  const lines = () => bob.page.locator("#rows li").evaluateAll((nodes) => nodes.map((node) => node.className.split(" ")[0]));
  await settles("unread is what is behind the line", async () => (await lines()).slice(-3), ["new-line", "msg", "msg"]);
  assert.equal(await row(bob, "look at this").locator(".mention").innerText(), "@bob");
  await counted(bob, 0, 0);
  await counted(other, 0, 0);
  for (const text of ["first", "hey @bob look at this"]) await alice.hears(text, ({ mark }) => mark === "Read");
  await alice.tool("look at this", "More about this message");
  await shows(alice, "who has read it", async ({ page }) => /Read by bob/.test(await page.locator(".menu-info").innerText()));
  assert.deepEqual(await alice.accessibilityFaults(), []);
  await alice.page.keyboard.press("Escape");
});

test("replies, reactions, edits and deletions: who comes later sees what those see who were there", async () => {
  const [alice, bob] = [await open("alice"), await open("bob")];
  const name = await group(alice);
  const native = server.tail("bob", name);
  await alice.say("Who brings the cake?");
  await alice.say("something that will go");
  await alice.say("I will hide this from myself");
  await talk(bob, "The team").locator(".talk").click();
  await bob.hears("I will hide this from myself");
  // A reply.
  await bob.tool("Who brings the cake?", "Reply");
  await bob.page.locator("#reply").getByText("Reply to alice").waitFor();
  await bob.say("I do");
  await bob.hears("I do", ({ seq }) => seq > 0);
  await shows(alice, "the quote", async () => /alice.*Who brings the cake/s.test(await row(alice, "I do").locator(".quote").innerText()));
  assert.equal(await bob.page.locator("#reply").isVisible(), false);
  // Reactions, by the picker and by the chip.
  await alice.tool("I do", "React");
  await alice.page.getByRole("menuitemcheckbox", { name: "🎉" }).click();
  const chip = (page) => row(page, "I do").locator(".reaction");
  await shows(bob, "a reaction", async () => (await chip(bob).count()) === 1 && plain(await chip(bob).innerText()) === "🎉 1");
  // That it was read draws the row anew, below a pointer that clicks.
  await bob.hears("I do", ({ mark }) => mark === "Read");
  await chip(bob).click();
  await shows(alice, "two reactions", async () => plain(await chip(alice).innerText()) === "🎉 2");
  await settles("it is bob's own", () => chip(bob).getAttribute("aria-pressed"), "true");
  // An edit, twice: nobody is told of the one that was put aside.
  await alice.choose("Who brings the cake?", "Edit");
  await alice.page.getByRole("textbox", { name: "Edit the message" }).fill("Who brings the cake on Friday?");
  await alice.page.keyboard.press("Enter");
  await bob.hears("Who brings the cake on Friday?");
  await field(bob).focus();
  await alice.choose("Who brings the cake on Friday?", "Edit");
  await alice.page.getByRole("textbox", { name: "Edit the message" }).fill("Who brings cakes?");
  await alice.page.getByRole("button", { name: "Save" }).click();
  await bob.hears("Who brings cakes?");
  assert.equal(await row(bob, "Who brings cakes?").locator(".edited").innerText(), "edited");
  await shows(bob, "the quote follows", async () => /Who brings cakes\?/.test(await row(bob, "I do").locator(".quote").innerText()));
  // Deletions: for everybody, and for oneself.
  await until("it is deleted for everyone", async () => {
    await alice.choose("something that will go", "Delete for everyone");
    return clicked(alice.page.getByRole("menuitem", { name: "Really delete for everyone" }));
  });
  await alice.choose("I will hide this from myself", "Delete for me");
  for (const page of [alice, bob]) await shows(page, "a deletion", async () => (await view(page)).some((one) => one.includes("Message deleted")));
  await shows(alice, "it is hidden", async () => !(await alice.texts()).includes("I will hide this from myself"));
  assert.ok((await bob.texts()).includes("I will hide this from myself"));
  await bob.say("the last word");
  await alice.hears("the last word");
  await alice.screenshot("messages");

  for (const [user, there] of [["alice", alice], ["bob", bob]]) {
    const away = await open(user, { conversation: name });
    await away.hears("the last word");
    await settles(`${user} sees the same`, () => view(away), await view(there));
  }
  // The log has all of it in its order, each seq once.
  await until("the native client has all", () => native.events.length >= 8);
});

test("what is edited, quoted and reacted with is text and nothing else", async () => {
  const [alice, bob] = [await open("alice"), await open("bob")];
  const nasty = '<img src=x onerror="window.hacked=1"> @<b>bob</b>';
  await alice.say("harmless");
  await bob.hears("harmless");
  await alice.choose("harmless", "Edit");
  await alice.page.getByRole("textbox", { name: "Edit the message" }).fill(nasty);
  await alice.page.keyboard.press("Enter");
  await bob.hears(nasty);
  await bob.tool("onerror", "Reply");
  await bob.say("quoted");
  await alice.hears("quoted");
  await shows(alice, "the quote", async () => (await row(alice, "quoted").locator(".quote").innerText()).includes(nasty));
  for (const page of [alice, bob]) {
    assert.equal(await page.page.evaluate(() => "hacked" in globalThis), false);
    assert.equal(await page.page.locator("#rows img, #rows b, #lists img, #reply img").count(), 0);
  }
});

test("a conversation is pinned, muted and archived in every window", async () => {
  const alice = await open("alice");
  await group(alice, "Garden");
  await group(alice, "Work");
  const other = await open("alice");
  const pick = async (title, item) => {
    await until(`${item} is chosen of ${title}`, async () => {
      await talk(alice, title).locator(".talk").hover();
      if (!(await clicked(talk(alice, title).getByRole("button", { name: `Options for ${title}` })))) return false;
      return clicked(alice.page.getByRole("menuitem", { name: item, exact: true }));
    });
  };
  await pick("Garden", "Pin");
  const first = async ({ page }) => page.locator("#list .talk-name").first().innerText();
  for (const page of [alice, other]) await shows(page, "pinned ones come first", async () => (await first(page)) === "Garden");
  await pick("Garden", "Mute");
  for (const page of [alice, other]) await shows(page, "it is muted", async () => (await talk(page, "Garden").getByLabel("Muted").count()) === 1);
  await pick("Work", "Archive");
  for (const page of [alice, other]) await shows(page, "one is archived", async () => /Archived\s*1/.test(await page.page.locator("#archived-open").innerText()));
  await other.page.getByRole("button", { name: /Archived/ }).click();
  await settles("it is among the archived", () => other.page.locator("#archived .talk-name").allInnerTexts(), ["Work"]);
  assert.deepEqual(await other.accessibilityFaults(), []);
  await other.screenshot("archived");
});

test("a quoted message that is far away is found with what was around it, and so is a day", async () => {
  const alice = await open("alice");
  await alice.say("the very first");
  await alice.hears("the very first", ({ seq }) => seq === 1);
  await alice.choose("the very first", "Edit");
  await alice.page.getByRole("textbox", { name: "Edit the message" }).fill("the very first, edited");
  await alice.page.keyboard.press("Enter");
  await alice.hears("the very first, edited");
  await alice.tool("the very first", "React");
  await alice.page.getByRole("menuitemcheckbox", { name: "🎉" }).click();
  await row(alice, "the very first").locator(".reaction").waitFor();
  await alice.tool("the very first", "Reply");
  await server.send("bob", Array.from({ length: 400 }, (_, i) => `message ${i + 1}`));
  await alice.say("an answer, late");
  await alice.hears("an answer, late", ({ seq }) => seq === 404);
  await alice.page.reload();
  await alice.hears("an answer, late");
  assert.ok(!(await alice.texts()).some((text) => text.startsWith("the very first")));
  await row(alice, "an answer, late").locator(".quote", { hasText: "the very first, edited" }).click();
  await alice.hears("the very first, edited");
  assert.equal(plain(await row(alice, "the very first").locator(".reaction").innerText()), "🎉 1");
  await alice.hears("message 30");
  assert.ok(!(await alice.texts()).includes("message 399"), "only what is around it was fetched");
  await alice.page.keyboard.press("Escape");
  await alice.page.keyboard.press("Escape");
  await alice.hears("an answer, late");
  // A day: the log begins today.
  await alice.page.getByRole("button", { name: "Jump to a date" }).click();
  await alice.page.getByRole("button", { name: "Jump", exact: true }).click();
  await shows(alice, "the day begins", async ({ page }) => page.locator('#rows .msg[data-seq="1"]').isVisible());
});

for (const [name, options] of [
  ["wide-light", { colorScheme: "light" }],
  ["wide-dark", { colorScheme: "dark" }],
  ["narrow-light", { colorScheme: "light", viewport: { width: 390, height: 780 } }],
  ["narrow-dark", { colorScheme: "dark", viewport: { width: 390, height: 780 } }],
]) {
  test(`everything that is done with messages works from the keyboard, and axe finds no fault: ${name}`, async () => {
    await server.send("bob", ["Good morning!", "Who brings the cake?"]);
    const [alice, bob] = [await open("alice", options), await open("bob")];
    await alice.say("I do");
    await alice.hears("I do", ({ seq }) => seq > 0);
    const press = async (...keys) => {
      for (const key of keys) await alice.page.keyboard.press(key);
    };
    // To the messages, up to bob's, and a reaction.
    await alice.page.locator("#log").focus();
    await press("Enter");
    await shows(alice, "the last message has the focus", async ({ page }) => page.evaluate(() => document.activeElement.matches(".msg") && document.activeElement.textContent.includes("I do")));
    await press("ArrowUp", "Enter");
    await alice.page.getByRole("menu").waitFor();
    assert.deepEqual(await alice.accessibilityFaults(), []);
    await alice.screenshot(`message-menu-${name}`);
    await press("ArrowDown", "Enter");
    await alice.page.getByRole("menuitemcheckbox").first().waitFor();
    await press("ArrowRight", "ArrowLeft", "Enter");
    for (const page of [alice, bob]) await shows(page, "a reaction", async () => (await row(page, "Who brings").locator(".reaction").count()) === 1);
    // A reply.
    await press("Enter", "Enter");
    await shows(alice, "the text has the focus", async ({ page }) => page.evaluate(() => document.activeElement.id === "text"));
    await alice.page.keyboard.type("by key");
    await press("Enter");
    await shows(bob, "a quote", async () => (await row(bob, "by key").locator(".quote").count()) === 1);
    // An edit of what was said last.
    await alice.hears("by key", ({ seq }) => seq > 0);
    await press("ArrowUp");
    await alice.page.getByRole("textbox", { name: "Edit the message" }).waitFor();
    assert.deepEqual(await alice.accessibilityFaults(), []);
    await press("End");
    await alice.page.keyboard.type(", edited");
    await press("Enter");
    await bob.hears("by key, edited");
    await alice.screenshot(`messages-${name}`);
    assert.deepEqual(await alice.accessibilityFaults(), []);
    const overflow = await alice.page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    assert.equal(overflow, 0, "nothing is wider than the window");
  });
}
