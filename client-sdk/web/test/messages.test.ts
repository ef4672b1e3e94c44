/** Edits, reactions and deletions folded, history with what its messages have come to, receipts, and the inbox. */
import assert from "node:assert/strict";
import { test } from "node:test";
import type { Env } from "../src/env.js";
import { type LogEvent, QuothError } from "../src/index.js";
import { ConversationView, messagesOf, openInbox, type InboxRow, type MessageHistoryOptions } from "../src/messages/index.js";
import { Marks } from "../src/messages/marks.js";
import { isIn, withRange } from "../src/messages/ranges.js";
import { ByteWriter } from "../src/wire/bytes.js";
import { Code } from "../src/wire/codes.js";
import { inboxRow, messageState } from "../src/wire/messages.js";
import type { Of } from "../src/wire/schema.js";
import { World } from "./support/message-world.js";
import { reached, scene, seeded, sleep, until } from "./support/setup.js";

function encoded<T>(type: { write(to: ByteWriter, value: T): void }, value: T): Uint8Array {
  const to = new ByteWriter();
  type.write(to, value);
  return to.finish();
}

test("ranges merge where they touch", () => {
  const add = (...all: [number, number][]) => all.reduce<{ from: number; to: number }[]>((ranges, [from, to]) => withRange(ranges, { from, to }), []);
  assert.deepEqual(add([5, 6], [1, 2], [3, 4]), [{ from: 1, to: 6 }]);
  assert.deepEqual(add([5, 6], [1, 2], [8, 9], [2, 5]), [{ from: 1, to: 6 }, { from: 8, to: 9 }]);
  assert.deepEqual(add([3, 2]), []);
});

test("whoever was away ends with the view of one that was there", () => {
  for (let seed = 1; seed <= 200; seed++) {
    const random = seeded(seed);
    const world = new World(random);
    const there = new ConversationView("alice");
    const half = new ConversationView("alice");
    const behind: LogEvent[] = [];
    let late: (() => void)[] = [];
    const joinAt = Math.floor(random() * 60);
    for (let step = 0; step < 120; step++) {
      const event = world.step();
      if (!event) continue;
      there.event(event);
      // This reader is behind now and then, also behind pages.
      if (event.seq > joinAt) behind.push(event);
      for (let next = behind[0]; next && random() < 0.55; next = behind[0]) {
        half.event(next);
        behind.shift();
      }
      for (const entry of half.entries) assert.ok(entry.type === "gap" || !isIn(half.gaps, entry.seq), `seed ${seed}: ${entry.type} came back`);
      // Pages that are asked for meanwhile, and come when they come.
      if (random() < 0.2) {
        const page = world.page(Math.floor(random() * world.head) + 1, 1 + Math.floor(random() * 12));
        late.push(() => half.page(page));
      }
      if (random() < 0.1) late = late.filter((take) => random() < 0.5 || take());
    }
    for (const one of behind) half.event(one);
    for (const take of late.sort(() => random() - 0.5)) take();
    for (let to = world.head; to > 0; to -= 7) half.page(world.page(Math.max(1, to - 6), 7));
    const away = new ConversationView("alice");
    for (let from = 1; from <= world.head; from += 7) away.page(world.page(from, 7));
    assert.deepEqual(there.told, [{ from: 1, to: world.head }], `seed ${seed}`);
    assert.deepEqual(away.gaps, there.gaps, `seed ${seed}`);
    assert.deepEqual(away.entries, there.entries, `seed ${seed}`);
    assert.deepEqual(half.entries, there.entries, `seed ${seed}: half`);
    assert.deepEqual(half.gaps, there.gaps, `seed ${seed}: half`);
  }
});

