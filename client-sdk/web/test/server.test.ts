/** Against Quoth's own server: `QUOTH_BIN_DIR=…/target/release npm test -- server`. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { type Client, connect, type ConnectOptions, type Conversation, type Message, type RoomEvent } from "../src/index.js";
import { membersOf } from "../src/members/index.js";
import { CuttingProxy, RealServer, serverBinary } from "./support/real-server.js";
import { brief, briefs, reached, seeded, sleep, take, until } from "./support/setup.js";

const options = { skip: serverBinary === undefined && "QUOTH_BIN_DIR is not set", timeout: 120_000 };
let server: RealServer;
const clients: Client[] = [];

function client(user: string, url = server.url, more: Partial<ConnectOptions> = {}): Client {
  const made = connect(url, { token: () => server.token(user), WebSocket, ...more });
  clients.push(made);
  return made;
}

before(async () => {
  if (serverBinary !== undefined) server = await RealServer.start(serverBinary);
});
after(async () => {
  await Promise.all(clients.map((made) => made.close({ timeoutMs: 0 })));
  await server?.stop();
});

test("sends, reads, pages, rosters and typings", options, async () => {
  const [alice, bob] = [client("alice"), client("bob")];
  const [hers, his] = [alice.conversation("general"), bob.conversation("general")];
  const events = his.events();
  assert.deepEqual(await briefs(events, 1), ["caught up 0"]);
  for (const text of ["a", "b", "c"]) await hers.send(text);
  assert.deepEqual(await briefs(events, 3), ["1 a", "2 b", "3 c"]);
  assert.deepEqual([alice.user, alice.welcome?.durability], ["alice", "stored"]);
  const page = await hers.history({ before: 3, limit: 1 });
  assert.deepEqual([page.events.map(brief), page.head, page.floor], [["2 b"], 3, 1]);
  assert.deepEqual([page.from, page.to, page.moreBefore, page.moreAfter], [2, 2, true, true]);
  his.seen(2);
  await until(() => his.roster?.present[0]?.seen === 2);
  assert.deepEqual(his.roster, { users: 1, present: [{ user: "bob", seen: 2, status: "online" }] });
  hers.typing();
  await until(() => his.typings[0] === "alice");
  const again = await hers.send("c", { id: { producer: alice.producer, n: 3 } });
  assert.deepEqual([again.seq, again.duplicate], [3, true]);
});

test("a group, from its creation to the last device that is signed out", options, async () => {
  // A user is as much there as the best of all devices is.
  await Promise.all(clients.map((made) => made.close()));
  const [alice, bob] = [client("alice", server.url, { device: "laptop" }), client("bob")];
  const [hers, his] = [membersOf(alice), membersOf(bob)];
  const { conversation } = await hers.create({ kind: "group", title: "Team" });
  assert.match(conversation, /^group\/[\w-]{22}$/);
  await assert.rejects(his.join(conversation, "none"), { code: "FORBIDDEN", outcome: "refused" });
  await his.join(conversation, await hers.invite(conversation, "member", { usesMax: 1 }));
  const room = bob.conversation(conversation);
  const events = room.events({ from: { after: 0 } });
  const changes = (await take(events, 4)).map((event) => event.type);
  assert.deepEqual(changes, ["created", "member_set", "invitation_made", "member_set"]);
  let present: string[] = [];
  hers.watchPresence(conversation, (members) => (present = [...members].map(([user, { status }]) => `${user} ${status}`)));
  await until(() => present.join() === "bob online");
  his.setAway(true);
  await until(() => present.join() === "bob away");
  await hers.mute(conversation, "bob", Infinity);
  await assert.rejects(room.send("hi"), { code: "MUTED", outcome: "refused" });
  await hers.remove(conversation, "bob");
  const last = await take(events, 3);
  assert.deepEqual(last.map((event) => event.type), ["caught_up", "muted", "member_gone"]);
  await assert.rejects(events.next(), { code: "FORBIDDEN" });
  const direct = await his.create({ kind: "direct", members: ["alice"] });
  assert.equal((await hers.describe(direct.conversation)).title, "bob");
  const titles = (await hers.conversations()).conversations.map(({ title }) => title);
  assert.deepEqual(titles.sort(), ["Team", "bob"]);
  const phone = client("alice", server.url, { device: "phone" });
  await reached(phone, "connected");
  await hers.endSession("phone");
  const state = await reached(phone, "closed");
  assert.ok(state.name === "closed" && state.reason.code === "KICKED" && /laptop/.test(state.reason.message));
});

test("several readers, and one that does not read", options, async () => {
  const made = client("alice");
  const room = made.conversation("big");
  const sends = Array.from({ length: 300 }, (_, i) => room.send(`${i} ${"x".repeat(5_000)}`));
  await Promise.all(sends);
  const stalled = room.events({ from: { after: 0 } });
  await sleep(200);
  const small = made.conversation("small");
  assert.equal((await small.send("s")).seq, 1);
  assert.equal((await room.send("behind")).seq, 301);
  const seqs = (await take(stalled, 302)).flatMap((event) => ("seq" in event ? [event.seq] : []));
  assert.deepEqual(seqs, Array.from({ length: 301 }, (_, i) => i + 1));
});

test("what a token does not allow is refused", options, async () => {
  const token = server.token("carol", "--read", "open-*", "--write", "open-*", "--write", "blind");
  const carol = client("carol", server.url, { token });
  await assert.rejects(carol.conversation("closed").events().next(), { code: "FORBIDDEN" });
  await assert.rejects(carol.conversation("closed").send("x"), { code: "FORBIDDEN", outcome: "refused" });
  await assert.rejects(carol.conversation("blind").history(), { code: "FORBIDDEN" });
  assert.equal((await carol.conversation("blind").send("x")).seq, 1);
  await assert.rejects(carol.conversation("open-1").events({ from: { after: 9 } }).next(), { code: "CURSOR_AHEAD" });
  const bad = client("x", server.url, { token: "no token" });
  const state = await reached(bad, "closed");
  assert.ok(state.name === "closed" && state.reason.code === "TOKEN_REJECTED");
});

async function write(room: Conversation, who: string, count: number, random: () => number): Promise<void> {
  const sends = [];
  for (let i = 0; i < count; i++) {
    sends.push(room.send(`${who} ${i} ${"x".repeat(random() * 1_000)}`));
    if (random() < 0.3) await sleep(random() * 10);
  }
  await Promise.all(sends);
}

/** Reads all: everything is there once, and in the order of its sender. */
async function isWhole(reader: AsyncIterator<RoomEvent>, writers: string[], count: number): Promise<void> {
  const total = writers.length * count;
  const events: Message[] = [];
  while (events.length < total) {
    const [event] = await take(reader, 1);
    if (event?.type === "message") events.push(event);
  }
  assert.deepEqual(events.map(({ seq }) => seq), Array.from({ length: total }, (_, i) => i + 1));
  for (const who of writers) {
    const own = events.filter(({ text }) => text?.startsWith(`${who} `));
    const numbers = own.map(({ text }) => Number(text?.split(" ")[1]));
    assert.deepEqual(numbers, Array.from({ length: count }, (_, i) => i), `the messages of ${who}`);
  }
}

