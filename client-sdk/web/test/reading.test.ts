import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { QuothError } from "../src/index.js";
import { follow } from "./support/follow.js";
import { brief, briefs, reached, scene, sleep, take, until } from "./support/setup.js";

scene("history leads into live without a seam", async ({ server, connect }) => {
  for (const text of ["a", "b", "c"]) server.say("general", text);
  const room = connect().conversation("general");
  const events = room.events({ from: { after: 1 } });
  assert.deepEqual(await briefs(events, 3), ["2 b", "3 c", "caught up 3"]);
  server.say("general", "d");
  assert.deepEqual(await briefs(events, 1), ["4 d"]);
});

scene("reading begins with the last events, or with none", async ({ server, connect }) => {
  for (const text of ["a", "b", "c"]) server.say("general", text);
  const client = connect();
  const last = client.conversation("general").events({ from: { last: 2 } });
  assert.deepEqual(await briefs(last, 3), ["2 b", "3 c", "caught up 3"]);
  const live = client.conversation("other").events();
  assert.deepEqual(await briefs(live, 1), ["caught up 0"]);
  server.say("other", "x");
  assert.deepEqual(await briefs(live, 1), ["1 x"]);
});

scene("a reader goes on where it was when the connection is lost", async ({ server, connect }) => {
  server.say("general", "a");
  const client = connect();
  const events = client.conversation("general").events({ from: { after: 0 } });
  assert.deepEqual(await briefs(events, 2), ["1 a", "caught up 1"]);
  server.kill();
  await reached(client, "disconnected");
  server.say("general", "b");
  assert.deepEqual(await briefs(events, 1), ["2 b"]);
});

scene("what retention took is told as a gap", async ({ server, connect }) => {
  for (let i = 1; i <= 5; i++) server.say("general", `m${i}`);
  server.log("general").retain(4);
  const events = connect().conversation("general").events({ from: { after: 1 } });
  assert.deepEqual(await briefs(events, 4), ["gap 2-3", "4 m4", "5 m5", "caught up 5"]);
});

scene("an event of an unknown kind is shown and counts", async ({ server, connect }) => {
  server.say("general", "a");
  server.sayUnknown("general");
  server.say("general", "c");
  const events = connect().conversation("general").events({ from: { after: 0 } });
  assert.deepEqual(await briefs(events, 4), ["1 a", "2 unknown", "3 c", "caught up 3"]);
});

scene("a body that is not UTF-8 has no text", async ({ server, connect }) => {
  server.log("general").append("bob", new Uint8Array([0xff, 0xfe]));
  const [event] = await take(connect().conversation("general").events({ from: { last: 1 } }), 1);
  assert.ok(event?.type === "message");
  assert.deepEqual([event.text, [...event.body]], [undefined, [0xff, 0xfe]]);
});

scene("several readers share a lane, each from its own place", async ({ server, connect }) => {
  for (let i = 1; i <= 60; i++) server.say("general", `m${i}`);
  const client = connect();
  const room = client.conversation("general");
  const first = room.events({ from: { last: 1 } });
  assert.deepEqual(await briefs(first, 2), ["60 m60", "caught up 60"]);
  const [second, third, fourth] = [room.events({ from: { after: 3 } }), room.events(), room.events({ from: { last: 2 } })];
  assert.deepEqual(await briefs(fourth, 3), ["59 m59", "60 m60", "caught up 60"]);
  assert.deepEqual(await briefs(third, 1), ["caught up 60"]);
  const caughtUp = await briefs(second, 58);
  assert.deepEqual([caughtUp[0], caughtUp[56], caughtUp[57]], ["4 m4", "60 m60", "caught up 60"]);
  server.say("general", "live");
  for (const events of [first, second, third, fourth]) assert.deepEqual(await briefs(events, 1), ["61 live"]);
  await second.return?.();
  server.kill();
  server.say("general", "later");
  for (const events of [first, third, fourth]) assert.deepEqual(await briefs(events, 1), ["62 later"]);
  const [connection] = server.connections;
  assert.equal(connection?.lanes.size, 2, "the control lane and one for the conversation");
});

