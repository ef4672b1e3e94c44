/** The machines without IO: numbers on the wire, lanes and their credit, cursors, waits, silence, addresses. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Backoff } from "../src/backoff.js";
import { Lane, type LaneUser } from "../src/link/lane.js";
import { Liveness } from "../src/link/liveness.js";
import { Mux } from "../src/link/mux.js";
import { Listeners } from "../src/listeners.js";
import { Progress } from "../src/room/progress.js";
import { Outbox, OUTBOX_MAX } from "../src/room/outbox.js";
import { Reading } from "../src/room/reading.js";
import { webSocketUrl } from "../src/url.js";
import { ByteReader, ByteWriter } from "../src/wire/bytes.js";
import { actionOf, codeOfStatus, nameOf } from "../src/wire/codes.js";
import { encodeLane, decodeLane, type Part } from "../src/wire/lanes.js";
import { encodeServerFrame } from "./support/server-codec.js";
import { seeded } from "./support/setup.js";

test("integers of all sizes come back as they were, in their shortest form only", () => {
  const random = seeded(3);
  const values = [0n, 127n, 128n, 2n ** 49n - 1n, 2n ** 49n, 2n ** 53n - 1n, 2n ** 53n, 2n ** 63n, 2n ** 64n - 1n];
  for (let i = 0; i < 2_000; i++) values.push(BigInt.asUintN(1 + Math.floor(random() * 64), BigInt(Math.floor(random() * 2 ** 53)) ** 2n));
  for (const value of values) {
    const asBig = new ByteWriter().varint(value).finish();
    const reader = new ByteReader(asBig);
    assert.equal(BigInt(reader.u64()), value);
    reader.end();
    if (value > Number.MAX_SAFE_INTEGER) {
      assert.throws(() => new ByteReader(asBig).number(), { name: "DecodeError" });
    } else assert.deepEqual(new ByteWriter().varint(Number(value)).finish(), asBig);
    const longer = new Uint8Array([...asBig.subarray(0, -1), (asBig.at(-1) ?? 0) | 0x80, 0]);
    assert.throws(() => new ByteReader(longer).u64(), { name: "DecodeError" }, `${value} in a longer form`);
  }
  for (const bytes of [[], [0x80], Array(10).fill(0xff), [...Array(9).fill(0xff), 2], [...Array(10).fill(0x80), 1]]) {
    assert.throws(() => new ByteReader(new Uint8Array(bytes)).u64(), { name: "DecodeError" }, `${bytes}`);
  }
  assert.throws(() => new ByteReader(new ByteWriter().varint(2 ** 32).finish()).u32(), { name: "DecodeError" });
  assert.throws(() => new ByteReader(new Uint8Array([2])).bool(), { name: "DecodeError" });
  assert.throws(() => new ByteReader(new Uint8Array([2, 0xc3, 0x28])).text(), { name: "DecodeError" });
});

/** A mux whose lanes note what they are told. */
function muxed() {
  const told: string[] = [];
  const user = (name: string): LaneUser => ({
    frame: (frame) => told.push(`${name} ${frame.type}`),
    writable: () => told.push(`${name} writable`),
    finished: () => told.push(`${name} finished`),
    reset: (code) => told.push(`${name} reset ${code}`),
    broken: (text) => told.push(`${name} broken: ${text}`),
    lost: () => told.push(`${name} lost`),
  });
  const mux = new Mux({ wake: () => {}, pong: (n) => told.push(`pong ${n}`), laneOver: () => {} });
  const sent = () => mux.takeMessages().map((message) => ({ ...decodeLane(message), size: message.length }));
  const receive = (lane: number, part: Part) => mux.receive(encodeLane({ lane, part }));
  const events = (lane: number, bytes: number) => {
    const event = { type: "event", seq: 1, timeMs: 1, sender: "b", kind: { type: "message", body: new Uint8Array(bytes) } } as const;
    receive(lane, { type: "frames", bytes: encodeServerFrame(event) });
  };
  mux.open("control", user("control")).send({ type: "refresh", token: "t" });
  return { mux, told, user, sent, receive, events };
}

const seen = { type: "seen", seq: 1 } as const;

test("lanes get their numbers when they first send, so that none is left out", () => {
  const { mux, user, sent } = muxed();
  const [first, second, third] = [mux.open("conversation", user("a")), mux.open("page", user("b")), mux.open("page", user("c"))];
  for (const lane of [third, second, first]) lane.send(seen);
  second.reset(1);
  assert.deepEqual(sent().map(({ lane, part }) => `${lane} ${part.type}`), ["0 frames", "1 frames", "2 frames"]);
  third.reset(1);
  assert.deepEqual(sent().map(({ lane, part }) => `${lane} ${part.type}`), ["2 reset"]);
  assert.deepEqual([mux.count(), mux.count("page")], [2, 0]);
});

