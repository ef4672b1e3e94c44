/** What the page shows of what is gone, and where it is said how long messages are kept, on the mock. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "./chromium.mjs";
import { tokenFor } from "./serve.mjs";
import { AXE, browser, settles, site } from "./stage.mjs";

/**
 * Runs in the page before it: a group that alice owns, where messages are kept for 30 days. The server is a day ahead. What the
 * page looks at anew every 20 s it does not look at, and what is said to screen readers, which stands for a moment, is noted.
 */
function grouped() {
  const every = setInterval;
  window.setInterval = (does, ms) => (ms === 20_000 ? 0 : every(does, ms));
  window.said = [];
  const note = () => said.push(document.getElementById("say-message")?.textContent ?? "");
  new MutationObserver(note).observe(document, { childList: true, subtree: true });
  window.prepare = (mock, members) => {
    mock.aheadMs = 86_400_000;
    members.group("team", "The team", "owner", { bob: "member" });
    window.team = mock.conversation("team");
    window.serverMs = () => Date.now() + mock.aheadMs;
    team.add({ type: "gap", from: 1, to: 14 });
    team.say("bob", "hello team", serverMs());
    mock.connect();
  };
}

async function inTeam(options = {}) {
  const opened = await open(browser, `${site.url}#token=${tokenFor("alice")}`, { prepare: grouped, ...options });
  const { page } = opened;
  await page.waitForSelector("#list >> text=The team");
  await page.click("#list >> text=The team");
  await page.waitForSelector("#log >> text=hello team");
  return opened;
}

const preview = (page) => page.locator("#list li:has-text('The team') .talk-last").textContent();

test("what expires goes by the server's clock, from the log, the list and what is said to screen readers", async () => {
  const { page, context, problems } = await inTeam();
  assert.match(await page.textContent("#log-top"), /Earlier messages are gone/u);
  // A busy machine looks at it meanwhile.
  await page.evaluate(() => team.say("bob", "vanishing", serverMs(), undefined, { expiresMs: serverMs() + 12_000 }));
  await page.waitForSelector(".msg [aria-label^='Disappears ']");
  await settles(() => preview(page), "bob: vanishing");
  await page.waitForFunction(() => said.some((text) => text.includes("vanishing")));
  await page.waitForFunction(() => !document.body.innerHTML.includes("vanishing"));
  await settles(() => preview(page), "bob: hello team");
  // A shorter time that somebody sets takes all of it, also the event that says so.
  await page.evaluate(() => messages.setRetention("team", { ageS: 1, count: 0, bytes: 0 }));
  await page.waitForSelector("#blank:has-text('Nothing is kept here any more')");
  await settles(() => preview(page), "No messages left");
  assert.deepEqual(problems, []);
  await context.close();
});

test("without a connection nothing goes by a retention, which may be another one by now, and with one again what holds does", async () => {
  const { page, context } = await inTeam();
  await page.evaluate(async () => {
    await messages.setRetention("team", { ageS: 6, count: 0, bytes: 0 });
    team.say("bob", "stays", serverMs());
    team.say("bob", "vanishing", serverMs(), undefined, { expiresMs: serverMs() + 8_000 });
    // The connection goes before the time of either has come, whatever holds this test up.
    while (!document.getElementById("log").textContent.includes("vanishing")) await new Promise(requestAnimationFrame);
    mock.lose(60_000);
  });
  await page.waitForFunction(() => !document.body.innerHTML.includes("vanishing"));
  assert.equal(await page.locator(".msg:has-text('stays')").count(), 1);
  await page.evaluate(() => {
    members.setRetention("team", { ageS: 3_600, count: 0, bytes: 0 });
    mock.connect();
    team.say("bob", "connected", serverMs());
  });
  await page.waitForSelector("#log >> text=connected");
  assert.equal(await page.locator(".msg:has-text('stays')").count(), 1);
  await context.close();
});

test("what goes by rules that the page cannot reckon with is asked for when the user looks", async () => {
  const { page, context } = await inTeam();
  await page.evaluate(() => {
    messages.setRetention("team", { ageS: 0, count: 0, bytes: 10 });
    team.say("bob", "the newest", serverMs());
  });
  await page.waitForSelector("#log >> text=the newest");
  await page.evaluate(() => {
    const [, , ...rest] = team.log;
    team.log = [{ type: "gap", from: 1, to: 14 }, { type: "gap", from: 15, to: 15 }, ...rest];
    dispatchEvent(new Event("focus"));
  });
  await page.waitForFunction(() => !document.body.innerHTML.includes("hello team"));
  await settles(() => page.locator(".msg").count(), 1);
  await context.close();
});

test("a message's buttons are seen where the pointer or the focus is, and nowhere else", async () => {
  const { page, context } = await inTeam();
  const opacity = () => page.evaluate(() => { const tools = document.querySelector(".tools"); return tools ? getComputedStyle(tools).opacity : "none"; });
  assert.equal(await opacity(), "none");
  await page.hover(".msg .bubble");
  await settles(opacity, "1");
  await page.hover("#room-name");
  await settles(opacity, "0");
  await page.focus("#log");
  await page.keyboard.press("Enter");
  await settles(opacity, "1");
  await context.close();
});

for (const dark of [false, true]) {
  for (const width of [1280, 360]) {
    test(`how long messages are kept is said from the keyboard, and axe finds no fault: ${dark ? "dark" : "light"}, ${width} px`, async () => {
      const { page, context } = await inTeam({ dark, width });
      const axe = async () => {
        await page.evaluate(AXE);
        const found = await page.evaluate(async () => (await globalThis.axe.run(document, { resultTypes: ["violations"] })).violations);
        assert.deepEqual(found.map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target)}`), []);
      };
      // A message.
      await page.focus("#expiry");
      await page.keyboard.press("Enter");
      await page.waitForSelector("[role=menu][aria-label='Disappearing messages']");
      await axe();
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("Enter");
      await page.waitForFunction(() => document.activeElement.id === "text");
      assert.equal(await page.getAttribute("#expiry", "aria-label"), "Disappearing messages: 1 minute");
      await page.keyboard.type("a secret");
      await page.keyboard.press("Enter");
      await page.waitForSelector(".msg:has-text('a secret') [aria-label^='Disappears ']");
      await page.waitForFunction(() => team.log.at(-1).text === "a secret" && team.log.at(-1).expiresMs > serverMs() + 50_000);
      await axe();
      // The conversation.
      await page.focus("#people-open");
      await page.keyboard.press("Enter");
      await page.waitForSelector("#keep-form:not([hidden])");
      assert.equal(await page.inputValue("#keep-age"), "2592000", "what holds is chosen");
      await page.selectOption("#keep-age", { label: "for 1 day" });
      await page.fill("#keep-count", "100");
      await page.press("#keep-count", "Enter");
      assert.match(await page.textContent("#keep-set"), /for good/u, "what takes messages away is asked once more");
      await axe();
      await page.press("#keep-count", "Enter");
      await page.waitForSelector("#kept:text-is('Messages are kept for 1 day, up to 100 events.')");
      assert.deepEqual(await page.evaluate(() => members.infos.get("team").retention), { ageS: 86_400, count: 100, bytes: 0 });
      await page.selectOption("#keep-age", { label: "for ever" });
      await page.press("#keep-count", "Enter");
      await page.waitForSelector("#kept:text-is('Messages are kept up to 100 events.')");
      const wide = await page.evaluate(() => {
        const body = document.querySelector("#people .sheet-body");
        return body.scrollWidth - body.clientWidth;
      });
      assert.equal(wide, 0, "nothing stands out of the dialog");
      await context.close();
    });
  }
}