scene("a reader that does not read holds up its lane and no other, and not the acks", async ({ server, connect }) => {
  const body = "x".repeat(10_000);
  for (let i = 0; i < 100; i++) server.say("big", body);
  server.say("small", "s");
  const client = connect();
  const big = client.conversation("big");
  const stalled = big.events({ from: { after: 0 } });
  const lane = () => [...server.connections].flatMap((c) => [...c.lanes.values()]).find((l) => l.conversation === "big");
  await until(() => (lane()?.sendCredit ?? 1) <= 0, "the server has no credit");
  await sleep(50);
  assert.ok((lane()?.sendCredit ?? 1) <= 0, "and gets none");
  assert.deepEqual(await briefs(client.conversation("small").events({ from: { last: 1 } }), 1), ["1 s"]);
  // Its ack must not wait behind events that nobody reads.
  assert.equal((await big.send("mine")).seq, 101);
  assert.ok(lane(), "the lane is the same");
  const seqs = (await take(stalled, 102)).map((event) => ("seq" in event ? event.seq : event.type));
  const expected = [...Array.from({ length: 100 }, (_, i) => i + 1), "caught_up", 101];
  assert.deepEqual(seqs, expected);
});

scene("a stalled reader gets everything when it reads on", async ({ server, connect }) => {
  const body = "x".repeat(10_000);
  for (let i = 0; i < 200; i++) server.say("big", body);
  const events = connect().conversation("big").events({ from: { after: 0 } });
  await sleep(50);
  const seqs = (await take(events, 200)).map((event) => ("seq" in event ? event.seq : 0));
  assert.deepEqual(seqs, Array.from({ length: 200 }, (_, i) => i + 1));
});

scene("leaving a loop and aborting end the reading without an error", async ({ server, connect }) => {
  server.say("general", "a");
  const room = connect().conversation("general");
  for await (const event of room.events({ from: { last: 1 } })) {
    assert.equal(brief(event), "1 a");
    break;
  }
  const controller = new AbortController();
  const seen: string[] = [];
  for await (const event of room.events({ from: { last: 1 }, signal: controller.signal })) {
    seen.push(brief(event));
    controller.abort();
  }
  assert.deepEqual(seen, ["1 a"]);
  const none = [];
  for await (const event of room.events({ signal: AbortSignal.abort() })) none.push(event);
  assert.deepEqual(none, []);
});

scene("a reader that may not read is told so, and sends go on", async ({ server, connect }) => {
  server.mayRead = () => false;
  const room = connect().conversation("general");
  const events = room.events({ from: { last: 5 } });
  const ack = room.send("blind");
  await assert.rejects(events.next(), { code: "FORBIDDEN", retryable: false });
  assert.deepEqual(await events.next(), { done: true, value: undefined });
  assert.equal((await ack).seq, 1);
});

scene("a cursor beyond the head is refused, and the other readers go on", async ({ server, connect }) => {
  server.say("general", "a");
  const room = connect().conversation("general");
  const good = room.events({ from: { after: 0 } });
  const bad = room.events({ from: { after: 7 } });
  await assert.rejects(bad.next(), { code: "CURSOR_AHEAD" });
  assert.deepEqual(await briefs(good, 2), ["1 a", "caught up 1"]);
  // The answer to one that was asked for alone says nothing about one that has come since.
  const other = connect();
  await reached(other, "connected");
  const ahead = other.conversation("general").events({ from: { after: 7 } });
  const behind = other.conversation("general").events({ from: { after: 0 } });
  await assert.rejects(ahead.next(), { code: "CURSOR_AHEAD" });
  assert.deepEqual(await briefs(behind, 2), ["1 a", "caught up 1"]);
  const alone = connect().conversation("general").events({ from: { after: 7 } });
  await assert.rejects(alone.next(), { code: "CURSOR_AHEAD" });
});

