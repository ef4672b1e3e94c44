/** The server's half of the codec: what clients send is decoded, what servers send is encoded. */
import { ByteReader } from "../../src/wire/bytes.js";
import { type ClientFrame, clientFrame, encodeAs, type ServerFrame, serverFrame } from "../../src/wire/frames.js";

/** A client's frame without its length. */
export function decodeClientFrame(bytes: Uint8Array): ClientFrame {
  const from = new ByteReader(bytes);
  const frame = clientFrame.read(from);
  from.end();
  return frame;
}

/** A server's frame with its length in front. An event without a kind is one of an unknown kind. */
export function encodeServerFrame(frame: ServerFrame): Uint8Array {
  if (frame.type !== "event" || frame.kind) return encodeAs(serverFrame, frame);
  const bytes = encodeAs(serverFrame, { ...frame, kind: { type: "invitations_revoked" } });
  bytes[bytes.length - 1] = 99;
  return bytes;
}