test("what expires goes by itself, and what is hidden is left out", () => {
  const view = new ConversationView("alice");
  const message = (seq: number, expiresMs = 0) =>
    ({ type: "message", seq, timeMs: seq * 1_000, sender: "bob", body: new Uint8Array(), text: "", mentions: [], expiresMs }) as const;
  for (const event of [message(1), message(2, 5_000), message(3)]) view.event(event);
  assert.equal(view.expire(4_999), 5_000);
  assert.deepEqual(view.gaps, []);
  assert.equal(view.expire(5_000), undefined);
  assert.deepEqual(view.gaps, [{ from: 2, to: 2 }]);
  const retention = { ageS: 10, count: 0, bytes: 0 };
  view.event({ type: "retention_set", seq: 4, timeMs: 4_000, sender: "bob", retention });
  assert.equal(view.expire(11_000), 13_000);
  assert.deepEqual(view.gaps, [{ from: 1, to: 2 }]);
  view.hide(3);
  assert.deepEqual(view.entries.map(({ type }) => type), ["gap", "retention_set"]);
  // A page from before does not bring back what has gone.
  view.page({ events: [message(1)], states: [], head: 3, floor: 1, from: 1, to: 1, moreBefore: false, moreAfter: true });
  assert.deepEqual(view.entries.map(({ type }) => type), ["gap", "retention_set"]);
});

test("what the application knows of the retention holds where it says so, and a message is found by its seq", () => {
  const view = new ConversationView("alice");
  const said = (seq: number, text: string) =>
    ({ type: "message", seq, timeMs: seq * 1_000, sender: "bob", body: new TextEncoder().encode(text), text, mentions: [], expiresMs: 0 }) as const;
  for (let seq = 5; seq <= 8; seq++) view.event(said(seq, `message ${seq}`));
  view.event({ type: "reacted", seq: 9, timeMs: 9_000, sender: "alice", of: 8, reaction: "+1", on: true });
  assert.equal(view.retentionInForce, undefined);
  assert.equal(view.expire(9_000), undefined, "without it nothing is known to go");
  assert.equal(view.expire(15_000, { ageS: 10, count: 0, bytes: 0 }), 16_000);
  assert.deepEqual(view.gaps, [{ from: 1, to: 5 }]);
  view.expire(15_000, { ageS: 0, count: 3, bytes: 0 });
  assert.deepEqual(view.gaps, [{ from: 1, to: 6 }]);
  assert.equal(view.message(6), undefined);
  assert.equal(view.message(9), undefined, "that is no message");
  assert.deepEqual([view.message(8)?.text, view.message(8)?.reactions], ["message 8", [{ reaction: "+1", count: 1, mine: true }]]);
  const retention = { ageS: 0, count: 0, bytes: 0 };
  view.event({ type: "retention_set", seq: 10, timeMs: 10_000, sender: "bob", retention });
  assert.equal(view.retentionInForce, retention);
});

const retentionSet = (seq: number, ageS: number) =>
  ({ type: "retention_set", seq, timeMs: seq * 1_000, sender: "bob", retention: { ageS, count: 0, bytes: 0 } }) as const;

test("of two retentions the later one counts, whichever comes first", () => {
  const view = new ConversationView("alice");
  view.event({ type: "slow_mode", seq: 3, timeMs: 3_000, sender: "bob", intervalMs: 0 });
  view.event(retentionSet(4, 100));
  // What was before it comes with a page, when the user goes up.
  view.page({ events: [retentionSet(2, 1)], states: [], head: 4, floor: 1, from: 2, to: 2, moreBefore: true, moreAfter: true });
  assert.equal(view.expire(10_000), 102_000);
  assert.deepEqual(view.gaps, []);
});

test("what a page's floor says is gone is gone, and nothing of it comes back", () => {
  const view = new ConversationView("alice");
  const said = (seq: number) => ({ type: "message", seq, timeMs: seq, sender: "bob", body: new Uint8Array(), text: "", mentions: [], expiresMs: 0 }) as const;
  const page = (events: LogEvent[], from: number, to: number, floor: number) =>
    ({ events, states: [], head: 9, floor, from, to, moreBefore: from > floor, moreAfter: to < 9 });
  view.page(page([said(2), said(3), said(4)], 2, 4, 1));
  view.page(page([said(9)], 9, 9, 4));
  assert.deepEqual(view.gaps, [{ from: 1, to: 3 }]);
  assert.deepEqual(view.told, [{ from: 1, to: 4 }, { from: 9, to: 9 }]);
  view.page(page([said(2)], 2, 2, 1));
  assert.deepEqual(view.entries.map((entry) => (entry.type === "gap" ? entry.from : entry.seq)), [1, 4, 9]);
});