for (const seed of [1, 2]) {
  test(`cut connections lose nothing and repeat nothing, seed ${seed}`, options, async () => {
    const random = seeded(seed);
    const proxy = await CuttingProxy.start(server.port);
    // At random, and so often whatever the pieces are that come from either side.
    let left = 20;
    proxy.cuts = () => {
      if (--left > 0) return false;
      left = 5 + 30 * random();
      return true;
    };
    const tokens = { alice: server.token("alice"), bob: server.token("bob") };
    const both = [client("alice", proxy.url, { token: tokens.alice }), client("bob", proxy.url, { token: tokens.bob })];
    for (const made of both) made.onState(({ name }) => name === "disconnected" && made.wake());
    const rooms = both.map((made) => made.conversation(`cut-${seed}`));
    const readers = rooms.flatMap((room) => [room.events({ from: { after: 0 } }), room.events({ from: { after: 0 } })]);
    const writes = rooms.map((room, i) => write(room, `w${i}`, 300, random));
    await Promise.all([...writes, ...readers.map((reader) => isWhole(reader, ["w0", "w1"], 300))]);
    assert.ok(proxy.accepted > 5, `${proxy.accepted} connections`);
    await Promise.all(both.map((made) => made.close({ timeoutMs: 0 })));
    await proxy.stop();
  });
}

test("a server that is killed and started again loses nothing and repeats nothing", options, async () => {
  const random = seeded(5);
  const token = server.token("alice");
  const made = client("alice", server.url, { token });
  const room = made.conversation("crash");
  const reader = room.events({ from: { after: 0 } });
  const writing = write(room, "w", 400, random);
  for (let i = 0; i < 3; i++) {
    await sleep(100);
    await server.crash();
    made.wake();
  }
  await Promise.all([writing, isWhole(reader, ["w"], 400)]);
});
