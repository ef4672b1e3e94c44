import assert from "node:assert/strict";
import { test } from "node:test";
import { connect, SendError } from "../src/index.js";
import type { WebSocketConstructor } from "../src/api.js";
import { Code } from "../src/wire/codes.js";
import { briefs, reached, scene, sleep, until } from "./support/setup.js";

/** Whether an error is a `SendError` with these fields. */
function sendError(fields: Partial<SendError>): (error: unknown) => true {
  return (error) => {
    assert.ok(error instanceof SendError);
    for (const [key, value] of Object.entries(fields)) assert.deepEqual(error[key as keyof SendError], value, `${key} of ${error.message}`);
    return true;
  };
}

scene("a send resolves with its place, and the sender reads it as an event", async ({ server, connect }) => {
  const room = connect().conversation("general");
  const events = room.events();
  assert.deepEqual(await briefs(events, 1), ["caught up 0"]);
  const ack = await room.send("hello");
  assert.deepEqual({ ...ack, id: ack.id.n }, { seq: 1, timeMs: 1_000, duplicate: false, id: 1 });
  assert.deepEqual(await briefs(events, 1), ["1 hello"]);
  await room.send(new Uint8Array([1, 2, 3]));
  await room.send("");
  assert.deepEqual(server.log("general").events.map(({ kind }) => kind?.type === "message" && kind.body.length), [5, 3, 0]);
});

scene("sends are stored in the order of the calls, many at a time", async ({ server, connect }) => {
  server.ackDelayMs = 1;
  const room = connect().conversation("general");
  const texts = Array.from({ length: 1_000 }, (_, i) => `m${i}`);
  const acks = await Promise.all(texts.map((text) => room.send(text)));
  assert.deepEqual(server.texts("general"), texts);
  assert.deepEqual(acks.map(({ seq }) => seq), texts.map((_, i) => i + 1));
});

scene("large messages wait for the server's credit", async ({ server, connect }) => {
  server.withholdsCredit = true;
  const room = connect().conversation("general");
  const sends = Array.from({ length: 8 }, () => room.send("x".repeat(20_000)));
  await Promise.all(sends.slice(0, 3));
  // Open and three messages are below 65,536 bytes, the fourth may leave the credit below 0.
  await until(() => server.log("general").head >= 4, "the fourth is there");
  await sleep(30);
  assert.equal(server.log("general").head, 4);
  server.withholdsCredit = false;
  const [connection] = server.connections;
  connection?.part(1, { type: "credit", bytes: 20_000 });
  const lane = connection?.lanes.get(1);
  if (lane) lane.receiveCredit += 20_000;
  await Promise.all(sends);
});

scene("what has no ack is sent again under the same id, in order, before anything new", async ({ server, connect }) => {
  const client = connect();
  const room = client.conversation("general");
  await room.send("first");
  server.ackDelayMs = 20;
  const sends = ["a", "b", "c"].map((text) => room.send(text));
  const lanes = () => [...server.connections].flatMap((c) => [...c.lanes.values()]);
  await until(() => lanes().some((lane) => lane.published.length === 4), "all are on their way");
  server.kill();
  await reached(client, "disconnected");
  const fourth = room.send("d");
  const acks = await Promise.all([...sends, fourth]);
  assert.deepEqual(server.texts("general"), ["first", "a", "b", "c", "d"]);
  const producer = client.producer;
  const published = lanes().find((lane) => lane.published.length > 0)?.published;
  assert.deepEqual(published, [2, 3, 4, 5].map((n) => `${producer}/${n}`));
  assert.deepEqual(acks.map(({ duplicate }) => duplicate), [true, true, true, false]);
});

scene("an abort before the message has left: not sent", async ({ server, connect }) => {
  server.userOf = () => Code.OVERLOADED;
  const room = connect().conversation("general");
  const controller = new AbortController();
  const send = room.send("never", { signal: controller.signal });
  controller.abort("no patience");
  await assert.rejects(send, sendError({ outcome: "not_sent", code: "ABORTED", retryable: true, cause: "no patience" }));
  server.userOf = () => "alice";
  await room.send("next");
  assert.deepEqual(server.texts("general"), ["next"]);
  await assert.rejects(room.send("x", { signal: AbortSignal.abort() }), sendError({ outcome: "not_sent" }));
});