scene("messages are edited, taken back, reacted to and hidden", async ({ server, connect }) => {
  const messages = messagesOf(connect());
  const done = { conversation: "team", seq: 7, timeMs: 1_007 };
  assert.deepEqual(await messages.edit("team", 3, "new", ["bob"]), done);
  assert.deepEqual(await messages.revoke("team", 3), done);
  assert.deepEqual(await messages.react("team", 3, "👍"), done);
  await messages.hide("team", 3);
  const retention = { ageS: 60, count: 0, bytes: 0 };
  assert.deepEqual(await messages.setRetention("team", retention), { ...done, retention, events: 5, bytes: 50 });
  const back = await messages.previewRetention("team", undefined);
  assert.deepEqual(back, { conversation: "team", seq: 0, timeMs: 0, retention: { ageS: 0, count: 0, bytes: 0 }, events: 5, bytes: 50 });
  assert.deepEqual(server.requests.asked.at(-1), { type: "set_retention", conversation: "team", retention: undefined, dryRun: true });
  assert.deepEqual(await messages.states("team", [7, 8]), { states: [{ seq: 7, version: 0, edited: undefined, reactions: [] }], absent: [8], more: false });
  assert.deepEqual(await messages.receipts("team", 7), { delivered: 2, read: 1, users: [{ user: "bob", delivered: 9, read: 7 }] });
  const [edit, , react] = server.requests.asked;
  assert.deepEqual(edit, { type: "edit", conversation: "team", seq: 3, body: new TextEncoder().encode("new"), mentions: ["bob"] });
  assert.deepEqual(react, { type: "react", conversation: "team", seq: 3, reaction: "👍", on: true });
  server.requests.answers.push({ type: "refused", code: Code.NOT_FOUND_MESSAGE, retryAfterMs: 0, reason: "" });
  assert.deepEqual(await messages.revoke("team", 3), { conversation: "team", seq: 0, timeMs: 0 });
  server.requests.answers.push({ type: "refused", code: Code.TOO_OLD, retryAfterMs: 0, reason: "" });
  await assert.rejects(messages.edit("team", 3, "late"), { code: "TOO_OLD", outcome: "refused" });
});

scene("a server that knows no edits says so, and goes on with what it knows", async ({ server, connect }) => {
  server.features = 2 | 4;
  const client = connect();
  await assert.rejects(messagesOf(client).react("team", 3, "👍"), { code: "UNSUPPORTED", outcome: "not_sent" });
  await client.conversation("team").send("still works");
  assert.deepEqual(server.requests.asked, []);
});

scene("a page says whether anything of what was asked for is missing", async ({ server, connect }) => {
  for (let i = 1; i <= 6; i++) server.say("team", `line ${i}`);
  server.log("team").retain(3);
  const client = connect();
  const messages = messagesOf(client);
  const complete = async (options: MessageHistoryOptions) => (await messages.history("team", options)).complete;
  assert.equal(await complete({ limit: 2 }), true, "what is before is another page's");
  assert.equal(await complete({ after: 2 }), true, "from the floor on");
  assert.equal(await complete({ after: 1 }), false);
  assert.equal(await complete({}), false, "it begins behind what is gone");
  assert.equal(await complete({ before: 2 }), false);
  assert.equal(await complete({ before: 1 }), true, "there was never anything");
  assert.equal(await complete({ afterTimeMs: 1_004 }), true, "what is gone is of no such time, else a gap would say so");
  assert.equal(await complete({ beforeTimeMs: 1_004 }), false);
  server.withholdsPages = true;
  const page = messages.history("team", { after: 2 });
  const connection = () => [...server.connections][0];
  await until(() => server.fetched.length === 9, "the page was asked for");
  const lane = Math.max(...(connection()?.lanes.keys() ?? []));
  connection()?.frame(lane, { type: "gap", from: 3, to: 6 });
  connection()?.frame(lane, { type: "page_end", head: 6, floor: 3, from: 3, to: 6, moreBefore: false, moreAfter: false });
  assert.equal((await page).complete, false, "a gap");
});

