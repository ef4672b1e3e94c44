/** The bytes of every frame and lane message, against the file that all implementations share. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { decodeFrame, encodeFrame, type ServerFrame, splitFrames, type ClientFrame } from "../src/wire/frames.js";
import { decodeLane, encodeLane, type LaneMessage } from "../src/wire/lanes.js";
import { ByteReader } from "../src/wire/bytes.js";
import { reply, request } from "../src/wire/requests.js";
import { contents, events, message, replies, requests, rows, states, timeMs, utf8 } from "./support/golden.js";
import { decodeClientFrame, encodeServerFrame } from "./support/server-codec.js";

const producer = 0x0123_4567_89ab_cdefn;

const clientFrames: Record<string, ClientFrame> = {
  Hello: {
    type: "hello",
    version: 1,
    features: 1,
    token: "header.claims.signature",
    device: "laptop",
    generation: 1_790_000_000_000,
    platform: "linux",
    client: "quoth/0.1.0",
  },
  Refresh: { type: "refresh", token: "t" },
  "Open write only": { type: "open", conversation: "general", producer, from: undefined },
  "Open after": { type: "open", conversation: "general", producer, from: { after: 300 } },
  "Open last": { type: "open", conversation: "general", producer, from: { last: 50 } },
  "Open live": { type: "open", conversation: "general", producer, from: "live" },
  Read: { type: "read", from: { after: 0 } },
  "Read stop": { type: "read", from: undefined },
  Publish: { type: "publish", n: 1, body: utf8("hello") },
  "Publish empty": { type: "publish", n: 127, body: utf8("") },
  "Publish as": {
    type: "publish",
    n: 2n ** 64n - 1n,
    body: utf8("grüße"),
    publishAs: "bob",
    originTimeMs: 1_103_966_040_000,
  },
  "Publish reply": {
    type: "publish",
    n: 9,
    body: utf8("@bob yes"),
    replyTo: 300,
    mentions: ["bob", "carol"],
    expiresInMs: 60_000,
  },
  "Publish 200 bytes": { type: "publish", n: 128, body: utf8("a".repeat(200)) },
  "Fetch after": { type: "fetch", conversation: "general", range: { after: 128 }, limit: 100 },
  "Fetch before": { type: "fetch", conversation: "general", range: { before: 1 }, limit: 1_000 },
  "Fetch latest": { type: "fetch", conversation: "general", range: "latest", limit: 50 },
  "Fetch around": { type: "fetch", conversation: "general", range: { around: 300 }, limit: 50 },
  "Fetch after time": { type: "fetch", conversation: "general", range: { afterTime: timeMs }, limit: 50 },
  "Fetch before time": { type: "fetch", conversation: "general", range: { beforeTime: timeMs }, limit: 50 },
  "Fetch around time": { type: "fetch", conversation: "general", range: { aroundTime: timeMs }, limit: 50 },
  Typing: { type: "typing", conversation: "general" },
  Seen: { type: "seen", seq: 300 },
  Status: { type: "status", away: true },
  ...requests,
};

const serverFrames: Record<string, ServerFrame> = {
  Welcome: {
    type: "welcome",
    version: 1,
    features: 1,
    user: "alice",
    durability: "stored",
    timeMs: 1_790_000_000_000,
    openConversationsMax: 48,
    server: "quoth-server/0.1.0",
  },
  GoAway: { type: "go_away", code: 0x100, retryAfterMs: 1_000, reason: "" },
  "GoAway kicked": { type: "go_away", code: 0x309, retryAfterMs: 0, reason: "bye" },
  TokenExpiring: { type: "token_expiring", inMs: 60_000 },
  "Opened empty": { type: "opened", head: 0, floor: 1, store: 1 },
  Opened: { type: "opened", head: 12_345, floor: 1, store: 123_456_789 },
  Event: message(1, "hello"),
  "Event imported": {
    type: "event",
    seq: 300,
    timeMs: 1_790_000_000_000,
    sender: "bob",
    originTimeMs: 1_103_966_040_000,
    kind: { type: "message", body: utf8("grüße") },
  },
  "Event 200 bytes": message(16_384, "a".repeat(200)),
  Ack: { type: "ack", n: 1, seq: 1, timeMs: 1_790_000_000_000, duplicate: false },
  "Ack duplicate": { type: "ack", n: 1, seq: 1, timeMs: 1_790_000_000_000, duplicate: true },
  Refused: { type: "refused", n: 7, code: 0x307, retryAfterMs: 0, reason: "" },
  "Refused for a while": { type: "refused", n: 8, code: 0x106, retryAfterMs: 2_500, reason: "" },
  "Refused for a reason": { type: "refused", n: 9, code: 0x30f, retryAfterMs: 0, reason: "not here" },
  Gap: { type: "gap", from: 1, to: 1_000 },
  PageEnd: { type: "page_end", head: 12_345, floor: 1, from: 300, to: 349, moreBefore: true, moreAfter: true },
  "PageEnd empty": { type: "page_end", head: 12_345, floor: 1, from: 1, to: 0, moreBefore: false, moreAfter: true },
  Typing: { type: "typing", conversation: "general", user: "bob" },
  "Roster empty": { type: "roster", users: 0, present: [] },
  Roster: {
    type: "roster",
    users: 70,
    present: [
      { user: "alice", seen: 0, status: "online" },
      { user: "bob", seen: 300, status: "away" },
    ],
  },
  Presence: { type: "presence", conversation: "general", user: "bob", status: "away", lastSeenMs: timeMs },
  Receipt: { type: "receipt", user: "bob", delivered: 300, read: 299 },
  ...events,
  ...replies,
  ...states,
  ...rows,
};

const encodedTwice = encodeFrame({ type: "seen", seq: 300 });
const laneMessages: Record<string, LaneMessage> = {
  "Frames of the control lane": {
    lane: 0,
    part: { type: "frames", bytes: encodeFrame({ type: "typing", conversation: "general" }) },
  },
  "Frames two": { lane: 300, part: { type: "frames", bytes: new Uint8Array([...encodedTwice, ...encodedTwice]) } },
  Finish: { lane: 1, part: { type: "finish" } },
  Reset: { lane: 127, part: { type: "reset", code: 0x101 } },
  Credit: { lane: 128, part: { type: "credit", bytes: 65_536 } },
  Ping: { lane: 0, part: { type: "ping", n: 7 } },
  Pong: { lane: 0, part: { type: "pong", n: 2n ** 64n - 1n } },
};

function golden(side: string): Map<string, Uint8Array> {
  const lines = readFileSync("../../protocol/golden/frames.txt", "utf8").split("\n");
  const entries = lines.map((line) => line.split(" | ")).filter(([of]) => of === side);
  return new Map(entries.map(([, name = "", hex = ""]) => [name, new Uint8Array(Buffer.from(hex, "hex"))]));
}

function withoutLength(bytes: Uint8Array): Uint8Array {
  const [first, ...others] = [...splitFrames(bytes)];
  assert.deepEqual([first?.size, others], [bytes.length, []]);
  return first?.frame ?? new Uint8Array();
}

function isComplete(side: string, known: object): void {
  assert.deepEqual([...golden(side).keys()].sort(), Object.keys(known).sort(), `the ${side} entries of the golden file`);
}

/** Without what says nothing, which is the same as what is left out. */
function said(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(said);
  if (typeof value !== "object" || value === null || value instanceof Uint8Array) return value;
  const isSaid = ([key, inner]: [string, unknown]) =>
    inner !== undefined && !(key.startsWith("expires") && inner === 0) && !(key === "mentions" && Array.isArray(inner) && inner.length === 0);
  const entries = Object.entries(value).filter(isSaid);
  return Object.fromEntries(entries.map(([key, inner]) => [key, said(inner)]));
}

