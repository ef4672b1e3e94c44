import assert from "node:assert/strict";
import { QuothError, type State } from "../src/index.js";
import { Code } from "../src/wire/codes.js";
import type { FakeConnection } from "./support/fake-connection.js";
import { briefs, reached, scene, sleep, until } from "./support/setup.js";

scene("a client tells its states, its user and its round trip", async ({ server, connect }) => {
  const client = connect({ device: "laptop" });
  const states: State["name"][] = [client.state.name];
  client.onState(({ name }) => states.push(name));
  const rtt = new Promise<number>((resolve) => client.onRtt(resolve));
  assert.equal(client.user, undefined);
  await reached(client, "connected");
  assert.deepEqual([client.user, client.welcome?.durability, client.transport], ["alice", "stored", "websocket"]);
  assert.ok((await rtt) >= 0 && client.rttMs !== undefined);
  const [connection] = server.connections;
  assert.deepEqual([connection?.hello?.device, connection?.hello?.platform], ["laptop", "node"]);
  server.kill();
  const state = await reached(client, "disconnected");
  assert.ok(state.name === "disconnected" && state.reason.code === "LOST" && state.retryAtMs <= Date.now() + 500);
  assert.equal(client.rttMs, undefined);
  await reached(client, "connected");
  // Nothing waits for an ack, so there is nothing to wait for.
  await client.close({ timeoutMs: 1_000_000 });
  assert.deepEqual(states, ["connecting", "connected", "disconnected", "connecting", "connected", "closed"]);
});

scene("codes of all ranges: try again, get a token, stop", async ({ server, connect }) => {
  let code: number = Code.OVERLOADED;
  server.userOf = (token) => (token === "fresh" ? "alice" : code);
  const asked: string[] = [];
  const retrying = connect({
    token: (why) => {
      asked.push(why);
      return why === "rejected" ? "fresh" : "stale";
    },
  });
  const state = await reached(retrying, "disconnected");
  assert.ok(state.name === "disconnected" && state.reason.code === "OVERLOADED" && state.reason.retryable);
  code = Code.TOKEN_EXPIRED;
  await reached(retrying, "connected");
  assert.deepEqual([asked[0], asked.at(-1)], ["sign_in", "rejected"]);
  const fixed = connect({ token: "stale" });
  const closed = await reached(fixed, "closed");
  assert.ok(closed.name === "closed" && closed.reason.code === "TOKEN_EXPIRED");
  code = 0x3ab;
  const stopped = await reached(connect({ token: () => "stale" }), "closed");
  assert.ok(stopped.name === "closed" && stopped.reason.code === "0x3ab" && !stopped.reason.retryable);
  code = Code.CLOSED;
  const wanted = await reached(connect({ token: () => "stale" }), "closed");
  assert.ok(wanted.name === "closed" && wanted.reason.code === "CLOSED");
});

scene("readers and sends of a client that is closed for good hear why", async ({ server, connect }) => {
  server.userOf = () => Code.TOKEN_REJECTED;
  const client = connect();
  const room = client.conversation("general");
  const events = room.events();
  const send = room.send("x");
  const page = room.history();
  await assert.rejects(events.next(), { code: "TOKEN_REJECTED" });
  await assert.rejects(send, { code: "TOKEN_REJECTED", outcome: "not_sent" });
  await assert.rejects(page, { code: "TOKEN_REJECTED" });
  await assert.rejects(room.events().next(), { code: "TOKEN_REJECTED" });
  await assert.rejects(room.history(), { code: "TOKEN_REJECTED" });
});

scene("a GoAway is respected: no connection before its time, and what has no ack is repeated", async ({ server, connect }) => {
  const client = connect();
  const room = client.conversation("general");
  const events = room.events();
  await briefs(events, 1);
  const [connection] = server.connections;
  const toldAt = performance.now();
  connection?.goAway(Code.GOING_AWAY, 600, 50);
  await sleep(20);
  const send = room.send("behind");
  const state = await reached(client, "disconnected");
  assert.ok(state.name === "disconnected" && state.reason.code === "GOING_AWAY");
  client.wake();
  await reached(client, "connected");
  assert.ok(performance.now() - toldAt >= 599);
  assert.equal(connection?.ignored, 0, "nothing is sent to a server that takes nothing");
  assert.equal((await send).duplicate, false);
  assert.deepEqual(await briefs(events, 1), ["1 behind"]);
});

scene("a wake does not overrule a GoAway", async ({ server, connect }) => {
  const client = connect();
  await reached(client, "connected");
  const [connection] = server.connections;
  // So long that it is not over before the wake.
  connection?.goAway(Code.GOING_AWAY, 3_600_000);
  await reached(client, "disconnected");
  client.wake();
  assert.equal(client.state.name, "disconnected");
});

scene("a GoAway in place of Welcome", async ({ server, connect }) => {
  server.goAwayFirst = 600;
  const at = performance.now();
  const client = connect();
  const state = await reached(client, "disconnected");
  assert.ok(state.name === "disconnected" && state.reason.code === "OVERLOADED");
  server.goAwayFirst = undefined;
  await reached(client, "connected");
  assert.ok(performance.now() - at >= 599);
});

