/** Frames (section 3), with and without their lengths. */
import { ByteReader, ByteWriter, DecodeError } from "./bytes.js";
import { FRAME_BYTES_MAX } from "./limits.js";
import { kinds, mentions, status, zero } from "./kinds.js";
import { big, bool, bytes, growing, list, names, number, option, type Of, place, rest, struct, text, type Type, u32, u64, variant } from "./schema.js";

export const VERSION = 1;

/** Feature bits of `Hello` and `Welcome`. */
export const Feature = { ROSTER: 2, MEMBERSHIP: 4, MESSAGES: 8 } as const;

const start = place("live", "after", "last", "live");
const fetchRange = place("latest", "after", "before", "latest", "around", "afterTime", "beforeTime", "aroundTime");
const conversation = text;
const user = text;

export const clientFrame = variant({
  hello: { version: u32, features: u64, token: text, device: text, generation: number, platform: text, client: text },
  refresh: { token: text },
  open: { conversation, producer: big, from: option(start) },
  read: { from: option(start) },
  publish: {
    n: u64,
    body: bytes,
    publishAs: option(user),
    originTimeMs: option(number),
    replyTo: option(number),
    mentions,
    expiresInMs: zero,
  },
  fetch: { conversation, range: fetchRange, limit: u32 },
  typing: { conversation },
  seen: { seq: number },
  /** `request` and `reply` are encoded apart (requests.ts). */
  request: { id: u32, request: rest },
  status: { away: bool },
});

export const serverFrame = growing({
  welcome: {
    version: u32,
    features: u64,
    user,
    durability: names("memory", "stored"),
    timeMs: number,
    openConversationsMax: u32,
    server: text,
  },
  go_away: { code: u32, retryAfterMs: u32, reason: text },
  token_expiring: { inMs: u32 },
  opened: { head: number, floor: number, store: number },
  /** `kind` is `undefined` when it is unknown. */
  event: { seq: number, timeMs: number, sender: user, originTimeMs: option(number), kind: growing(kinds) },
  ack: { n: number, seq: number, timeMs: number, duplicate: bool },
  refused: { n: number, code: u32, retryAfterMs: u32, reason: text },
  gap: { from: number, to: number },
  page_end: { head: number, floor: number, from: number, to: number, moreBefore: bool, moreAfter: bool },
  typing: { conversation, user },
  roster: { users: u32, present: list(struct({ user, seen: number, status })) },
  reply: { id: u32, reply: rest },
  presence: { conversation, user, status, lastSeenMs: number },
  /** `message_state` and `inbox_row` are encoded apart (messages.ts). */
  message_state: { state: rest },
  receipt: { user, delivered: number, read: number },
  inbox_row: { known: number, row: rest },
});

export type ClientFrame = Of<typeof clientFrame>;
export type ServerFrame = NonNullable<Of<typeof serverFrame>>;
export type FetchRange = Of<typeof fetchRange>;
export type Publish = ClientFrame & { type: "publish" };
export type WelcomeFrame = ServerFrame & { type: "welcome" };
export type EventFrame = ServerFrame & { type: "event" };

/** A client's frame with its length in front, as it stands on a lane. */
export function encodeFrame(frame: ClientFrame): Uint8Array<ArrayBuffer> {
  return encodeAs(clientFrame, frame);
}

/** A frame of either side with its length in front. */
export function encodeAs<T>(side: Type<T>, frame: T): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter();
  side.write(writer, frame);
  return new ByteWriter().bytes(writer.finish()).finish();
}

/** The frames that stand one after the other, each with the bytes that it takes there. */
export function* splitFrames(bytes: Uint8Array): Generator<{ frame: Uint8Array; size: number }> {
  const reader = new ByteReader(bytes);
  for (let left = bytes.length; left > 0; ) {
    const length = reader.u32();
    if (length > FRAME_BYTES_MAX) throw new DecodeError(`a frame of ${length} bytes`);
    const frame = reader.take(length);
    const size = left - (left = reader.left);
    yield { frame, size };
  }
}

/** A server's frame without its length; `undefined` for a variant that this version does not know, which is to be skipped. */
export function decodeFrame(bytes: Uint8Array): ServerFrame | undefined {
  const reader = new ByteReader(bytes);
  const frame = serverFrame.read(reader);
  // What is unknown is the rest of the frame.
  if (frame && !(frame.type === "event" && !frame.kind)) reader.end();
  return frame;
}