scene("an abort behind that: unknown, and the same id stores it once", async ({ server, connect }) => {
  const client = connect();
  const room = client.conversation("general");
  await room.send("first");
  server.ackDelayMs = 30;
  const controller = new AbortController();
  const send = room.send("once", { signal: controller.signal });
  await until(() => [...server.connections].some((c) => c.lanes.get(1)?.published.length === 2), "it has arrived");
  controller.abort();
  const error = await send.then(() => assert.fail("it was acked"), (e: SendError) => e);
  sendError({ outcome: "unknown", retryable: true, id: { producer: client.producer, n: 2 } })(error);
  const again = room.send("once", { id: error.id ?? assert.fail("no id") });
  const other = room.send("other");
  assert.deepEqual([(await again).seq, (await other).seq], [2, 3]);
  assert.deepEqual(server.texts("general"), ["first", "once", "other"]);
});

scene("closing while a message is in flight: unknown", async ({ server, connect }) => {
  const client = connect();
  const room = client.conversation("general");
  await room.send("first");
  server.ackDelayMs = 10_000;
  const send = room.send("late");
  send.catch(() => {});
  await until(() => [...server.connections].some((c) => c.lanes.get(1)?.published.length === 2), "it has arrived");
  await client.close({ timeoutMs: 10 });
  await assert.rejects(send, sendError({ outcome: "unknown", code: "CLOSED" }));
  await assert.rejects(room.send("x"), sendError({ outcome: "not_sent", code: "CLOSED", retryable: false }));
});

scene("closing waits for the acks of what was sent", async ({ server, connect }) => {
  server.ackDelayMs = 20;
  const client = connect();
  const sends = ["a", "b"].map((text) => client.conversation(text).send(text));
  await client.close();
  assert.deepEqual((await Promise.all(sends)).map(({ seq }) => seq), [1, 1]);
  assert.equal(client.state.name, "closed");
});

scene("what the server refuses is rejected with its code", async ({ server, connect }) => {
  const client = connect();
  const room = client.conversation("general");
  server.mayWrite = () => false;
  const events = room.events();
  await assert.rejects(room.send("x"), sendError({ outcome: "refused", code: "FORBIDDEN", retryable: false }));
  await events.return?.();
  // Without a reader the lane itself is refused.
  await assert.rejects(client.conversation("other").send("x"), sendError({ outcome: "refused", code: "FORBIDDEN" }));
  server.mayWrite = () => true;
  await client.conversation("third").send("a", { id: { producer: client.producer, n: 70 } });
  const stale = client.conversation("third").send("b", { id: { producer: client.producer, n: 60 } });
  await assert.rejects(stale, sendError({ outcome: "refused", code: "STALE_MESSAGE_ID" }));
});

scene("what cannot be sent is refused at once, with the way out", async ({ connect }) => {
  const client = connect();
  const room = client.conversation("general");
  await assert.rejects(room.send("x".repeat(65_537)), sendError({ outcome: "not_sent", code: "TOO_LARGE", retryable: false }));
  await assert.rejects(room.send("x", { originTimeMs: 1 }), sendError({ code: "BAD_ARGUMENT" }));
  await assert.rejects(room.send("x", { id: { producer: 1n, n: 1 } }), sendError({ code: "BAD_ARGUMENT" }));
  await assert.rejects(connect({ producer: 5n }).conversation("general").send("x"), sendError({ code: "BAD_ARGUMENT" }));
  assert.throws(() => client.conversation(""), { code: "BAD_ARGUMENT" });
  assert.throws(() => client.conversation("ü".repeat(65)), { code: "BAD_ARGUMENT" });
  assert.throws(() => client.conversation("a\u0085b"), { code: "BAD_ARGUMENT" });
  assert.equal(client.conversation("same"), client.conversation("same"));
});

scene("the same id over another client of the same producer is stored once", async ({ server, connect }) => {
  const id = { producer: 77n, n: 3 };
  const first = await connect({ producer: 77n }).conversation("general").send("x", { id });
  const second = await connect({ producer: 77n }).conversation("general").send("x", { id });
  assert.deepEqual([first.seq, second.seq, second.duplicate], [1, 1, true]);
  assert.equal(server.log("general").head, 1);
});

test("without a WebSocket or a token there is a clear error", { skip: "WebSocket" in globalThis && "Node has a WebSocket" }, () => {
  assert.throws(() => connect("ws://127.0.0.1:1", { token: "t" }), { code: "BAD_ARGUMENT", message: /package `ws`/ });
  const nothing = class {} as unknown as WebSocketConstructor;
  assert.throws(() => connect("ws://127.0.0.1:1", { token: "", WebSocket: nothing }), { message: /no token/ });
});
