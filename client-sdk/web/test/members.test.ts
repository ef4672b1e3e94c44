/** Requests, presence, and what servers tell besides. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, QuothError } from "../src/index.js";
import { type MemberPresence, membersOf, RequestError } from "../src/members/index.js";
import { Code } from "../src/wire/codes.js";
import type { ServerFrame } from "../src/wire/frames.js";
import type { FakeServer } from "./support/fake-server.js";
import { briefs, reached, scene, until } from "./support/setup.js";

function tell(server: FakeServer, frame: ServerFrame): void {
  for (const connection of server.connections) connection.frame(0, frame);
}

/** Loses all connections, and waits for the next one. */
async function reconnected(server: FakeServer, client: ReturnType<typeof connect>): Promise<void> {
  const before = server.generations.length;
  server.kill();
  await until(() => client.state.name === "disconnected" || server.generations.length > before);
  client.wake();
  await until(() => server.generations.length > before && client.state.name === "connected");
}

scene("each request has its answer", async ({ server, connect }) => {
  const client = connect();
  const members = membersOf(client);
  assert.equal(membersOf(client), members);
  const done = { conversation: "team", seq: 7, timeMs: 1_007 };
  assert.deepEqual(await members.create({ kind: "group", title: "Team", members: ["bob"] }), { ...done, conversation: "group/made" });
  assert.deepEqual(await members.join("team", "come in"), done);
  assert.deepEqual(await members.setMember("team", "bob", "admin"), done);
  for (const asked of [
    members.leave("team"),
    members.remove("team", "bob"),
    members.rename("team", "The team"),
    members.mute("team", undefined, Infinity),
    members.ban("team", "bob", 0),
    members.slowMode("team", 1_000),
    members.revokeInvitations("team"),
  ]) {
    assert.deepEqual(await asked, done);
  }
  assert.equal(await members.invite("team", "member", { usesMax: 1 }), "come in");
  assert.equal((await members.describe("team")).title, "Team");
  assert.deepEqual((await members.members("team", { after: "a" })).more, true);
  assert.deepEqual(await members.blocked(), ["mallory"]);
  assert.equal((await members.block("mallory", true)).conversation, "$me");
  assert.equal((await members.sessions())[0]?.device, "phone");
  await members.endSession("phone");
  assert.equal((await members.conversations()).conversations[0]?.conversation, "team");
  const [create, join, set] = server.requests.asked;
  assert.deepEqual(create, { type: "create", conversation: undefined, kind: "group", title: "Team", members: ["bob"], open: false });
  assert.deepEqual(join, { type: "join", conversation: "team", invitation: "come in" });
  assert.deepEqual(set, { type: "set_member", conversation: "team", user: "bob", role: "admin", permissions: undefined });
  assert.deepEqual(server.requests.asked[6], { type: "mute", conversation: "team", user: undefined, untilMs: Infinity });
  server.requests.answers.push({ type: "users", users: [] });
  await assert.rejects(members.describe("team"), { code: "PROTOCOL" });
});

scene("answers find their requests, and no more are asked than a server reads", async ({ server, connect }) => {
  const client = connect();
  const members = membersOf(client);
  server.requests.isHeld = true;
  const names = Array.from({ length: 40 }, (_, i) => `room ${i}`);
  const asked = names.map((name) => members.describe(name));
  await until(() => server.requests.asked.length === 16);
  // What might have left with them has come by now.
  await client.conversation("general").send("a round trip");
  server.requests.release();
  assert.deepEqual((await Promise.all(asked)).map(({ conversation }) => conversation), names);
  assert.deepEqual([server.requests.asked.length, server.requests.underWayMax], [40, 16]);
});

scene("what changes nothing twice is asked again over a lost connection, and the rest is left unknown", async ({ server, connect }) => {
  const client = connect();
  const members = membersOf(client);
  await reached(client, "connected");
  server.requests.isHeld = true;
  const asked = [members.leave("team"), members.create({ kind: "notes" }), members.create({ kind: "group" }), members.invite("team", "member")];
  const outcomes = Promise.allSettled(asked);
  await until(() => server.requests.asked.length === 4);
  await reconnected(server, client);
  await until(() => server.requests.asked.length === 6);
  server.requests.release();
  const kinds = (await outcomes).map((outcome) => (outcome.status === "fulfilled" ? "done" : outcome.reason.outcome));
  assert.deepEqual(kinds, ["done", "done", "unknown", "unknown"]);
  assert.deepEqual(server.requests.asked.map(({ type }) => type), ["leave", "create", "create", "invite", "leave", "create"]);
});

