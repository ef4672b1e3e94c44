/** Conversations with members, checked in a browser on the mock of the SDK: `npm run page:browser`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "./chromium.mjs";
import { tokenFor } from "./serve.mjs";
import { AXE, browser, settles, site } from "./stage.mjs";

/** Runs in the page before it: a group that alice owns, and a direct conversation. */
function grouped() {
  window.prepare = (mock, members) => {
    members.group("team", "The team", "owner", { bob: "member", carol: "admin" });
    const direct = members.group(`direct/${"0".repeat(32)}`, "bob", "member", { bob: "member" });
    members.infos.set(direct.conversation, { ...direct, kind: "direct", permissions: 3 });
    mock.conversation("team").say("bob", "hello team");
    mock.conversation(direct.conversation).say("bob", "psst");
    mock.connect();
  };
}

const link = (more = "") => `${site.url}#token=${tokenFor("alice")}${more}`;
const plain = (text) => text.replaceAll(/[\u2068\u2069]/gu, "");
const names = async (page) => (await page.locator(".talk-name").allTextContents()).sort();

async function axe(page) {
  await page.evaluate(AXE);
  const found = await page.evaluate(async () =>
    (await axe.run(document, { resultTypes: ["violations"] })).violations.map(
      (one) => `${one.id}: ${one.nodes.map((node) => `${node.target} ${node.failureSummary}`).join(" | ")}`,
    ),
  );
  assert.deepEqual(found, []);
}

async function inTeam(options = {}) {
  const opened = await open(browser, link(), { prepare: grouped, ...options });
  const { page } = opened;
  await page.waitForSelector("#list >> text=The team");
  await page.click("#list >> text=The team");
  await page.waitForSelector("#log >> text=hello team");
  return opened;
}

const row = (page, user) => page.locator("#members-list li", { has: page.locator(`bdi:text-is("${user}")`) });

test("the list has the user's conversations, by what people call them", async () => {
  const { page, context, problems } = await inTeam();
  await settles(() => names(page), ["The team", "bob", "general"]);
  await settles(() => page.textContent("#room-name"), "The team");
  await page.waitForFunction(() => document.getElementById("room-sub").textContent.startsWith("3 members"));
  await page.reload();
  await page.waitForSelector("#list >> text=The team");
  assert.deepEqual(problems, []);
  await context.close();
});

test("what happens to members is told in the log", async () => {
  const { page, context } = await inTeam();
  await page.evaluate(() => members.setMember("team", "dave", "member"));
  await page.waitForSelector(".quiet-line >> text=added");
  assert.equal(plain(await page.locator(".quiet-line").last().textContent()), "alice added dave");
  await page.waitForFunction(() => document.getElementById("room-sub").textContent.startsWith("4 members"));
  await page.evaluate(() => members.rename("team", "Another team"));
  await page.waitForSelector("#room-name:has-text('Another team')");
  await settles(() => names(page), ["Another team", "bob", "general"]);
  await context.close();
});

test("members have their roles and whether they are there, and an owner changes them", async () => {
  const { page, context } = await inTeam();
  await page.click("#people-open");
  await row(page, "bob").waitFor();
  await page.evaluate(() => members.setPresent("team", { bob: "away", carol: "online" }));
  await row(page, "bob").locator(".there:text-is('away')").waitFor();
  assert.equal(await row(page, "carol").locator(".there").textContent(), "online");
  assert.equal(await row(page, "alice").locator(".there").textContent(), "you");
  assert.equal(await row(page, "alice").locator("select, button").count(), 0, "nobody changes themselves");
  await page.focus("select[aria-label='Role of bob']");
  await page.evaluate(() => (document.activeElement.id = "before"));
  await page.selectOption("select[aria-label='Role of bob']", "admin");
  await page.waitForSelector("#before", { state: "detached" });
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "Role of bob", "the focus stays");
  assert.equal(await page.inputValue("select[aria-label='Role of bob']"), "admin");
  await page.evaluate(() => (members.refuse = "LAST_OWNER"));
  await page.selectOption("select[aria-label='Role of bob']", "reader");
  await page.waitForSelector("#members-problem:text-is('Make somebody else owner first.')");
  assert.equal(await page.inputValue("select[aria-label='Role of bob']"), "admin", "what was refused does not stand");
  await page.fill("#add-user", "dave");
  await page.press("#add-user", "Enter");
  await row(page, "dave").waitFor();
  await page.click("button[aria-label='Remove dave']");
  await row(page, "dave").waitFor({ state: "detached" });
  await page.fill("#title-text", "The same team");
  await page.click("text=Rename");
  await page.waitForSelector("#room-name:has-text('The same team')");
  await page.keyboard.press("Escape");
  await context.close();
});

test("a member who may change nothing is offered nothing, and a reader does not write", async () => {
  const { page, context } = await open(browser, link(), {
    prepare: () => {
      window.prepare = (mock, members) => {
        members.group("team", "The team", "reader", { bob: "owner" });
        mock.conversation("team").say("bob", "hello team");
        mock.connect();
      };
    },
  });
  await page.click("#list >> text=The team");
  await page.waitForSelector("#text-hint:text-is('You can read here, but not write.')");
  await page.click("#people-open");
  await row(page, "bob").waitFor();
  assert.equal(await page.textContent("#kept"), "Messages are kept for 30 days.");
  assert.equal(await page.locator("#members-list select, #members-list button").count(), 0);
  for (const part of ["#add-form", "#title-form", "#invite"]) assert.equal(await page.isVisible(part), false, part);
  await context.close();
});

