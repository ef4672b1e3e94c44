/** The server's half of the codec: what clients send is decoded, what servers send is encoded. */
import type { Start } from "../../src/api.js";
import { ByteReader, ByteWriter } from "../../src/wire/bytes.js";
import type { ClientFrame, FetchRange, ServerFrame } from "../../src/wire/frames.js";

/** A client's frame without its length. */
export function decodeClientFrame(bytes: Uint8Array): ClientFrame {
  const from = new ByteReader(bytes);
  const frame = readFrame(from);
  from.end();
  return frame;
}

function readFrame(from: ByteReader): ClientFrame {
  const variant = from.u32();
  switch (variant) {
    case 0: {
      if (from.u32() !== 1) throw new Error("another version");
      const features = from.number();
      return { type: "hello", features, token: from.text(), device: from.text(), platform: from.text(), client: from.text() };
    }
    case 1:
      return { type: "refresh", token: from.text() };
    case 2:
      return { type: "open", conversation: from.text(), producer: BigInt(from.u64()), from: from.option(() => readStart(from)) };
    case 3:
      return { type: "read", from: from.option(() => readStart(from)) };
    case 4:
      return {
        type: "publish",
        n: from.u64(),
        body: from.bytes().slice(),
        publishAs: from.option(() => from.text()),
        originTimeMs: from.option(() => from.number()),
      };
    case 5:
      return { type: "fetch", conversation: from.text(), range: readRange(from), limit: from.u32() };
    case 6:
      return { type: "typing", conversation: from.text() };
    case 7:
      return { type: "seen", seq: from.number() };
    default:
      throw new Error(`client frame ${variant}`);
  }
}

function readStart(from: ByteReader): Start {
  const variant = from.u32();
  return variant === 0 ? { after: from.number() } : variant === 1 ? { last: from.u32() } : "live";
}

function readRange(from: ByteReader): FetchRange {
  const variant = from.u32();
  return variant === 0 ? { after: from.number() } : variant === 1 ? { before: from.number() } : "latest";
}

/** A server's frame with its length in front. An event without a body is one of an unknown kind. */
export function encodeServerFrame(frame: ServerFrame): Uint8Array {
  const to = new ByteWriter();
  writeFrame(to, frame);
  return new ByteWriter().bytes(to.finish()).finish();
}

function writeFrame(to: ByteWriter, frame: ServerFrame): ByteWriter {
  switch (frame.type) {
    case "welcome":
      to.varint(0).varint(frame.version).varint(frame.features).text(frame.user);
      to.varint(frame.durability === "memory" ? 0 : 1).varint(frame.timeMs).varint(frame.openConversationsMax);
      return to.text(frame.server);
    case "go_away":
      return to.varint(1).varint(frame.code).varint(frame.retryAfterMs);
    case "token_expiring":
      return to.varint(2).varint(frame.inMs);
    case "opened":
      return to.varint(3).varint(frame.head).varint(frame.floor);
    case "event":
      to.varint(4).varint(frame.seq).varint(frame.timeMs).text(frame.sender);
      to.option(frame.originTimeMs, (time) => to.varint(time));
      return frame.body ? to.varint(0).bytes(frame.body) : to.varint(99).text("of the future");
    case "ack":
      return to.varint(5).varint(frame.n).varint(frame.seq).varint(frame.timeMs).byte(frame.duplicate ? 1 : 0);
    case "refused":
      return to.varint(6).varint(frame.n).varint(frame.code);
    case "gap":
      return to.varint(7).varint(frame.from).varint(frame.to);
    case "page_end":
      return to.varint(8).varint(frame.head).varint(frame.floor).byte(frame.more ? 1 : 0);
    case "typing":
      return to.varint(9).text(frame.conversation).text(frame.user);
    case "roster":
      to.varint(10).varint(frame.users).varint(frame.present.length);
      for (const { user, seen } of frame.present) to.text(user).varint(seen);
      return to;
  }
}
