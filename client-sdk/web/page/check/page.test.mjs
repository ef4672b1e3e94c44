/** What the page promises to people, checked in a browser on the mock of the SDK: `npm run page:browser`. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { open } from "./chromium.mjs";
import { tokenFor } from "./serve.mjs";
import { AXE, browser, site } from "./stage.mjs";

/** Runs in the page before it: conversations with something in them. */
function busy() {
  window.prepare = (mock) => {
    const now = Date.now();
    const general = mock.conversation("general");
    general.add({ type: "gap", from: 1, to: 3 });
    general.say("bob", "An old one https://example.com/", now - 9e8, now - 9e10);
    general.say("alice", "Mine", now - 9e7);
    general.add({ type: "unknown", seq: general.head + 1, timeMs: now - 8e7, sender: "bob" });
    for (let i = 0; i < 30; i++) general.say(i % 3 ? "bob" : "alice", `Message ${i}`, now - 6e7 + i * 1e5);
    general.say("bob", "unread one", now - 1e6);
    general.say("carol", "unread two", now - 1e5);
    mock.conversation("second").say("carol", "hello", now - 1e7);
    general.roster = {
      users: 3,
      present: [
        { user: "alice", seen: 5 },
        { user: "bob", seen: 20 },
        { user: "carol", seen: 0 },
      ],
    };
    localStorage.setItem(
      "quoth.list.alice",
      JSON.stringify([
        { name: "general", read: general.head - 2 },
        { name: "second", read: 1 },
      ]),
    );
    window.general = general;
    mock.connect();
  };
}

const link = (more = "") => `${site.url}#token=${tokenFor("alice")}${more}`;
const frames = (page) =>
  page.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve))));
const violations = (page) =>
  page.evaluate(async () =>
    (await axe.run(document, { resultTypes: ["violations"] })).violations.map(
      (one) => `${one.id}: ${one.nodes.map((node) => `${node.target} ${node.failureSummary}`).join(" | ")}`,
    ),
  );

async function axe(page) {
  await page.evaluate(AXE);
  assert.deepEqual(await violations(page), []);
}

test("the token leaves the address bar, a reload keeps the user, and nothing comes from elsewhere", async () => {
  const { page, context, problems, requests } = await open(browser, link(), { prepare: busy });
  await page.waitForSelector("#log >> text=unread two");
  assert.equal(new URL(page.url()).hash, "");
  await page.reload();
  await page.waitForSelector("#log >> text=unread two");
  assert.equal(await page.textContent("#me-name"), "alice");
  assert.deepEqual(
    requests.filter((url) => !url.startsWith(site.url)),
    [],
  );
  assert.deepEqual(problems, [], "a strict policy has nothing to complain of");
  await context.close();
});

test("a link's conversation is opened, and without a token there is a form", async () => {
  const { page, context } = await open(browser, link("&conversation=off%20topic"), { prepare: busy });
  await page.waitForSelector("#room-name:has-text('off topic')");
  await context.close();
  const second = await open(browser, site.url, { prepare: busy });
  await second.page.waitForSelector("#dev-form:not([hidden])");
  await second.page.fill("#token", "no token");
  await second.page.click("text=Sign in with token");
  assert.match(await second.page.textContent("#token-problem"), /no token/u);
  await second.page.click("[data-user=bob]");
  await second.page.waitForSelector("#me-name:has-text('bob')");
  await second.context.close();
});

test("texts are texts", async () => {
  const { page, context } = await open(browser, link(), { prepare: busy });
  await page.waitForSelector("#log >> text=unread two");
  const evil = '<img src=x onerror="window.broken=1"><script>window.broken=1</script>';
  await page.evaluate((text) => {
    general.say(text, text);
    general.setTypings([text]);
    general.setRoster({ users: 1, present: [{ user: text, seen: 0 }] });
    mock.conversation("second").say(text, text);
  }, evil);
  await page.click("#people-open");
  await frames(page);
  assert.equal(await page.evaluate(() => window.broken), undefined);
  assert.equal(await page.locator("#app img, #app script").count(), 0);
  assert.equal(
    await page
      .locator(".msg:last-child .text")
      .last()
      .evaluate((node) => node.firstChild.textContent),
    evil,
  );
  await context.close();
});

