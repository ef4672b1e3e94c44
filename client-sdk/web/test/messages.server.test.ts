/** What becomes of messages, against Quoth's own server: `QUOTH_BIN_DIR=…/target/release npm test -- messages.server`. */
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { WebSocket } from "ws";
import { type Client, connect } from "../src/index.js";
import { membersOf } from "../src/members/index.js";
import { ConversationView, messagesOf, openInbox, type Receipt, type ViewEntry } from "../src/messages/index.js";
import { RealServer, serverBinary } from "./support/real-server.js";
import { seeded, until } from "./support/setup.js";

const options = { skip: serverBinary === undefined && "QUOTH_BIN_DIR is not set", timeout: 120_000 };
let server: RealServer;
const clients: Client[] = [];

function client(user: string): Client {
  const made = connect(server.url, { token: () => server.token(user), WebSocket });
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

/** What stands there, without the first bodies, which the server may have put aside. */
const stands = (view: ConversationView): unknown[] =>
  view.entries.map((entry: ViewEntry) => (entry.type === "message" ? { ...entry, body: undefined } : entry));

test("a client that was away through all of it ends with the view of one that was there", options, async () => {
  const random = seeded(Number(process.env.SEED ?? 1));
  const pick = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)] as T;
  const users = ["alice", "bob"].map((user) => client(user));
  const { conversation } = await membersOf(users[0] as Client).create({ kind: "group", title: "Team", members: ["bob"] });
  const there = new ConversationView("alice");
  const reader = (users[0] as Client).conversation(conversation).events({ from: { after: 0 } });
  const said: { seq: number; by: Client }[] = [];
  const reacted = new Set<string>();
  for (let step = 0; step < 150; step++) {
    const by = pick(users);
    const kind = random();
    const target = said.length > 0 ? pick(said) : undefined;
    if (!target || kind < 0.35) {
      const replyTo = target?.seq;
      const { seq } = await by.conversation(conversation).send(`text ${step}`, { replyTo, mentions: random() < 0.3 ? ["alice"] : [] });
      said.push({ seq, by });
    } else if (kind < 0.55) await messagesOf(target.by).edit(conversation, target.seq, `edit ${step}`, random() < 0.3 ? ["bob"] : []);
    else if (kind < 0.9) {
      const reaction = pick(["👍", "❤", "!"]);
      const key = `${by.user} ${target.seq} ${reaction}`;
      const on = !reacted.delete(key);
      if (on) reacted.add(key);
      await messagesOf(by).react(conversation, target.seq, reaction, on);
    } else {
      await messagesOf(target.by).revoke(conversation, target.seq);
      said.splice(said.indexOf(target), 1);
    }
  }
  const messages = messagesOf(users[0] as Client);
  const { head } = await messages.history(conversation, { limit: 1 });
  for await (const event of reader) {
    there.event(event);
    if (there.told[0]?.to === head) break;
  }
  assert.deepEqual(there.told, [{ from: 1, to: head }]);
  // Away: in pages from the end, and from the middle in both directions.
  const [backward, outward] = [new ConversationView("alice"), new ConversationView("alice")];
  for (let to = head + 1; to > 1; ) {
    const page = await messages.history(conversation, { before: to, limit: 9 });
    assert.equal(page.to, to - 1);
    backward.page(page);
    to = page.from;
  }
  let page = await messages.history(conversation, { around: Math.floor(head / 2), limit: 20 });
  let { from, to } = page;
  outward.page(page);
  while (page.moreBefore) {
    outward.page((page = await messages.history(conversation, { before: from, limit: 11 })));
    from = page.from;
  }
  for (let more = to < head; more; more = page.moreAfter) {
    outward.page((page = await messages.history(conversation, { after: to, limit: 11 })));
    to = page.to;
  }
  for (const away of [backward, outward]) {
    assert.deepEqual(away.told, there.told);
    assert.deepEqual(away.gaps, there.gaps);
    assert.deepEqual(stands(away), stands(there));
  }
  // By time: everything was stored just now.
  const hour = 3_600_000;
  assert.equal((await messages.history(conversation, { afterTimeMs: Date.now() - hour, limit: 1 })).from, 1);
  assert.equal((await messages.history(conversation, { beforeTimeMs: Date.now() - hour })).to, 0);
  assert.equal((await messages.history(conversation, { aroundTimeMs: Date.now() + hour, limit: 2 })).to, head);
});

test("receipts, unread counts and the inbox follow what is said and read", options, async () => {
  const [alice, bob] = [client("alice"), client("bob")];
  const inbox = openInbox(bob);
  await until(() => inbox.isLoaded);
  const { conversation } = await membersOf(alice).create({ kind: "group", title: "News", members: ["bob"] });
  const room = alice.conversation(conversation);
  await room.send("first");
  const { seq } = await room.send("@bob second", { mentions: ["bob"] });
  await until(() => inbox.get(conversation)?.unread === 2 && inbox.get(conversation)?.mentions === 1);
  const last = inbox.get(conversation)?.last;
  assert.equal(last?.type === "message" && last.text, "@bob second");
  const receipts: Receipt[] = [];
  messagesOf(alice).onReceipt(conversation, (receipt) => receipts.push(receipt));
  const events = room.events();
  await events.next();
  messagesOf(bob).mark(conversation, { delivered: seq, read: seq - 1 });
  messagesOf(bob).mark(conversation, { read: seq });
  await messagesOf(bob).flush();
  await until(() => receipts.some(({ user, read }) => user === "bob" && read === seq));
  assert.deepEqual(await messagesOf(alice).receipts(conversation, seq), {
    delivered: 1,
    read: 1,
    users: [{ user: "bob", delivered: seq, read: seq }],
  });
  await until(() => inbox.get(conversation)?.unread === 0 && inbox.get(conversation)?.mentions === 0);
  await inbox.set(conversation, { pinned: true, mutedUntilMs: Infinity });
  await until(() => inbox.get(conversation)?.pinned === true && inbox.get(conversation)?.mutedUntilMs === Infinity);
  assert.equal(inbox.rows[0]?.conversation, conversation);
  // What happens while there is no connection is told behind it.
  bob.wake();
  await server.crash();
  await until(() => alice.state.name === "connected" && bob.state.name === "connected");
  await room.send("third");
  await until(() => inbox.get(conversation)?.unread === 1);
  // How long it is kept is an event of its own.
  const two = { ageS: 3_600, count: 2, bytes: 0 };
  const preview = await messagesOf(alice).previewRetention(conversation, two);
  assert.ok(preview.events > 0 && preview.seq === 0, JSON.stringify(preview));
  const set = await messagesOf(alice).setRetention(conversation, two);
  assert.ok(set.seq > 0 && set.events === preview.events, JSON.stringify(set));
  const back = await messagesOf(alice).setRetention(conversation, undefined);
  assert.deepEqual([back.retention, back.events], [{ ageS: 0, count: 0, bytes: 0 }, 0]);
  await membersOf(alice).remove(conversation, "bob");
  await until(() => inbox.get(conversation) === undefined);
  await events.return?.();
});