scene("a refusal says why and for how long", async ({ server, connect }) => {
  const client = connect();
  server.requests.answers.push({ type: "refused", code: Code.RATE_LIMITED, retryAfterMs: 1_500, reason: "too\u001b much" });
  const error = await membersOf(client).leave("team").catch((error) => error);
  assert.ok(error instanceof RequestError && error instanceof QuothError);
  assert.deepEqual([error.code, error.outcome, error.retryAfterMs, error.retryable], ["RATE_LIMITED", "refused", 1_500, true]);
  assert.equal(error.message, "the server refused this: RATE_LIMITED: too\\u{1b} much; again in 2 s");
  server.requests.answers.push({ type: "refused", code: Code.TIMED_OUT, retryAfterMs: 0, reason: "busy" });
  await assert.rejects(membersOf(client).leave("team"), { code: "TIMED_OUT", outcome: "unknown", retryable: true });
  server.refuseOnce = { code: Code.SLOW_MODE, retryAfterMs: 2_000, reason: "be\u0007fair" };
  const message = /SLOW_MODE: be\\u\{7\}fair; again in 2 s$/;
  const expected = { code: "SLOW_MODE", outcome: "refused", retryAfterMs: 2_000, message };
  await assert.rejects(client.conversation("team").send("hi"), expected);
});

scene("a server that knows no requests is told apart, and sent none", async ({ server, connect }) => {
  server.features = 2;
  const client = connect();
  const members = membersOf(client);
  members.setAway(true);
  await assert.rejects(members.sessions(), { code: "UNSUPPORTED", outcome: "not_sent" });
  await client.conversation("general").send("still here");
  assert.equal(server.accepted, 1);
});

scene("what a client that is closed asks was not sent", async ({ server, connect }) => {
  const client = connect();
  const members = membersOf(client);
  await reached(client, "connected");
  server.requests.isHeld = true;
  const asked = members.leave("team").catch((error) => error);
  await until(() => server.requests.asked.length === 1);
  await client.close();
  assert.deepEqual([(await asked).code, (await asked).outcome], ["CLOSED", "unknown"]);
  await assert.rejects(members.leave("team"), { code: "CLOSED", outcome: "not_sent" });
});

scene("who is there is told over reconnects, until nobody wants to know", async ({ server, connect }) => {
  const client = connect();
  const members = membersOf(client);
  let known: [string, string][] = [];
  let error: QuothError | undefined;
  const listener = (present: ReadonlyMap<string, MemberPresence>, end?: QuothError) => {
    known = [...present].map(([user, { status }]) => [user, status]);
    error = end;
  };
  const knows = (expected: typeof known) => until(() => JSON.stringify(known) === JSON.stringify(expected), JSON.stringify(expected));
  const presence = (conversation: string, user: string, status: "online" | "away") =>
    tell(server, { type: "presence", conversation, user, status, lastSeenMs: 5 });
  const stops = [members.watchPresence("team", listener), members.watchPresence("team", () => {})];
  await until(() => server.requests.asked.length === 1);
  presence("team", "bob", "online");
  presence("elsewhere", "eve", "online");
  presence("team", "carol", "away");
  await knows([["bob", "online"], ["carol", "away"]]);
  await reconnected(server, client);
  await until(() => server.requests.asked.length === 2);
  presence("team", "carol", "online");
  await knows([["carol", "online"]]);
  // The server has ended it, and has another opinion when it is asked why.
  presence("team", client.user ?? "", "away");
  await until(() => server.requests.asked.length === 3);
  await knows([]);
  presence("team", "bob", "online");
  await knows([["bob", "online"]]);
  for (const stop of [...stops, ...stops]) stop();
  await until(() => server.requests.asked.length === 4);
  assert.deepEqual(server.requests.asked.map((asked) => asked.type === "watch_presence" && asked.watch), [true, true, true, false]);

  server.requests.answers.push({ type: "refused", code: Code.FORBIDDEN, retryAfterMs: 0, reason: "" });
  members.watchPresence("team", listener);
  await until(() => error?.code === "FORBIDDEN");
  members.watchPresence("team", listener);
  await until(() => server.requests.asked.length === 6 && error === undefined);
  presence("team", "bob", "online");
  await knows([["bob", "online"]]);
  server.requests.answers.push({ type: "refused", code: Code.TOO_MANY, retryAfterMs: 0, reason: "" });
  presence("team", client.user ?? "", "away");
  await until(() => error?.code === "TOO_MANY");
  await knows([]);
});

