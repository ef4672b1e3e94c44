/** All lanes of one connection. No IO: messages go in by `receive` and come out by `takeMessages`. */
import { DecodeError } from "../wire/bytes.js";
import { decodeFrame, splitFrames } from "../wire/frames.js";
import { decodeLane, encodeLane, type LaneMessage } from "../wire/lanes.js";
import { MESSAGE_BYTES_MAX } from "../wire/limits.js";
import { Lane, type LaneKind, type LaneUser } from "./lane.js";

export interface MuxOwner {
  /** There is something to send: call `takeMessages` soon. */
  wake(): void;
  /** The server has answered a ping. */
  pong(n: number): void;
  /** A lane is over, so that there is room for another one. */
  laneOver(): void;
}

export class Mux {
  /** In the order in which they were opened, which is that of their numbers. */
  private readonly lanes = new Set<Lane>();
  private readonly byNumber = new Map<number, Lane>();
  private nextNumber = 0;
  /** Lanes that were dropped and have an end to tell. */
  private dropped: Lane[] = [];
  private control: Uint8Array<ArrayBuffer>[] = [];

  constructor(private readonly owner: MuxOwner) {}

  /** Lanes that are not over, of one kind or of all. */
  count(kind?: LaneKind): number {
    let count = 0;
    for (const lane of this.lanes) if (kind === undefined || lane.kind === kind) count += 1;
    return count;
  }

  /** Opens the next lane: the server hears of it by its first frame. */
  open(kind: LaneKind, user: LaneUser): Lane {
    const lane = new Lane(kind, user, { wake: () => this.owner.wake(), dropped: (l) => this.drop(l) });
    this.lanes.add(lane);
    // The server may speak on the control lane at any time.
    if (kind === "control") lane.number = this.number(lane);
    return lane;
  }

  ping(n: number): void {
    this.control.push(encodeLane({ lane: 0, part: { type: "ping", n } }));
    this.owner.wake();
  }

  /** Messages that may be sent now, in this order. */
  takeMessages(): Uint8Array<ArrayBuffer>[] {
    const messages = this.dropped.splice(0).flatMap((lane) => lane.takeMessages(() => this.nextNumber));
    for (const lane of [...this.lanes]) {
      const hadRoom = lane.hasRoom;
      messages.push(...lane.takeMessages(() => this.number(lane)));
      if (lane.isOver) this.over(lane);
      else if (!hadRoom && lane.hasRoom) lane.user.writable();
    }
    // Behind the Hello, which must be the first.
    return messages.concat(this.control.splice(0));
  }

  /** Takes a message of the server. Throws a `DecodeError` when the connection cannot go on. */
  receive(message: Uint8Array): void {
    if (message.length > MESSAGE_BYTES_MAX) throw new DecodeError(`a message of ${message.length} bytes`);
    const { lane: number, part } = decodeLane(message);
    if (part.type === "ping" || part.type === "pong") return this.pinged(number, part);
    if (number >= this.nextNumber) throw new DecodeError(`lane ${number} was never opened`);
    const lane = this.byNumber.get(number);
    // It is over: what was on its way is dropped.
    if (!lane) return;
    switch (part.type) {
      case "frames":
        return this.frames(lane, part.bytes, message.length);
      case "finish":
        lane.peerFinished();
        if (lane.isOver) this.over(lane);
        return;
      case "reset":
        this.forget(lane);
        lane.user.reset(part.code);
        return this.owner.laneOver();
      case "credit":
        lane.credited(part.bytes);
        return this.owner.wake();
    }
  }

  /** The connection is gone: tells all lanes. */
  end(): void {
    const lanes = [...this.lanes];
    this.lanes.clear();
    this.byNumber.clear();
    this.dropped = [];
    for (const lane of lanes) lane.user.lost();
  }

  private frames(lane: Lane, bytes: Uint8Array, messageBytes: number): void {
    if (!lane.isReadable) throw new DecodeError("frames behind the end of a lane");
    if (!lane.received(messageBytes)) throw new DecodeError("frames without credit");
    try {
      for (const { frame, size } of splitFrames(bytes)) {
        const decoded = decodeFrame(frame);
        if (decoded) lane.user.frame(decoded, size);
        // Its user may have ended it.
        if (!this.lanes.has(lane)) return;
      }
    } catch (error) {
      if (!(error instanceof DecodeError)) throw error;
      return lane.user.broken(error.message);
    }
    if (lane.owes) this.owner.wake();
  }

  private pinged(number: number, part: LaneMessage["part"] & { type: "ping" | "pong" }): void {
    if (number !== 0) throw new DecodeError(`a ${part.type} on lane ${number}`);
    if (part.type === "pong") return this.owner.pong(Number(part.n));
    this.control.push(encodeLane({ lane: 0, part: { type: "pong", n: part.n } }));
    this.owner.wake();
  }

  private number(lane: Lane): number {
    this.byNumber.set(this.nextNumber, lane);
    return this.nextNumber++;
  }

  private over(lane: Lane): void {
    this.forget(lane);
    lane.user.finished();
    this.owner.laneOver();
  }

  private drop(lane: Lane): void {
    if (!this.lanes.has(lane)) return;
    this.forget(lane);
    this.dropped.push(lane);
    this.owner.laneOver();
  }

  private forget(lane: Lane): void {
    this.lanes.delete(lane);
    if (lane.number !== undefined) this.byNumber.delete(lane.number);
  }
}