test("a lane sends as long as its credit is above 0, and tells when there is room again", () => {
  const { mux, told, user, sent, receive } = muxed();
  const lane = mux.open("conversation", user("a"));
  const publish = { type: "publish", n: 1, body: new Uint8Array(30_000) } as const;
  let frames = 0;
  for (; lane.hasRoom; frames++) lane.send(publish);
  assert.equal(frames, 3);
  for (; frames < 5; frames++) lane.send(publish);
  const messages = sent().filter((message) => message.lane === 1);
  // Two leave some credit, so that a third one may go, which overdraws it.
  assert.equal(messages.length, 3);
  assert.deepEqual(told, ["a writable"]);
  const overdrawn = messages.reduce((sum, { size }) => sum + size, 0) - 65_536;
  receive(1, { type: "credit", bytes: overdrawn });
  assert.deepEqual(sent(), [], "the credit is 0");
  receive(1, { type: "credit", bytes: 1 });
  assert.equal(sent().length, 1);
});

test("the server gets credit back for what is not held, in steps", () => {
  const { mux, user, sent, events } = muxed();
  const lane = mux.open("conversation", user("a"));
  lane.send(seen);
  sent();
  const credits = () => sent().flatMap(({ part }) => (part.type === "credit" ? [part.bytes] : []));
  events(1, 60_000);
  assert.deepEqual(credits(), [], "less than a step");
  events(1, 60_000);
  const [first] = credits();
  assert.ok(first !== undefined && first > 120_000 && first < 120_100);
  lane.hold(250_000);
  for (let i = 0; i < 4; i++) events(1, 60_000);
  assert.deepEqual(credits(), [], "the application has not taken it");
  events(1, 60_000);
  assert.throws(() => events(1, 10), { name: "DecodeError" }, "frames without credit");
  lane.hold(0);
  assert.deepEqual(credits().map((bytes) => bytes > 300_000), [true]);
});

test("frames that are small leave together, and none is larger than what came before", () => {
  const { mux, user, sent } = muxed();
  const lane = mux.open("conversation", user("a"));
  for (let n = 0; n < 100; n++) lane.send({ type: "publish", n, body: new Uint8Array(100) });
  const sizes = sent().map(({ size }) => size);
  assert.deepEqual([sizes.length, sizes.every((size) => size <= 8_192)], [3, true]);
});

test("lanes end by both sides' finish, by a reset, or with the connection", () => {
  const { mux, told, user, sent, receive } = muxed();
  const lanes = ["a", "b", "c", "d"].map((name) => mux.open("conversation", user(name)));
  for (const lane of lanes) lane.send(seen);
  lanes[0]?.finish();
  assert.deepEqual(sent().map(({ lane, part }) => `${lane} ${part.type}`).slice(1, 3), ["1 frames", "1 finish"]);
  receive(1, { type: "frames", bytes: encodeServerFrame({ type: "opened", head: 0, floor: 1, store: 1 }) });
  receive(1, { type: "finish" });
  receive(2, { type: "finish" });
  assert.deepEqual(sent().map(({ lane, part }) => `${lane} ${part.type}`), ["2 finish"]);
  receive(3, { type: "reset", code: 7 });
  receive(3, { type: "frames", bytes: encodeServerFrame({ type: "opened", head: 0, floor: 1, store: 1 }) });
  receive(4, { type: "frames", bytes: new Uint8Array([1, 3]) });
  mux.end();
  assert.deepEqual(told, ["a opened", "a finished", "b finished", "c reset 7", "d broken: the bytes end too early", "control lost", "d lost"]);
});

test("what no server may send ends the connection", () => {
  const breaches: [number, Part][] = [
    [1, { type: "finish" }],
    [1, { type: "pong", n: 1 }],
    [0, { type: "frames", bytes: new Uint8Array() }],
  ];
  for (const [lane, part] of breaches) assert.throws(() => muxed().receive(lane, part), { name: "DecodeError" }, part.type);
  const { mux, sent, receive } = muxed();
  sent();
  receive(0, { type: "ping", n: 2n ** 64n - 1n });
  assert.deepEqual(sent().map(({ part }) => part), [{ type: "pong", n: 2n ** 64n - 1n }]);
  assert.throws(() => mux.receive(new Uint8Array(73_745)), { name: "DecodeError" });
});

test("a lane that is not sent yet is dropped without a word", () => {
  const told: string[] = [];
  const user = { lost: () => told.push("lost") } as unknown as LaneUser;
  const lane = new Lane("page", user, { wake: () => {}, dropped: () => told.push("dropped") });
  lane.send(seen);
  lane.reset(1);
  assert.deepEqual([lane.takeMessages(() => 1), told], [[], ["dropped"]]);
});