scene("that nobody sits here is said on each connection", async ({ server, connect }) => {
  const client = connect();
  const members = membersOf(client);
  await reached(client, "connected");
  members.setAway(false);
  members.setAway(true);
  await until(() => server.requests.statuses.length === 1);
  await reconnected(server, client);
  await until(() => server.requests.statuses.length === 2);
  members.setAway(false);
  await until(() => server.requests.statuses.length === 3);
  await reconnected(server, client);
  await members.sessions();
  assert.deepEqual(server.requests.statuses, [true, true, false]);
});

scene("who is signed out stays out and learns why", async ({ server, connect }) => {
  const client = connect();
  const events = client.conversation("general").events();
  assert.deepEqual(await briefs(events, 1), ["caught up 0"]);
  for (const connection of server.connections) connection.goAway(Code.KICKED, 0, 5, "signed in elsewhere");
  const state = await reached(client, "closed");
  assert.ok(state.name === "closed");
  assert.deepEqual([state.reason.code, state.reason.retryable], ["KICKED", false]);
  assert.match(state.reason.message, /signed in elsewhere$/);
  await assert.rejects(events.next(), { code: "KICKED" });
  assert.equal(server.accepted, 1);
});

scene("however the connection ends behind that", async ({ server, connect }) => {
  const client = connect();
  const members = membersOf(client);
  await reached(client, "connected");
  server.requests.isHeld = true;
  const asked = members.sessions();
  await until(() => server.requests.asked.length === 1);
  tell(server, { type: "go_away", code: Code.KICKED, retryAfterMs: 0, reason: "out" });
  server.requests.release();
  // The answer comes behind the GoAway.
  await asked;
  server.kill();
  const state = await reached(client, "closed");
  assert.ok(state.name === "closed" && state.reason.code === "KICKED");
});

scene("who is replaced ends without an error, and stays out", async ({ server, connect }) => {
  const client = connect();
  const events = client.conversation("general").events();
  assert.deepEqual(await briefs(events, 1), ["caught up 0"]);
  for (const connection of server.connections) connection.close(Code.REPLACED);
  const state = await reached(client, "closed");
  assert.ok(state.name === "closed" && state.reason.code === "REPLACED");
  assert.deepEqual(await events.next(), { done: true, value: undefined });
  assert.equal(server.accepted, 1);
});

scene("each connection has a greater generation", async ({ server, connect }) => {
  const client = connect();
  await reached(client, "connected");
  await reconnected(server, client);
  await reconnected(server, client);
  const [first = 0, second = 0, third = 0] = server.generations;
  assert.ok(1_700_000_000_000 < first && first < second && second < third, `${server.generations}`);
});

scene("what happens to members is told with its type", async ({ server, connect }) => {
  const log = server.log("team");
  const event = { type: "event", timeMs: 1, sender: "alice" } as const;
  const set = { type: "member_set", user: "bob", role: "member", permissions: 7 } as const;
  log.events.push({ ...event, seq: 1, kind: set }, { ...event, seq: 2, kind: { type: "banned", user: "bob", untilMs: Infinity } });
  const events = connect().conversation("team").events({ from: { after: 0 } });
  const first = await events.next();
  assert.ok(!first.done && first.value.type === "member_set");
  assert.deepEqual([first.value.seq, first.value.sender, first.value.user, first.value.role], [1, "alice", "bob", "member"]);
  const second = await events.next();
  assert.ok(!second.done && second.value.type === "banned" && second.value.untilMs === Infinity);
});

test("only a client that was connected has members", () => {
  assert.throws(() => membersOf({} as never), { code: "BAD_ARGUMENT" });
});