test("client frames have their golden bytes, in both directions", () => {
  isComplete("client", clientFrames);
  for (const [name, bytes] of golden("client")) {
    const frame = clientFrames[name] as ClientFrame;
    assert.deepEqual(encodeFrame(frame), bytes, name);
    assert.deepEqual(said(decodeClientFrame(withoutLength(bytes))), said(frame), name);
  }
});

test("server frames have their golden bytes, in both directions", () => {
  isComplete("server", serverFrames);
  for (const [name, bytes] of golden("server")) {
    const frame = serverFrames[name] as ServerFrame;
    assert.deepEqual(said(decodeFrame(withoutLength(bytes))), said(frame), name);
    assert.deepEqual(encodeServerFrame(frame), bytes, name);
  }
});

test("requests and replies decode to what was encoded, and not when they are cut short or longer", () => {
  for (const [name, frame] of Object.entries({ ...requests, ...replies })) {
    const bytes = frame.type === "request" ? frame.request : frame.type === "reply" ? frame.reply : assert.fail(name);
    const read = (from: Uint8Array) => {
      const reader = new ByteReader(from);
      const value = frame.type === "request" ? request.read(reader) : reply.read(reader);
      reader.end();
      return value;
    };
    assert.deepEqual(said(read(bytes)), said(contents.get(name)), name);
    for (let length = 0; length < bytes.length; length++) {
      assert.throws(() => read(bytes.subarray(0, length)), { name: "DecodeError" }, `${name}, ${length} bytes`);
    }
    assert.throws(() => read(new Uint8Array([...bytes, 0])), { name: "DecodeError" }, `${name}, a byte more`);
  }
});

test("lane messages have their golden bytes, in both directions", () => {
  isComplete("lane", laneMessages);
  for (const [name, bytes] of golden("lane")) {
    const message = laneMessages[name] as LaneMessage;
    assert.deepEqual(encodeLane(message), bytes, name);
    assert.deepEqual(decodeLane(bytes), message, name);
  }
});

test("golden frames that are cut short, or longer, do not decode", () => {
  for (const [name, bytes] of golden("server")) {
    // What these hold is decoded by whoever has asked.
    if (/^(Reply|MessageState|InboxRow)/.test(name)) continue;
    const frame = withoutLength(bytes);
    for (let length = 0; length < frame.length; length++) {
      assert.throws(() => decodeFrame(frame.subarray(0, length)), { name: "DecodeError" }, `${name}, ${length} bytes`);
    }
    assert.throws(() => decodeFrame(new Uint8Array([...frame, 0])), { name: "DecodeError" }, `${name}, a byte more`);
  }
});