test("a group and a direct conversation begin in the dialog", async () => {
  const { page, context } = await inTeam();
  await page.click("#new-open");
  await page.fill("#new-title-text", "Plans");
  await page.fill("#new-people", "bob, carol");
  await page.click("#new-form .primary");
  await page.waitForSelector("#room-name:has-text('Plans')");
  await page.waitForFunction(() => document.getElementById("room-sub").textContent.startsWith("3 members"));
  await page.click("#new-open");
  await page.check("#new-form >> text=Direct message");
  assert.equal(await page.isVisible("#new-title-text"), false);
  await page.fill("#new-people", "bob, carol");
  await page.click("#new-form .primary");
  await page.waitForSelector("#new-problem:text-is('A direct message has one other person.')");
  await page.fill("#new-people", "dave");
  await page.click("#new-form .primary");
  await page.waitForSelector("#room-name:has-text('dave')");
  await settles(() => names(page), ["Plans", "The team", "bob", "dave", "general"]);
  await context.close();
});

test("an invitation is a link, which leads in", async () => {
  const { page, context } = await inTeam();
  await page.click("#people-open");
  await page.click("#invite");
  await page.waitForSelector(".invite-link:not([hidden])");
  const invitation = await page.inputValue("#invite-link");
  const { hash } = new URL(invitation);
  assert.deepEqual([...new URLSearchParams(hash.slice(1)).keys()], ["conversation", "invitation"]);
  await context.close();

  const guest = await open(browser, link(`&conversation=club&invitation=abc`), {
    prepare: () => {
      window.prepare = (mock) => {
        mock.conversation("club").denied = true;
        mock.connect();
      };
    },
  });
  await guest.page.waitForSelector("#room-name:has-text('Joined')");
  await guest.page.waitForSelector(".quiet-line >> text=joined");
  assert.equal(new URL(guest.page.url()).hash, "", "the invitation leaves the address bar");
  await guest.page.click("#new-open");
  await guest.page.fill("#join-link", "https://chat.example/");
  await guest.page.click("#join-form button");
  await guest.page.waitForSelector("#join-problem:text-is('That is no invitation: copy the whole link.')");
  await guest.page.evaluate(() => (members.refuse = "FORBIDDEN"));
  await guest.page.fill("#join-link", invitation);
  await guest.page.click("#join-form button");
  await guest.page.waitForSelector("#join-problem:text-is('This invitation does not hold any more.')");
  await guest.context.close();
});

test("leaving takes a conversation off the list, unless somebody else must be owner first", async () => {
  const { page, context } = await inTeam();
  await page.click("#people-open");
  await page.evaluate(() => (members.refuse = "LAST_OWNER"));
  await page.click("#leave");
  await page.waitForSelector("#leave-problem:text-is('Make somebody else owner first.')");
  assert.equal(await page.textContent("#leave"), "Leave");
  await page.click("#leave");
  await page.waitForSelector("#people:not([open])", { state: "attached" });
  await settles(() => names(page), ["bob", "general"]);
  // From a direct conversation nobody leaves.
  await page.click("#people-open");
  await settles(() => page.textContent("#leave"), "Remove from my list");
  await context.close();
});

test("who is signed out learns why, and may come back with the same token", async () => {
  const { page, context } = await inTeam();
  await page.evaluate(() => mock.end("KICKED", "the server closed the connection: KICKED: signed out from laptop"));
  await page.waitForSelector("#banner-text:text-is('You were signed out here: signed out from laptop')");
  assert.equal(await page.textContent("#say"), "You were signed out here: signed out from laptop");
  await axe(page);
  await page.click("#banner-action");
  await page.waitForSelector("#list >> text=The team");
  assert.equal(await page.isVisible("#signin"), false);
  await context.close();
});

for (const dark of [false, true]) {
  for (const width of [1280, 360]) {
    test(`axe finds nothing to complain of in the dialogs: ${dark ? "dark" : "light"}, ${width} px`, async () => {
      const { page, context } = await inTeam({ width, dark });
      await page.evaluate(() => members.setMember("team", "dave", "member"));
      await page.waitForSelector(".quiet-line >> text=added");
      await axe(page);
      await page.click("#people-open");
      await row(page, "bob").waitFor();
      await page.evaluate(() => members.setPresent("team", { bob: "away", carol: "online" }));
      await page.click("#invite");
      await page.waitForSelector(".invite-link:not([hidden])");
      await axe(page);
      const wide = await page.evaluate(() => {
        const body = document.querySelector("#people .sheet-body");
        return body.scrollWidth - body.clientWidth;
      });
      assert.equal(wide, 0, "nothing stands out of the dialog");
      await page.keyboard.press("Escape");
      if (width < 720) await page.tap("#back");
      await page.click("#new-open");
      await page.waitForSelector("#new[open]");
      await axe(page);
      await context.close();
    });
  }
}