test("ten thousand messages: every one is reached both ways, nothing jumps, few are in the document", async () => {
  const { page, context } = await open(browser, link(), {
    height: 1400,
    prepare: () => {
      window.prepare = (mock) => {
        const general = mock.conversation("general");
        for (let k = 1; k <= 10_000; k++)
          general.say(
            ["bob", "carol", "alice"][(k >> 2) % 3],
            `message ${k} ${"word ".repeat((k * 7) % 40)}`,
            Date.now() - (10_000 - k) * 60_000,
          );
        localStorage.setItem("quoth.list.alice", JSON.stringify([{ name: "general", read: 10_000 }]));
        mock.historyMs = 20;
        mock.connect();
      };
    },
  });
  await page.waitForSelector('li[data-seq="10000"]');
  const result = await page.evaluate(async () => {
    const log = document.getElementById("log");
    const twoFrames = () => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    const visible = () => {
      const pane = log.getBoundingClientRect();
      return [...log.querySelectorAll("li[data-seq]")].filter((row) => {
        const box = row.getBoundingClientRect();
        return box.bottom > pane.top && box.top < pane.bottom;
      });
    };
    const jumps = [];
    let nodesMax = 0;
    async function travel(step, arrived) {
      const seen = new Set();
      for (let still = 0; still < 200; ) {
        const rows = visible();
        for (const row of rows) seen.add(Number(row.dataset.seq));
        if (arrived(rows)) break;
        const mark = rows[step < 0 ? 0 : rows.length - 1];
        const top = mark.getBoundingClientRect().top;
        const from = log.scrollTop;
        log.scrollTop += step;
        const applied = log.scrollTop - from;
        await twoFrames();
        nodesMax = Math.max(nodesMax, document.querySelectorAll("#rows li").length);
        const moved = mark.isConnected ? top - mark.getBoundingClientRect().top : undefined;
        if (moved === undefined || Math.abs(moved - applied) > 2) jumps.push({ seq: mark.dataset.seq, applied, moved });
        still = applied === 0 ? still + 1 : 0;
      }
      return seen.size;
    }
    const up = await travel(-850, (rows) => rows[0].dataset.seq === "1" && log.scrollTop === 0);
    const down = await travel(850, (rows) => rows.at(-1).dataset.seq === "10000");
    return { up, down, jumps, nodesMax };
  });
  assert.deepEqual(result.jumps, []);
  assert.equal(result.up, 10_000);
  assert.equal(result.down, 10_000);
  assert.ok(result.nodesMax <= 260, `${result.nodesMax} rows in the document`);
  await context.close();
});

test("a reader can leave the end while messages pour in, and stays where they read", async () => {
  const { page, context } = await open(browser, link(), { prepare: busy });
  await page.waitForSelector("#log >> text=unread two");
  const moved = await page.evaluate(async () => {
    const log = document.getElementById("log");
    const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
    const task = () => new Promise((resolve) => setTimeout(resolve));
    // A message and the reader's scroll in one frame, before the frame's work begins and within it: the scroll wins.
    const left = [];
    for (const within of [false, true]) {
      for (let i = 0; i < 5; i++) await frame();
      await task();
      if (within) requestAnimationFrame(() => (log.scrollTop -= 400));
      general.say("carol", "at the same time");
      for (let i = 0; i < 20; i++) await Promise.resolve();
      if (!within) log.scrollTop -= 400;
      for (let i = 0; i < 5; i++) await frame();
      left.push(log.scrollHeight - log.clientHeight - log.scrollTop);
      log.scrollTop = log.scrollHeight;
    }
    let n = 0;
    const flood = setInterval(() => general.say("carol", `flood ${n++}`), 4);
    for (let i = 0; i < 10; i++) await frame();
    log.scrollTop -= 400;
    await frame();
    const pane = log.getBoundingClientRect();
    const mark = [...log.querySelectorAll("li[data-seq]")].find((row) => row.getBoundingClientRect().top > pane.top);
    const top = mark.getBoundingClientRect().top;
    const before = n;
    while (n < before + 300) await frame();
    clearInterval(flood);
    return { left, gone: !mark.isConnected, by: mark.getBoundingClientRect().top - top, rows: document.querySelectorAll("#rows li").length };
  });
  for (const left of moved.left) assert.ok(left >= 400, `pulled back to ${left} px from the end`);
  assert.ok(!moved.gone, "the message that was read is gone");
  assert.ok(Math.abs(moved.by) <= 2, `moved by ${moved.by} px`);
  assert.ok(moved.rows <= 260);
  await page.click("#jump");
  await page.waitForFunction(() => general.seenSeq === general.head);
  await context.close();
});