scene("what was read of another store is told, and nothing goes on there", async ({ server, connect }) => {
  server.say("general", "a");
  const client = connect();
  const room = client.conversation("general");
  const events = room.events({ from: { after: 0 } });
  const live = client.conversation("other").events();
  assert.deepEqual(await briefs(events, 2), ["1 a", "caught up 1"]);
  assert.deepEqual(await briefs(live, 1), ["caught up 0"]);
  server.kill();
  await reached(client, "disconnected");
  server.store = 2;
  server.say("general", "b");
  await assert.rejects(events.next(), { code: "CURSOR_AHEAD" });
  assert.deepEqual(await briefs(room.events({ from: { after: 0 } }), 3), ["1 a", "2 b", "caught up 2"]);
  // Who has read nothing misses nothing.
  server.say("other", "x");
  assert.deepEqual(await briefs(live, 1), ["1 x"]);
});

scene("a cursor that an application keeps goes on in its store alone", async ({ server, connect }) => {
  assert.ok(readFileSync("README.md", "utf8").includes(String(readFileSync("test/support/follow.ts")).split("\n").slice(2).join("\n")));
  for (const text of ["a", "b", "c"]) server.say("general", text);
  const kept = new Map<string, string>();
  const storage = { getItem: (key: string) => kept.get(key) ?? null, setItem: (key: string, value: string) => void kept.set(key, value) };
  const run = async (last: string) => {
    const shown: string[] = [];
    await follow(connect().conversation("general"), storage, (event) => {
      if (event.type === "message") shown.push(brief(event));
      return shown.at(-1) !== last;
    });
    return shown;
  };
  assert.deepEqual(await run("2 b"), ["1 a", "2 b"]);
  assert.deepEqual(await run("3 c"), ["3 c"]);
  assert.deepEqual(JSON.parse([...kept.values()].join()), { store: server.store, seq: 3 });
  server.store += 1;
  server.say("general", "d");
  assert.deepEqual(await run("4 d"), ["1 a", "2 b", "3 c", "4 d"]);
  server.say("general", "e");
  assert.deepEqual(await run("5 e"), ["5 e"]);

  // Beside one that reads already, whose next event must not be taken for what it goes on with.
  const room = connect().conversation("general");
  const live = room.events({ from: { after: 4 } });
  assert.equal(live.cursor, undefined, "it is not known yet of which store");
  assert.deepEqual(await briefs(live, 2), ["5 e", "caught up 5"]);
  assert.deepEqual(live.cursor, { store: server.store, seq: 5 });
  const other = room.events({ from: { store: server.store - 1, seq: 5 } });
  server.say("general", "f");
  await assert.rejects(other.next(), { code: "CURSOR_AHEAD" });
  assert.deepEqual(await briefs(live, 1), ["6 f"]);
  const last = room.events({ from: { last: 2 } });
  assert.deepEqual(await briefs(last, 1), ["5 e"]);
  assert.deepEqual(last.cursor, { store: server.store, seq: 5 });
});

scene("a server that keeps failing to begin is told to the reader, which may try again", async ({ server, connect }) => {
  server.openCode = 0x103;
  const events = connect().conversation("general").events();
  await assert.rejects(events.next(), (error) => error instanceof QuothError && error.code === "STORE_FAILED" && error.retryable);
});

scene("a reader that has begun is told of such a server, and goes on when that has passed", async ({ server, connect }) => {
  const events = connect().conversation("general").events();
  assert.deepEqual(await briefs(events, 1), ["caught up 0"]);
  server.openCode = 0x103;
  server.kill();
  assert.deepEqual(await briefs(events, 1), ["interrupted STORE_FAILED"]);
  server.openCode = undefined;
  server.say("general", "a");
  assert.deepEqual(await briefs(events, 1), ["1 a"]);
});

scene("a hole is a breach of the protocol, not a silent loss", async ({ server, connect }) => {
  server.say("general", "a");
  const events = connect().conversation("general").events({ from: { after: 0 } });
  assert.deepEqual(await briefs(events, 2), ["1 a", "caught up 1"]);
  const [connection] = server.connections;
  connection?.frame(1, { type: "event", seq: 3, timeMs: 1, sender: "bob", kind: { type: "message", body: new Uint8Array() } });
  await assert.rejects(events.next(), { code: "PROTOCOL" });
});

