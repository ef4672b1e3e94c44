/** Lane messages (section 9): what stands in one binary message of the WebSocket. */
import { ByteReader, ByteWriter, DecodeError, varintLength } from "./bytes.js";

export type Part =
  | { type: "frames"; bytes: Uint8Array }
  | { type: "finish" }
  | { type: "reset"; code: number }
  | { type: "credit"; bytes: number }
  | { type: "ping"; n: number | bigint }
  | { type: "pong"; n: number | bigint };

export interface LaneMessage {
  lane: number;
  part: Part;
}

export function encodeLane({ lane, part }: LaneMessage): Uint8Array<ArrayBuffer> {
  const to = new ByteWriter().varint(lane);
  switch (part.type) {
    case "frames":
      return to.byte(0).raw(part.bytes).finish();
    case "finish":
      return to.byte(1).finish();
    case "reset":
      return to.byte(2).varint(part.code).finish();
    case "credit":
      return to.byte(3).varint(part.bytes).finish();
    case "ping":
      return to.byte(4).varint(part.n).finish();
    case "pong":
      return to.byte(5).varint(part.n).finish();
  }
}

/** The bytes of a message besides its frames. */
export function overheadOf(lane: number): number {
  return varintLength(lane) + 1;
}

export function decodeLane(bytes: Uint8Array): LaneMessage {
  const from = new ByteReader(bytes);
  const message = { lane: from.u32(), part: readPart(from) };
  from.end();
  return message;
}

function readPart(from: ByteReader): Part {
  const variant = from.u32();
  switch (variant) {
    case 0:
      if (from.isAtEnd) throw new DecodeError("a message without a frame");
      return { type: "frames", bytes: from.rest() };
    case 1:
      return { type: "finish" };
    case 2:
      return { type: "reset", code: from.u32() };
    case 3:
      return { type: "credit", bytes: from.u32() };
    case 4:
      return { type: "ping", n: from.u64() };
    case 5:
      return { type: "pong", n: from.u64() };
    default:
      throw new DecodeError(`${variant} is no part of a lane message`);
  }
}