test("what is seen is told only for what is on the screen of a focused window", async () => {
  const { page, context } = await open(browser, link(), { prepare: busy });
  await page.waitForSelector("#log >> text=unread two");
  await page.waitForFunction(() => general.seenSeq === general.head);
  await page.evaluate(() => {
    document.hasFocus = () => false;
    for (let i = 0; i < 60; i++) general.say("bob", `while away ${i}`);
  });
  await page.waitForFunction(() => document.title === "(60) Quoth");
  await page.waitForSelector(".new-line");
  const atReturn = await page.evaluate(() => general.seenSeq);
  assert.equal(atReturn, await page.evaluate(() => general.head - 60), "nothing is seen while nobody looks");
  await page.evaluate(() => {
    delete document.hasFocus;
    dispatchEvent(new Event("focus"));
  });
  await page.waitForFunction((seq) => general.seenSeq > seq, atReturn);
  await frames(page);
  const line = await page.locator(".new-line").boundingBox();
  const pane = await page.locator("#log").boundingBox();
  assert.ok(line.y > pane.y && line.y < pane.y + pane.height, "the first new message is on the screen");
  assert.ok(await page.evaluate(() => general.seenSeq < general.head), "what is below the screen is not seen");
  assert.match(await page.getAttribute("#jump", "aria-label"), /, \d+ new$/u);
  await page.click("#jump");
  await page.waitForFunction(() => general.seenSeq === general.head && document.title === "Quoth");
  await context.close();
});

test("a long absence begins at the first unread message, and nothing that was not shown counts as seen", async () => {
  const { page, context } = await open(browser, link(), {
    prepare: () => {
      window.prepare = (mock) => {
        window.general = mock.conversation("general");
        for (let k = 1; k <= 2000; k++) general.say("bob", `message ${k}`, Date.now() - (2000 - k) * 60_000);
        localStorage.setItem("quoth.list.alice", JSON.stringify([{ name: "general", read: 500 }]));
        mock.historyMs = 300;
        mock.connect();
      };
    },
  });
  await page.waitForSelector('li[data-seq="501"]');
  await frames(page);
  const shown = await page.evaluate(() => {
    const pane = log.getBoundingClientRect();
    const rows = [...log.querySelectorAll("li[data-seq]")].filter((row) => {
      const box = row.getBoundingClientRect();
      return box.bottom > pane.top && box.bottom <= pane.bottom;
    });
    return { first: Number(rows[0].dataset.seq), last: Number(rows.at(-1).dataset.seq), seen: general.seenSeq };
  });
  assert.ok(shown.first > 480 && shown.first <= 501, `the first one on the screen is ${shown.first}`);
  assert.ok(shown.seen >= 501 && shown.seen <= shown.last + 1, `${shown.seen} is seen, ${shown.last} shown`);
  assert.equal(await page.locator(".new-line").count(), 1);
  const title = await page.title();
  assert.ok(/^\(999\+\)/u.test(title), title);
  await page.evaluate(() => general.say("bob", "and one more"));
  await page.click("#jump");
  await page.waitForSelector("#log >> text=and one more");
  await page.waitForFunction(() => general.seenSeq === general.head && document.title === "Quoth");
  await context.close();
});