test("a cursor delivers what is next, skips what it has, and sees holes", () => {
  const cursor = new Progress({ after: 5 });
  assert.deepEqual([cursor.start, cursor.check(6, 6, true)], [{ after: 5 }, "deliver"]);
  assert.ok(cursor.opened(9, 1));
  assert.deepEqual([5, 6, 7].map((seq) => cursor.check(seq, seq, true)), ["skip", "deliver", "hole"]);
  assert.equal(cursor.check(7, 7, false), "not_judged");
  assert.deepEqual([cursor.check(1, 5, true), cursor.check(3, 8, true), cursor.check(7, 8, true)], ["skip", "deliver", "hole"]);
  cursor.advance(8);
  assert.equal(cursor.takeCaughtUp(), undefined);
  cursor.advance(9);
  assert.deepEqual([cursor.takeCaughtUp(), cursor.takeCaughtUp()], [9, undefined]);
  assert.equal(new Progress({ after: 10 }).opened(9, 1), false);
});

test("a cursor on the last events knows its place when the server has told the bounds", () => {
  const cursor = new Progress({ last: 3 });
  assert.equal(cursor.check(1, 1, true), "not_judged");
  assert.ok(cursor.opened(9, 8));
  assert.deepEqual(cursor.start, { after: 7 });
  // Retention has run on in between: the first event may be a later one, but only from the server's present
  // cursor.
  assert.deepEqual([cursor.check(9, 9, false), cursor.check(9, 9, true)], ["not_judged", "deliver"]);
  cursor.advance(9);
  assert.equal(cursor.check(11, 11, true), "hole");
  const live = new Progress("live");
  assert.ok(live.opened(4, 1));
  assert.deepEqual([live.takeCaughtUp(), live.check(5, 5, true), live.check(6, 6, true)], [4, "deliver", "hole"]);
});

test("the outbox repeats what has no answer, before anything new", () => {
  const outbox = new Outbox<string>();
  const push = (n: number, waiter = `w${n}`) => outbox.push({ type: "publish", n, body: new Uint8Array() }, waiter);
  const taken = () => {
    const numbers = [];
    for (let next = outbox.takeNext(); next; next = outbox.takeNext()) numbers.push(next.n);
    return numbers;
  };
  for (const n of [1, 2, 3]) push(n);
  push(2, "also");
  assert.deepEqual(taken(), [1, 2, 3]);
  assert.deepEqual([outbox.answered(2), outbox.answered(2), outbox.answered(9)], [["w2", "also"], [], []]);
  push(4);
  outbox.disconnected();
  assert.deepEqual(taken(), [1, 3, 4]);
  push(5);
  assert.deepEqual([outbox.giveUp("w5"), outbox.giveUp("w5"), outbox.giveUp("w1")], [false, undefined, true]);
  assert.deepEqual(taken(), [], "the fifth is gone");
  outbox.disconnected();
  push(6);
  assert.deepEqual(outbox.takeNext()?.n, 1, "the first stays, so that nothing overtakes it");
  // The lane is refused as a whole: of what only that lane was given, it is known that it is not stored.
  outbox.disconnected();
  const fresh = new Outbox<string>();
  fresh.push({ type: "publish", n: 1, body: new Uint8Array() }, "a");
  fresh.takeNext();
  assert.deepEqual(fresh.refuse(), [{ waiters: ["a"], attempted: false }]);
  assert.deepEqual(outbox.fail().map(({ attempted }) => attempted), [true, true, true, false]);
});

test("no more publishes are on the way than a server reads, nor wait than the outbox holds", () => {
  const outbox = new Outbox<number>();
  for (let n = 1; !outbox.isFull; n++) outbox.push({ type: "publish", n, body: new Uint8Array() }, n);
  let taken = 0;
  while (outbox.takeNext()) taken += 1;
  assert.deepEqual([taken, outbox.fail().length], [256, OUTBOX_MAX]);
});

test("waits are spread over the whole range, doubled, capped, and start over after a connection that has held", () => {
  const random = seeded(7);
  for (let attempt = 0; attempt < 40; attempt++) {
    const bound = Math.min(30_000, 500 * 2 ** attempt);
    const draws = Array.from({ length: 200 }, () => Object.assign(new Backoff(), { attempt }).nextDelayMs(random));
    assert.ok(draws.every((delay) => delay <= bound));
    assert.ok(draws.some((delay) => delay < bound / 10) && draws.some((delay) => delay > bound * 0.9), `attempt ${attempt}`);
  }
  const backoff = Object.assign(new Backoff(), { attempt: 9 });
  backoff.heldFor(29_999);
  assert.equal(backoff.attempt, 9);
  backoff.heldFor(30_000);
  assert.equal(backoff.nextDelayMs(() => 1), 500);
  assert.equal(new Backoff().nextDelayMs(() => 0.5, 90_000), 90_250, "the server's wait is a lower bound");
});