scene("history comes around any place, with what its messages have come to", async ({ server, connect }) => {
  for (let i = 0; i < 5; i++) server.say("team", `line ${i}`);
  const client = connect();
  const messages = messagesOf(client);
  server.pageStates = [encoded(messageState, { seq: 4, version: 6, reactions: [{ reaction: "👍", count: 2, mine: true }] })];
  const page = await messages.history("team", { after: 2, limit: 2 });
  assert.deepEqual(page.events.map((event) => "seq" in event && event.seq), [3, 4]);
  assert.deepEqual([page.from, page.to, page.moreBefore, page.moreAfter, page.complete], [3, 4, true, true, true]);
  assert.deepEqual(page.states, [{ seq: 4, version: 6, edited: undefined, reactions: [{ reaction: "👍", count: 2, mine: true }] }]);
  server.pageStates = [];
  await messages.history("team", { around: 3 });
  for (const range of [{ beforeTimeMs: 5 }, { afterTimeMs: 6 }, { aroundTimeMs: 7 }, {}]) await messages.history("team", range);
  assert.deepEqual(server.fetched.slice(1), [{ around: 3 }, { beforeTime: 5 }, { afterTime: 6 }, { aroundTime: 7 }, "latest"]);
  await assert.rejects(messages.history("team", { before: 1, around: 2 }), { code: "BAD_ARGUMENT" });
  // A client that has no use for states reads on.
  server.pageStates = [encoded(messageState, { seq: 4, version: 0, reactions: [] })];
  assert.equal((await client.conversation("team").history()).events.length, 5);
  // More states than events: the server is broken.
  server.pageStates = Array.from({ length: 6 }, () => server.pageStates[0] as Uint8Array);
  await assert.rejects(messages.history("team"), { code: "PROTOCOL" });
});

scene("receipts are told while a conversation is read", async ({ server, connect }) => {
  const client = connect();
  const told: string[] = [];
  messagesOf(client).onReceipt("team", ({ user, delivered, read }) => told.push(`${user} ${delivered} ${read}`));
  const events = client.conversation("team").events();
  const lane = () => [...([...server.connections][0]?.lanes.values() ?? [])].find((one) => one.reads("team"));
  await until(() => lane() !== undefined);
  [...server.connections][0]?.frame(lane()?.number ?? 0, { type: "receipt", user: "bob", delivered: 4, read: 2 });
  await until(() => told.length > 0);
  assert.deepEqual(told, ["bob 4 2"]);
  await events.return?.();
});

test("marks are gathered, and said again when they were not taken", async () => {
  let due: (() => void)[] = [];
  const env = { now: () => 0, random: () => 0, after: (_: number, call: () => void) => (due.push(call), () => (due = [])) } as Env;
  const said: string[] = [];
  let fails = false;
  const marks = new Marks(env, async (conversation, { delivered, read }) => {
    said.push(`${conversation} ${delivered} ${read}`);
    if (fails) throw new QuothError("OVERLOADED", "later", true);
  });
  const pass = async () => {
    for (const call of due.splice(0)) call();
    await sleep(0);
  };
  for (let seq = 1; seq <= 50; seq++) marks.mark("team", { delivered: seq });
  marks.mark("team", { read: 20 });
  marks.mark("other", { read: 3 });
  assert.deepEqual(said, []);
  await pass();
  assert.deepEqual(said.splice(0), ["team 50 20", "other 3 3"]);
  marks.mark("team", { read: 10 });
  await pass();
  marks.mark("team", { delivered: 60 });
  await pass();
  assert.deepEqual(said.splice(0), ["team 60 20"], "nothing goes back");
  fails = true;
  marks.mark("team", { read: 30 });
  await pass();
  fails = false;
  await pass();
  assert.deepEqual(said.splice(0), ["team 60 30", "team 60 30"]);
  marks.mark("team", { read: 40 });
  await marks.flush();
  assert.deepEqual(said, ["team 60 40"]);
});

const row = (conversation: string, timeMs: number, more: Partial<Of<typeof inboxRow>> = {}): Of<typeof inboxRow> => ({
  conversation,
  title: conversation,
  head: 9,
  timeMs,
  unread: 0,
  mentions: 0,
  read: 9,
  archived: false,
  mutedUntilMs: 0,
  pinned: false,
  gone: false,
  version: timeMs,
  staleMs: 0,
  ...more,
});