test("ticks: sending, stored, read; refused ones say why and go", async () => {
  const { page, context } = await open(browser, link(), { prepare: busy });
  await page.waitForSelector("#log >> text=unread two");
  // The ack waits until the tick was seen.
  await page.evaluate(() => (mock.acking = () => new Promise((resolve) => (window.ack = resolve))));
  await page.fill("#text", "first");
  await page.press("#text", "Enter");
  await page.waitForSelector(".msg:has-text('first') [aria-label=Sending]");
  await page.evaluate(() => {
    mock.acking = () => Promise.resolve();
    ack();
  });
  await page.waitForSelector(".msg:has-text('first') [aria-label=Stored]");
  await page.evaluate(() => general.setRoster({ users: 2, present: [{ user: "alice", seen: general.head }] }));
  await frames(page);
  assert.equal(await page.locator(".msg:has-text('first') [aria-label=Read]").count(), 0, "one's own reading is not reading");
  await page.evaluate(() => general.setRoster({ users: 2, present: [{ user: "bob", seen: general.head }] }));
  await page.waitForSelector(".msg:has-text('first') [aria-label=Read]");
  await page.evaluate(() => general.setRoster({ users: 1, present: [] }));
  await frames(page);
  assert.equal(await page.locator(".msg:has-text('first') [aria-label=Read]").count(), 1, "a mark stays when the reader leaves");
  assert.equal(await page.locator(".msg:has-text('first')").count(), 1);

  await page.evaluate(() => (mock.refuse = true));
  await page.fill("#text", "second");
  await page.press("#text", "Enter");
  await page.waitForSelector(".failed:has-text('You may not write here')");
  await page.evaluate(() => (mock.refuse = false));
  await page.click(".failed .retry");
  await page.waitForSelector(".msg:has-text('second') [aria-label=Stored]");
  assert.equal(await page.locator(".failed").count(), 0);
  await context.close();
});

test("without a connection messages wait in their order; the banner counts down and tries at once when asked", async () => {
  const { page, context } = await open(browser, link(), { prepare: busy });
  await page.waitForSelector("#log >> text=unread two");
  await page.evaluate(() => mock.lose(30_000));
  for (const text of ["one", "two", "three"]) {
    await page.fill("#text", text);
    await page.press("#text", "Enter");
  }
  await page.waitForSelector("#banner-text:has-text('3 messages wait')");
  assert.match(await page.textContent("#banner-text"), /Next try in \d+ s\./u);
  assert.equal(await page.locator(".msg.waiting").count(), 3);
  await page.click("#banner-action");
  await page.waitForSelector("#banner", { state: "hidden" });
  await page.waitForFunction(
    () =>
      document.querySelectorAll("[aria-label=Stored]").length > 0 &&
      document.querySelectorAll(".msg.waiting, [aria-label=Sending]").length === 0,
  );
  assert.deepEqual(await page.evaluate(() => general.log.slice(-3).map((event) => event.text)), ["one", "two", "three"]);
  assert.deepEqual(
    (await page.locator(".own .text").allTextContents()).slice(-3).map((text) => text.replace(/\d.*$/u, "")),
    ["one", "two", "three"],
  );
  await context.close();
});

test("everything can be done with the keyboard alone", async () => {
  const { page, context } = await open(browser, link(), { prepare: busy });
  await page.waitForSelector("#log >> text=unread two");
  const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.dataset.name);
  assert.equal(await focused(), "text");
  await page.keyboard.press("Alt+ArrowDown");
  assert.equal(await page.textContent("#room-name"), "second");
  await page.keyboard.press("Alt+ArrowUp");
  assert.equal(await page.textContent("#room-name"), "general");
  await page.keyboard.press("Control+k");
  assert.equal(await focused(), "open-name");
  await page.keyboard.type("third");
  await page.keyboard.press("Enter");
  assert.equal(await page.textContent("#room-name"), "third");
  await page.keyboard.press("F6");
  await page.keyboard.press("Home");
  assert.equal(await focused(), "general");
  await page.keyboard.press("ArrowDown");
  await page.keyboard.press("Enter");
  assert.equal(await page.textContent("#room-name"), "second");
  assert.equal(await focused(), "text");
  await page.keyboard.type("line");
  await page.keyboard.press("Shift+Enter");
  await page.keyboard.type("more");
  assert.equal(await page.inputValue("#text"), "line\nmore");
  await page.keyboard.press("Enter");
  assert.equal(await page.inputValue("#text"), "");
  await page.keyboard.press("Control+/");
  assert.equal(await page.locator("#help[open]").count(), 1);
  await page.keyboard.press("Escape");
  assert.equal(await page.locator("#help[open]").count(), 0);
  await page.keyboard.press("Alt+ArrowDown");
  await page.keyboard.press("F6");
  await page.keyboard.press("F6");
  assert.equal(await focused(), "log");
  const place = () => page.evaluate(() => log.scrollTop);
  const end = await place();
  await page.keyboard.press("PageUp");
  await page.waitForFunction((from) => log.scrollTop < from, end);
  await page.keyboard.press("End");
  await page.waitForFunction((to) => log.scrollTop >= to, end);
  await page.keyboard.press("x");
  assert.equal(await focused(), "text", "typing on the messages is writing");
  assert.equal(await page.inputValue("#text"), "x");
  await page.keyboard.press("PageUp");
  await page.waitForFunction((from) => log.scrollTop < from, end);
  assert.equal(await focused(), "text");
  await frames(page);
  await page.keyboard.press("Escape");
  await page.waitForFunction((to) => log.scrollTop >= to, end);
  await context.close();
});

