/** Frames (section 3): what clients send is encoded, what servers send is decoded. */
import type { Start } from "../api.js";
import { ByteReader, ByteWriter, DecodeError } from "./bytes.js";
import { FRAME_BYTES_MAX } from "./limits.js";

export const VERSION = 1;

/** Feature bits of `Hello` and `Welcome`. */
export const Feature = { ROSTER: 2 } as const;

export type FetchRange = { after: number } | { before: number } | "latest";

export type ClientFrame =
  | { type: "hello"; features: number; token: string; device: string; platform: string; client: string }
  | { type: "refresh"; token: string }
  | { type: "open"; conversation: string; producer: bigint; from: Start | undefined }
  | { type: "read"; from: Start | undefined }
  | Publish
  | { type: "fetch"; conversation: string; range: FetchRange; limit: number }
  | { type: "typing"; conversation: string }
  | { type: "seen"; seq: number };

export interface Publish {
  type: "publish";
  n: number | bigint;
  body: Uint8Array;
  publishAs?: string | undefined;
  originTimeMs?: number | undefined;
}

export type ServerFrame =
  | WelcomeFrame
  | { type: "go_away"; code: number; retryAfterMs: number }
  | { type: "token_expiring"; inMs: number }
  | { type: "opened"; head: number; floor: number }
  | EventFrame
  | { type: "ack"; n: number; seq: number; timeMs: number; duplicate: boolean }
  | { type: "refused"; n: number; code: number }
  | { type: "gap"; from: number; to: number }
  | { type: "page_end"; head: number; floor: number; more: boolean }
  | { type: "typing"; conversation: string; user: string }
  | { type: "roster"; users: number; present: { user: string; seen: number }[] };

export interface WelcomeFrame {
  type: "welcome";
  version: number;
  features: number | bigint;
  user: string;
  durability: "memory" | "stored";
  timeMs: number;
  openConversationsMax: number;
  server: string;
}

export interface EventFrame {
  type: "event";
  seq: number;
  timeMs: number;
  sender: string;
  originTimeMs: number | undefined;
  /** `undefined` when the event's kind is unknown. */
  body: Uint8Array | undefined;
}

/** A frame with its length in front, as it stands on a lane. */
export function encodeFrame(frame: ClientFrame): Uint8Array<ArrayBuffer> {
  const writer = new ByteWriter();
  write(writer, frame);
  return new ByteWriter().bytes(writer.finish()).finish();
}

function write(to: ByteWriter, frame: ClientFrame): void {
  switch (frame.type) {
    case "hello":
      to.varint(0).varint(VERSION).varint(frame.features);
      to.text(frame.token).text(frame.device).text(frame.platform).text(frame.client);
      return;
    case "refresh":
      to.varint(1).text(frame.token);
      return;
    case "open":
      to.varint(2).text(frame.conversation).varint(frame.producer).option(frame.from, (from) => writeStart(to, from));
      return;
    case "read":
      to.varint(3).option(frame.from, (from) => writeStart(to, from));
      return;
    case "publish":
      to.varint(4).varint(frame.n).bytes(frame.body);
      to.option(frame.publishAs, (user) => to.text(user)).option(frame.originTimeMs, (time) => to.varint(time));
      return;
    case "fetch":
      to.varint(5).text(frame.conversation);
      if (frame.range === "latest") to.varint(2);
      else if ("after" in frame.range) to.varint(0).varint(frame.range.after);
      else to.varint(1).varint(frame.range.before);
      to.varint(frame.limit);
      return;
    case "typing":
      to.varint(6).text(frame.conversation);
      return;
    case "seen":
      to.varint(7).varint(frame.seq);
  }
}

function writeStart(to: ByteWriter, start: Start): void {
  if (start === "live") to.varint(2);
  else if ("after" in start) to.varint(0).varint(start.after);
  else to.varint(1).varint(start.last);
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

/** A frame without its length; `undefined` for a variant that this version does not know, which is to be skipped. */
export function decodeFrame(bytes: Uint8Array): ServerFrame | undefined {
  const reader = new ByteReader(bytes);
  const frame = read(reader);
  // What is unknown is the rest of the frame.
  if (frame && !(frame.type === "event" && !frame.body)) reader.end();
  return frame;
}

function read(from: ByteReader): ServerFrame | undefined {
  switch (from.u32()) {
    case 0:
      return readWelcome(from);
    case 1:
      return { type: "go_away", code: from.u32(), retryAfterMs: from.u32() };
    case 2:
      return { type: "token_expiring", inMs: from.u32() };
    case 3:
      return { type: "opened", head: from.number(), floor: from.number() };
    case 4:
      return readEvent(from);
    case 5:
      return { type: "ack", n: from.number(), seq: from.number(), timeMs: from.number(), duplicate: from.bool() };
    case 6:
      return { type: "refused", n: from.number(), code: from.u32() };
    case 7:
      return { type: "gap", from: from.number(), to: from.number() };
    case 8:
      return { type: "page_end", head: from.number(), floor: from.number(), more: from.bool() };
    case 9:
      return { type: "typing", conversation: from.text(), user: from.text() };
    case 10:
      return { type: "roster", users: from.u32(), present: readPresent(from) };
    default:
      return undefined;
  }
}

function readWelcome(from: ByteReader): WelcomeFrame {
  return {
    type: "welcome",
    version: from.u32(),
    features: from.u64(),
    user: from.text(),
    durability: readDurability(from.u32()),
    timeMs: from.number(),
    openConversationsMax: from.u32(),
    server: from.text(),
  };
}

function readDurability(variant: number): "memory" | "stored" {
  if (variant > 1) throw new DecodeError(`${variant} is no durability`);
  return variant === 0 ? "memory" : "stored";
}

function readEvent(from: ByteReader): EventFrame {
  return {
    type: "event",
    seq: from.number(),
    timeMs: from.number(),
    sender: from.text(),
    originTimeMs: from.option(() => from.number()),
    // A copy: what came in the same message is not kept alive by it.
    body: from.u32() === 0 ? from.bytes().slice() : undefined,
  };
}

function readPresent(from: ByteReader): { user: string; seen: number }[] {
  const present = [];
  for (let left = from.number(); left > 0; left--) present.push({ user: from.text(), seen: from.number() });
  return present;
}