scene("the inbox comes in pages and changes by itself, over lost connections too", async ({ server, connect }) => {
  const client = connect();
  const last = { seq: 9, timeMs: 5, sender: "bob", kind: { type: "message", body: new TextEncoder().encode("hi") } } as const;
  server.requests.answers.push({ type: "watching", version: 10, complete: true });
  server.requests.answers.push({ type: "inbox", rows: [row("b", 8, { last }), row("a", 7)], next: "more", version: 10 });
  const inbox = openInbox(client, { pageRows: 2 });
  await until(() => inbox.isLoaded);
  const names = (rows: readonly InboxRow[]) => rows.map(({ conversation }) => conversation).join(" ");
  assert.equal(names(inbox.rows), "b a");
  const preview = inbox.rows[0]?.last;
  assert.equal(preview?.type === "message" && preview.text, "hi");
  assert.equal(inbox.hasMore, true);
  server.requests.answers.push({ type: "inbox", rows: [row("c", 3)], version: 10 });
  await inbox.loadMore();
  assert.deepEqual([names(inbox.rows), inbox.hasMore], ["b a c", false]);
  const tell = (told: Of<typeof inboxRow>, known = 11) => {
    for (const connection of server.connections) connection.frame(0, { type: "inbox_row", known, row: encoded(inboxRow, told) });
  };
  const heard: (string | undefined)[] = [];
  inbox.onChange((conversation) => heard.push(conversation));
  tell(row("c", 12, { unread: 3, mentions: 1, staleMs: 80 }));
  tell(row("a", 13, { pinned: true, timeMs: 7, staleMs: 70 }));
  tell(row("b", 14, { gone: true }));
  tell(row("b", 8));
  tell(row("d", 15), 12);
  await until(() => heard.length === 4);
  assert.deepEqual(heard, ["c", "a", "b", "d"], "what is older than known is no news");
  assert.equal(names(inbox.rows), "a d c");
  assert.deepEqual([inbox.get("c")?.unread, inbox.get("c")?.mentions], [3, 1]);
  // What comes of a setting keeps the others.
  await inbox.set("a", { mutedUntilMs: Infinity });
  assert.deepEqual(server.requests.asked.at(-1), {
    type: "set_inbox", conversation: "a", archived: false, mutedUntilMs: Infinity, pinned: true,
  });
  // Back after a loss: from where all was told on, and without the pages. The rows themselves may be newer.
  const asked = server.requests.asked.length;
  server.kill();
  await until(() => client.state.name === "disconnected");
  client.wake();
  await reached(client, "connected");
  await until(() => server.requests.asked.length > asked);
  const held = [{ conversation: "a", staleMs: 70 }, { conversation: "c", staleMs: 80 }];
  assert.deepEqual(server.requests.asked.at(-1), { type: "watch_inbox", since: 12, watch: true, held });
  assert.equal(names(inbox.rows), "a d c");
  // A disappearing message is no longer shown when its time has come on the server's clock, whatever this
  // machine's says. What stands there instead, the server tells.
  const serverNowMs = () => messagesOf(client).nowMs();
  assert.ok(serverNowMs() < 60_000, "the server's clock began a second after 1970");
  // It has come before that, also where the machine stands still for a moment.
  const expiresMs = Math.ceil(serverNowMs()) + 4_000;
  tell(row("d", 16, { last: { ...last, kind: { ...last.kind, expiresMs } } }));
  await until(() => inbox.get("d")?.last !== undefined);
  await until(() => inbox.get("d")?.last === undefined);
  assert.ok(serverNowMs() >= expiresMs && inbox.get("b") === undefined && inbox.get("d")?.version === 16);
  // Too much has changed meanwhile: all anew.
  server.requests.answers.push({ type: "watching", version: 90, complete: false });
  server.requests.answers.push({ type: "inbox", rows: [row("z", 90)], version: 90 });
  const accepted = server.accepted;
  server.kill();
  await until(() => client.state.name === "disconnected" || server.accepted > accepted);
  client.wake();
  await until(() => names(inbox.rows) === "z");
  inbox.close();
  await until(() => server.requests.asked.at(-1)?.type === "watch_inbox" && server.requests.answers.length === 0);
});