test("screen readers are told new messages and states, and not the history", async () => {
  const { page, context } = await open(browser, link(), { prepare: busy });
  await page.waitForSelector("#log >> text=unread two");
  assert.equal(await page.textContent("#say-message"), "");
  // What is said stands there for a moment only, so it is noted.
  await page.evaluate(() => {
    window.said = [];
    const note = (changes) => said.push(...changes.flatMap(({ addedNodes }) => [...addedNodes].map((node) => node.textContent)));
    new MutationObserver(note).observe(document.getElementById("say-message"), { childList: true });
    general.say("bob", "news");
  });
  await page.waitForFunction(() => said.length > 0);
  await page.evaluate(() => {
    for (let i = 0; i < 50; i++) general.say("bob", `flood ${i}`);
  });
  await page.waitForFunction(() => said.length > 1);
  assert.deepEqual(await page.evaluate(() => said), ["bob: news", "50 new messages, the last one: bob: flood 49"]);
  await page.evaluate(() => mock.lose(9000));
  await page.waitForFunction(() => document.getElementById("say").textContent === "Connection lost, trying again");
  await page.evaluate(() => mock.connect());
  await page.waitForFunction(() => document.getElementById("say").textContent === "Connected");
  await context.close();
});

test("narrow: two views, and the device's way back leads to the list", async () => {
  const { page, context } = await open(browser, link(), { prepare: busy, width: 390, height: 780 });
  await page.waitForSelector("#side >> text=general");
  assert.equal(await page.isVisible("#room"), false);
  assert.equal(await page.evaluate(() => general.seenSeq < general.head), true, "what is not on the screen is not seen");
  await page.tap("#list >> text=general");
  await page.waitForSelector("#log >> text=unread two");
  assert.equal(await page.isVisible("#side"), false);
  await page.waitForFunction(() => general.seenSeq === general.head);
  await page.goBack();
  await page.waitForSelector("#side", { state: "visible" });
  await page.tap("#list >> text=second");
  await page.waitForSelector("#log >> text=hello");
  await page.tap("#back");
  await page.waitForSelector("#side", { state: "visible" });
  const overflow = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.equal(overflow, 0);
  await context.close();
});

for (const dark of [false, true]) {
  for (const width of [1280, 360]) {
    test(`axe finds nothing to complain of: ${dark ? "dark" : "light"}, ${width} px`, async () => {
      const form = await open(browser, site.url, { width, dark });
      await form.page.waitForSelector("#dev-form:not([hidden])");
      await axe(form.page);
      await form.context.close();

      const { page, context } = await open(browser, link(), { width, dark, prepare: busy });
      await page.waitForSelector("#list >> text=general");
      await axe(page);
      if (width < 720) await page.tap("#list >> text=general");
      await page.waitForSelector("#log >> text=unread two");
      await page.evaluate(() => general.setTypings(["bob"]));
      await axe(page);
      await page.evaluate(() => (mock.refuse = true));
      await page.fill("#text", "refused");
      await page.press("#text", "Enter");
      await page.waitForSelector(".failed");
      await page.evaluate(() => mock.lose(60_000));
      await page.fill("#text", "waits");
      await page.press("#text", "Enter");
      await page.waitForSelector(".msg.waiting");
      await page.evaluate(() => document.getElementById("log").scrollTo(0, 0));
      await page.waitForSelector("#jump:not([hidden])");
      await axe(page);
      await page.click("#people-open");
      await axe(page);
      await page.keyboard.press("Escape");
      await page.keyboard.press("Control+/");
      await axe(page);
      await page.keyboard.press("Escape");
      await page.evaluate(() => mock.end("PROTOCOL", "The page is too old for this server."));
      await page.waitForSelector(".banner.bad");
      await axe(page);
      await context.close();
    });
  }
}