test("silence is a reason to ask, and no answer is a reason to leave", () => {
  const liveness = new Liveness(0);
  assert.equal(liveness.look(0), "ping", "the first round trip");
  assert.equal(liveness.ping(0), 1);
  liveness.received(40);
  assert.deepEqual([liveness.pong(1, 40), liveness.pong(9, 50)], [40, undefined]);
  assert.deepEqual([liveness.look(10_039), liveness.look(10_040)], [undefined, "ping"]);
  assert.deepEqual([liveness.ping(10_040), liveness.ping(10_041)], [2, undefined]);
  assert.deepEqual([liveness.look(15_039), liveness.look(15_040)], [undefined, "dead"]);
  // Anything at all that comes is an answer.
  liveness.received(12_000);
  assert.equal(liveness.look(15_040), undefined);
  liveness.sent(16_000);
  liveness.sent(17_000);
  assert.deepEqual([liveness.look(17_999), liveness.look(18_000)], [undefined, "ping"]);
  liveness.received(18_001);
  assert.equal(liveness.look(20_001), undefined, "what was sent has been followed by something");
});

test("listeners hear everything in the same order, and one that throws disturbs nobody", async () => {
  const listeners = new Listeners<number>();
  const heard: string[] = [];
  listeners.add((n) => {
    heard.push(`a${n}`);
    if (n === 1) listeners.tell(2);
  });
  const stop = listeners.add((n) => heard.push(`b${n}`));
  listeners.tell(1);
  stop();
  stop();
  listeners.tell(3);
  assert.deepEqual(heard, ["a1", "b1", "a2", "b2", "a3"]);
});

test("codes that are not known go by their range; statuses are codes", () => {
  assert.deepEqual([0x0ff, 0x1ff, 0x2ff, 0x3ff, 0xffff].map(actionOf), ["nothing", "retry", "new_token", "stop", "stop"]);
  assert.deepEqual([nameOf(0x304), nameOf(0x3ff)], ["FORBIDDEN", "0x3ff"]);
  assert.deepEqual([4256, 1000, 1001, 1002, 1003, 1007, 1009].map(codeOfStatus), [0x100, 0, 0, 0x300, 0x300, 0x300, 0x302]);
  assert.deepEqual([1005, 1006, 1011, 3000].map(codeOfStatus), [undefined, undefined, undefined, undefined]);
});

test("addresses as people write them", () => {
  const page = { protocol: "https:", host: "chat.example:8443" };
  const cases: [string | undefined, typeof page | undefined, string][] = [
    ["ws://127.0.0.1:4433", undefined, "ws://127.0.0.1:4433/v1/ws"],
    ["wss://host:4433/", undefined, "wss://host:4433/v1/ws"],
    ["https://host/quoth/?a#b", undefined, "wss://host/quoth/v1/ws"],
    ["http://host/v1/ws", undefined, "ws://host/v1/ws"],
    ["localhost:4433", undefined, "ws://localhost:4433/v1/ws"],
    ["[::1]:4433", undefined, "ws://[::1]:4433/v1/ws"],
    ["chat.example:4433", undefined, "wss://chat.example:4433/v1/ws"],
    ["localhost:4433", page, "wss://localhost:4433/v1/ws"],
    [undefined, page, "wss://chat.example:8443/v1/ws"],
    ["/proxy", page, "wss://chat.example:8443/proxy/v1/ws"],
    [undefined, { protocol: "http:", host: "127.0.0.1:8080" }, "ws://127.0.0.1:8080/v1/ws"],
  ];
  for (const [given, from, expected] of cases) assert.equal(webSocketUrl(given, from), expected, given);
  for (const bad of ["ftp://host", "https://", "a b", ""]) {
    assert.throws(() => webSocketUrl(bad, undefined), { code: "BAD_ARGUMENT", message: /write wss:/ }, bad);
  }
  assert.throws(() => webSocketUrl(undefined, { protocol: "file:", host: "" }), { code: "BAD_ARGUMENT" });
});

test("who begins to read while an answer is under way is judged by the next one", async () => {
  const reading = new Reading(
    () => {},
    () => {},
  );
  const first = reading.read({ after: 0 });
  assert.deepEqual(reading.begin(), { after: 0 });
  // It has heard of more by another way than the server had when it was asked.
  const second = reading.read({ after: 10 });
  reading.opened(3, 1);
  assert.deepEqual(reading.ask(), { type: "read", from: { after: 0 } });
  reading.opened(12, 1);
  reading.take({ type: "gap", from: 1, to: 12 }, 1);
  for (const reader of [first, second]) {
    const { value } = await reader.next();
    assert.deepEqual([value?.type, value?.type === "gap" && value.to], ["gap", 12]);
  }
});
