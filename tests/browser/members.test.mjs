/** Conversations with members in the chat page, against a real server, beside native clients. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { settles, until } from "./server.mjs";
import { openPage, server } from "./stage.mjs";

function open(user, link = server.link(user)) {
  return openPage(link);
}

const plain = (text) => text.replaceAll(/[\u2068\u2069]/gu, "");
const notes = async ({ page }) => (await page.locator(".quiet-line").allInnerTexts()).map(plain);
const told = (page, text) => until(`the page tells ${JSON.stringify(text)}`, async () => (await notes(page)).includes(text));
const listed = (page, name) => until(`${name} is in the list`, async () => (await page.page.locator(".talk-name").allInnerTexts()).includes(name));
const row = ({ page }, user) => page.locator("#members-list li", { has: page.locator(`bdi:text-is("${user}")`) });

test("a group begins on a page, and somebody comes in by a link", async () => {
  const alice = await open("alice");
  await alice.page.getByRole("button", { name: "New group or direct message" }).click();
  await alice.page.getByRole("textbox", { name: "Title" }).fill("The team");
  await alice.page.getByRole("button", { name: "Create" }).click();
  await until("the group is shown", async () => (await alice.page.locator("#room-name").innerText()) === "The team");
  await told(alice, "alice created this group The team");
  await alice.say("welcome");
  await alice.hears("welcome", ({ mark }) => mark === "Stored");
  await alice.page.getByRole("button", { name: "Who is here" }).click();
  await alice.page.getByRole("button", { name: "Make an invitation link" }).click();
  const link = await until("there is a link", () => alice.page.getByLabel(/Whoever has this link/).inputValue());

  // The link's guest has signed in before.
  const bob = await open("bob");
  await bob.page.goto(link);
  await bob.page.locator("#room-name", { hasText: "The team" }).waitFor();
  await bob.hears("welcome", ({ from }) => from === "alice");
  await told(bob, "bob came with an invitation");
  await told(alice, "bob came with an invitation");
  assert.equal(new URL(bob.page.url()).hash, "");
  await until("alice sees that bob is there", async () => /online/.test(await row(alice, "bob").innerText()));
  assert.deepEqual(await alice.accessibilityFaults(), []);
  await alice.screenshot("members");
  await alice.page.getByLabel("Role of bob").selectOption("admin");
  await told(bob, "alice made bob an admin");

  // Bob's other windows and his terminal know of it.
  const other = await open("bob");
  await listed(other, "The team");
  assert.match(await server.run("bob", "conversation", "list"), /^group\/\S+ {2}admin of a group "The team"$/u);

  await alice.page.getByRole("button", { name: "Remove bob" }).click();
  await until("bob is told", async () => /not in this conversation any more/.test(await bob.page.locator("#text-hint").innerText()));
  await bob.hears("welcome");
  await told(bob, "alice removed bob");
  await alice.page.keyboard.press("Escape");
  await alice.say("among ourselves");
  await alice.hears("among ourselves", ({ mark }) => mark === "Stored");
  await bob.page.reload();
  await bob.page.locator(".talk", { hasText: "The team" }).click();
  await told(bob, "alice removed bob");
  await bob.shows(["welcome"]);
});

test("a direct conversation is there on both sides, by the other's name", async () => {
  const [alice, bob] = [await open("alice"), await open("bob")];
  await alice.page.getByRole("button", { name: "New group or direct message" }).click();
  await alice.page.getByRole("radio", { name: "Direct message" }).check();
  await alice.page.getByLabel("With whom").fill("bob");
  await alice.page.getByRole("button", { name: "Create" }).click();
  await until("it is called by the other", async () => (await alice.page.locator("#room-name").innerText()) === "bob");
  await alice.say("psst");
  await listed(bob, "alice");
  await bob.page.locator(".talk", { hasText: "alice" }).first().click();
  await bob.hears("psst", ({ from }) => from === "alice");
  await bob.say("what is it?");
  await alice.hears("what is it?", ({ from }) => from === "bob");
});

test("an open conversation is joined from where nothing is to see", async () => {
  await server.run("alice", "conversation", "create", "club", "--open", "--title", "The club");
  await server.send("alice", ["come in"], "club");
  const bob = await open("bob", server.link("bob", "club"));
  await bob.page.getByRole("button", { name: "Join" }).click();
  await bob.hears("come in", ({ from }) => from === "alice");
  await until("it has its title", async () => (await bob.page.locator("#room-name").innerText()) === "The club");
  await bob.page.getByRole("button", { name: "Who is here" }).click();
  await bob.page.getByRole("button", { name: "Leave" }).click();
  await until("it is off the list", async () => !(await bob.page.locator(".talk-name").allInnerTexts()).includes("The club"));
  await settles("he is in none", () => server.run("bob", "conversation", "list"), "");
});

test("a page that is signed out from a terminal says why, and comes back when asked", async () => {
  const alice = await open("alice");
  await alice.say("here");
  await alice.hears("here", ({ mark }) => mark === "Stored");
  const sessions = (await server.run("alice", "sessions")).split("\n");
  const device = sessions.find((line) => /browser, online/u.test(line))?.split(" ")[0];
  assert.match(device ?? "", /^browser-/u, sessions.join("\n"));
  await server.run("alice", "sessions", "end", device, "--device", "laptop");
  const banner = alice.page.locator("#banner-text");
  await until("the page says why", async () => (await banner.innerText()) === "You were signed out here: signed out from laptop");
  await alice.screenshot("signed-out");
  assert.deepEqual(await alice.accessibilityFaults(), []);
  await alice.page.getByRole("button", { name: "Sign in again" }).click();
  await alice.hears("here");
  await alice.say("and back");
  await alice.hears("and back", ({ mark }) => mark === "Stored");
  const again = (await server.run("alice", "sessions")).split("\n").filter((line) => /browser/u.test(line));
  assert.deepEqual(again.map((line) => line.split(" ")[0]), [device], "it is the same device");
});