scene("a wake connects at once", async ({ server, connect }) => {
  const client = connect();
  await reached(client, "connected");
  for (let i = 0; i < 8; i++) {
    server.kill();
    await reached(client, "disconnected");
    client.wake();
    assert.equal(client.state.name, "connecting");
    await reached(client, "connected");
  }
  assert.equal(server.accepted, 9);
});

scene("a token that is about to end is renewed", async ({ server, connect }) => {
  let count = 0;
  const client = connect({ token: async (why) => `alice:${why}:${++count}` });
  await reached(client, "connected");
  const [connection] = server.connections;
  connection?.frame(0, { type: "token_expiring", inMs: 1_000 });
  await until(() => server.tokens.length === 2);
  assert.deepEqual(server.tokens, ["alice:sign_in:1", "alice:expiring:2"]);
});

scene("a token function that fails is asked again, unless it says that this cannot help", async ({ connect }) => {
  let count = 0;
  const client = connect({
    token: () => {
      count += 1;
      if (count < 3) throw new Error("offline");
      return "alice";
    },
  });
  const state = await reached(client, "disconnected");
  assert.ok(state.name === "disconnected" && state.reason.code === "NO_TOKEN" && /offline/.test(state.reason.message));
  await reached(client, "connected");
  const signedOut = connect({
    token: () => {
      throw new QuothError("SIGNED_OUT", "the user has signed out", false);
    },
  });
  const closed = await reached(signedOut, "closed");
  assert.ok(closed.name === "closed" && closed.reason.code === "SIGNED_OUT");
});

scene("a dead network is found out by a ping", async ({ server, connect }) => {
  const client = connect();
  const room = client.conversation("general");
  const events = room.events();
  await briefs(events, 1);
  server.isSilent = true;
  client.wake();
  const state = await reached(client, "disconnected");
  assert.ok(state.name === "disconnected" && /silent/.test(state.reason.message));
  server.isSilent = false;
  server.say("general", "again");
  assert.deepEqual(await briefs(events, 1), ["1 again"]);
});

scene("a server that breaks the protocol closes the client", async ({ server, connect }) => {
  const breaches: ((connection: FakeConnection) => void)[] = [
    (connection) => connection.part(9, { type: "finish" }),
    (connection) => connection.send(new Uint8Array([0])),
    (connection) => connection.frame(0, { type: "opened", head: 0, floor: 1, store: 1 }),
    (connection) => connection.send(new Uint8Array(73_745)),
  ];
  for (const breach of breaches) {
    const client = connect();
    await reached(client, "connected");
    const [connection] = server.connections;
    if (connection) breach(connection);
    const state = await reached(client, "closed");
    assert.ok(state.name === "closed" && state.reason.code === "PROTOCOL");
    server.kill();
  }
});

scene("more conversations than may be open wait for room", async ({ server, connect }) => {
  server.openConversationsMax = 2;
  const client = connect();
  const readers = Array.from({ length: 5 }, (_, i) => client.conversation(`c${i}`).events());
  for (let i = 0; i < 5; i++) {
    const reader = readers[i] ?? assert.fail();
    assert.deepEqual(await briefs(reader, 1), ["caught up 0"]);
    await reader.return?.();
  }
});

scene("typings and rosters", async ({ server, connect }) => {
  const [alice, bob] = [connect(), connect({ token: "bob" })];
  const [hers, his] = [alice.conversation("general"), bob.conversation("general")];
  const [events] = [hers.events(), his.events()];
  await briefs(events, 1);
  const users: string[][] = [];
  hers.onTypings((typing) => users.push([...typing]));
  await until(() => his.roster !== undefined);
  his.typing();
  his.typing();
  await until(() => users.length === 1);
  assert.deepEqual([users, hers.typings], [[["bob"]], ["bob"]]);
  assert.deepEqual(server.typings, ["bob general"], "one notice in 3 s");
  await his.send("done");
  await until(() => users.length === 2);
  his.typing();
  await until(() => users.length === 3);
  await his.send("done again");
  await until(() => users.length === 4);
  users.splice(2);
  assert.deepEqual(users, [["bob"], []]);
  hers.seen(1);
  await until(() => hers.roster?.present[0]?.seen === 1);
  // Said again on the next connection: the server keeps nothing of it.
  server.kill();
  await until(() => hers.roster === undefined);
  await until(() => hers.roster?.present[0]?.seen === 1);
  await events.return?.();
  assert.equal(hers.roster, undefined);
});

scene("a server without rosters is not told what was seen", async ({ server, connect }) => {
  server.features = 0;
  const room = connect().conversation("general");
  const events = room.events();
  await briefs(events, 1);
  room.seen(0);
  room.seen(5);
  await sleep(150);
  assert.equal(room.roster, undefined);
  assert.deepEqual([...server.connections].flatMap((c) => [...c.lanes.values()].flatMap(({ seen }) => seen)), []);
});
