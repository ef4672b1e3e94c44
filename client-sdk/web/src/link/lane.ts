/** One lane: what waits to be sent on it, and the credit of both directions. No IO: the mux sends. */
import { type ClientFrame, encodeFrame, type ServerFrame } from "../wire/frames.js";
import { encodeLane, overheadOf } from "../wire/lanes.js";
import { CLIENT_CREDIT_BYTES, SERVER_CREDIT_BYTES } from "../wire/limits.js";

/** Credit is given back in steps of this size, so that it costs few messages. */
const CREDIT_STEP_BYTES = SERVER_CREDIT_BYTES / 4;

/** Frames are put together into messages of about this size: not so large that other lanes wait for long. */
const MESSAGE_BYTES = 8_192;

/** Bytes that wait on a lane before its user should wait. */
const BACKLOG_BYTES = 65_536;

export type LaneKind = "control" | "conversation" | "page";

/** What a lane tells its user. After `finished`, `reset` or `lost` there is nothing more. */
export interface LaneUser {
  /** `size` is what the frame has cost of the lane's credit. */
  frame(frame: ServerFrame, size: number): void;
  /** There is room to send again. */
  writable(): void;
  /** Both sides have finished. */
  finished(): void;
  reset(code: number): void;
  /** What came is no frame: the user must end the lane. */
  broken(text: string): void;
  /** The connection is gone. */
  lost(): void;
}

/** What a lane asks of its mux. */
export interface LaneOwner {
  /** The lane has something to send. */
  wake(): void;
  /** The lane is over by this side's will. */
  dropped(lane: Lane): void;
}

export class Lane {
  /** Given when its first message is sent: no number may be left out. */
  number: number | undefined;
  private frames: Uint8Array[] = [];
  private backlog = 0;
  private sendCredit = CLIENT_CREDIT_BYTES;
  private receiveCredit = SERVER_CREDIT_BYTES;
  private held = 0;
  private toFinish = false;
  private hasFinished = false;
  private isPeerFinished = false;
  private resetCode: number | undefined;

  constructor(
    readonly kind: LaneKind,
    readonly user: LaneUser,
    private readonly owner: LaneOwner,
  ) {}

  /** Whether a user with much to send should go on. */
  get hasRoom(): boolean {
    return this.backlog < BACKLOG_BYTES && !this.toFinish;
  }

  send(frame: ClientFrame): void {
    const bytes = encodeFrame(frame);
    this.frames.push(bytes);
    this.backlog += bytes.length;
    this.owner.wake();
  }

  /** Nothing more will be sent; what waits still is. */
  finish(): void {
    this.toFinish = true;
    this.owner.wake();
  }

  /** Ends both directions; what waits is dropped. */
  reset(code: number): void {
    this.resetCode = code;
    this.clear();
    this.owner.wake();
    this.owner.dropped(this);
  }

  /** So many bytes of what came are not taken yet by the application: the server gets no credit for them. */
  hold(bytes: number): void {
    this.held = bytes;
    if (this.owes) this.owner.wake();
  }

  /** Whether there is credit to give back. */
  get owes(): boolean {
    return this.owed() > 0;
  }

  /** Messages that may be sent now; `number` is given to a lane that has none. */
  takeMessages(number: () => number): Uint8Array<ArrayBuffer>[] {
    const messages = [];
    if (this.resetCode !== undefined) {
      // A lane of which the server knows nothing needs no end.
      if (this.number !== undefined) {
        messages.push(encodeLane({ lane: this.number, part: { type: "reset", code: this.resetCode } }));
      }
      return messages;
    }
    while (this.frames.length > 0 && this.sendCredit > 0) {
      this.number ??= number();
      const message = encodeLane({ lane: this.number, part: { type: "frames", bytes: this.takeFrames() } });
      this.sendCredit -= message.length;
      messages.push(message);
    }
    if (this.number === undefined) return messages;
    if (this.toFinish && this.frames.length === 0 && !this.hasFinished) {
      this.hasFinished = true;
      messages.push(encodeLane({ lane: this.number, part: { type: "finish" } }));
    }
    const owed = this.owed();
    if (owed > 0) {
      this.receiveCredit += owed;
      messages.push(encodeLane({ lane: this.number, part: { type: "credit", bytes: owed } }));
    }
    return messages;
  }

  /** A message of frames has come; whether the server had the credit for it. */
  received(messageBytes: number): boolean {
    if (this.receiveCredit <= 0) return false;
    this.receiveCredit -= messageBytes;
    return true;
  }

  credited(bytes: number): void {
    this.sendCredit += bytes;
  }

  /** The server has finished its side: it takes nothing more either, and this side finishes as well. */
  peerFinished(): void {
    this.isPeerFinished = true;
    this.clear();
    this.finish();
  }

  get isOver(): boolean {
    return this.resetCode !== undefined || (this.hasFinished && this.isPeerFinished);
  }

  /** Whether the server may still send frames here. */
  get isReadable(): boolean {
    return !this.isPeerFinished;
  }

  private takeFrames(): Uint8Array {
    const size = MESSAGE_BYTES - overheadOf(this.number ?? 0);
    let [count, bytes] = [0, 0];
    for (const frame of this.frames) {
      if (count > 0 && bytes + frame.length > size) break;
      count += 1;
      bytes += frame.length;
    }
    const taken = new Uint8Array(bytes);
    let at = 0;
    for (const frame of this.frames.splice(0, count)) {
      taken.set(frame, at);
      at += frame.length;
    }
    this.backlog -= bytes;
    return taken;
  }

  private clear(): void {
    this.frames = [];
    this.backlog = 0;
  }

  private owed(): number {
    const owed = SERVER_CREDIT_BYTES - this.receiveCredit - this.held;
    return owed >= CREDIT_STEP_BYTES && !this.isPeerFinished ? owed : 0;
  }
}