scene("pages of history, forwards and backwards", async ({ server, connect }) => {
  for (let i = 1; i <= 10; i++) server.say("general", `m${i}`);
  server.log("general").retain(3);
  const room = connect().conversation("general");
  const latest = await room.history({ limit: 3 });
  assert.deepEqual([latest.events.map(brief), latest.moreBefore, latest.head, latest.floor], [["8 m8", "9 m9", "10 m10"], true, 10, 3]);
  const older = await room.history({ before: 8, limit: 10 });
  assert.deepEqual([older.events.length, older.moreBefore], [5, false]);
  const newer = await room.history({ after: 0, limit: 2 });
  assert.deepEqual([newer.events.map(brief), newer.moreAfter], [["gap 1-2", "3 m3", "4 m4"], true]);
  await assert.rejects(room.history({ before: 1, after: 1 }), { code: "BAD_ARGUMENT" });
  server.mayRead = () => false;
  await assert.rejects(room.history(), { code: "FORBIDDEN" });
});

scene("more pages than the server gives at once, over a lost connection, and cancelled ones", async ({ server, connect }) => {
  for (let i = 1; i <= 300; i++) server.say("general", "x".repeat(5_000));
  const client = connect();
  const room = client.conversation("general");
  await reached(client, "connected");
  const pages = Array.from({ length: 12 }, () => room.history({ after: 0, limit: 300 }));
  const controller = new AbortController();
  const cancelled = room.history({ signal: controller.signal });
  controller.abort(new Error("enough"));
  await assert.rejects(cancelled, { message: "enough" });
  await assert.rejects(room.history({ signal: AbortSignal.abort(new Error("before")) }), { message: "before" });
  await sleep(2);
  server.kill();
  for (const page of await Promise.all(pages)) assert.equal(page.events.length, 300);
});

scene("a page has as many events as a page may have, whatever lies between them, and no more", async ({ server, connect }) => {
  const client = connect();
  server.withholdsPages = true;
  const connection = () => [...server.connections][0];
  for (const [lanes, count] of [[2, 1_000], [3, 1_001]] as const) {
    const page = client.conversation("general").history({ limit: 1_000 });
    await until(() => connection()?.lanes.size === lanes, "the page was asked for");
    const lane = Math.max(...(connection()?.lanes.keys() ?? []));
    for (let seq = 2; seq <= 2 * count; seq += 2) {
      connection()?.frame(lane, { type: "gap", from: seq - 1, to: seq - 1 });
      connection()?.frame(lane, { type: "event", seq, timeMs: 1, sender: "bob", kind: { type: "message", body: new Uint8Array() } });
    }
    if (count > 1_000) {
      await assert.rejects(page, { code: "PROTOCOL", message: /over 1000 events/ });
      return;
    }
    const to = 2 * count;
    connection()?.frame(lane, { type: "page_end", head: to, floor: 1, from: 1, to, moreBefore: false, moreAfter: false });
    assert.equal((await page).events.length, 2 * count);
  }
});

scene("a page that is cancelled is not sent on", async ({ server, connect }) => {
  const client = connect();
  const controller = new AbortController();
  server.withholdsPages = true;
  const page = client.conversation("general").history({ signal: controller.signal });
  const lanes = () => [...server.connections].map((connection) => connection.lanes.size);
  await until(() => lanes()[0] === 2, "the page was asked for");
  controller.abort();
  await assert.rejects(page, { name: "AbortError" });
  await until(() => lanes()[0] === 1, "the lane is over");
});

scene("a conversation that nobody uses is closed on the server, and opens again", async ({ server, connect }) => {
  server.say("general", "a");
  const client = connect();
  const room = client.conversation("general");
  const events = room.events({ from: { last: 1 } });
  assert.deepEqual(await briefs(events, 1), ["1 a"]);
  const [connection] = server.connections;
  assert.equal(connection?.lanes.size, 2);
  await events.return?.();
  await until(() => connection?.lanes.size === 1, "the lane is over");
  assert.deepEqual(await briefs(room.events({ from: { last: 1 } }), 1), ["1 a"]);
});
