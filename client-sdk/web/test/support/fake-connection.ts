/** One connection of the fake server. */
import type { WebSocket } from "ws";
import { decodeLane, encodeLane, type Part } from "../../src/wire/lanes.js";
import { type ClientFrame, type ServerFrame, splitFrames } from "../../src/wire/frames.js";
import { CLIENT_CREDIT_BYTES, SERVER_CREDIT_BYTES } from "../../src/wire/limits.js";
import { Code, statusOf } from "../../src/wire/codes.js";
import type { FakeServer } from "./fake-server.js";
import { FakeLane } from "./fake-lane.js";
import { decodeClientFrame, encodeServerFrame } from "./server-codec.js";

export class FakeConnection {
  readonly lanes = new Map<number, FakeLane>();
  user: string | undefined;
  hello: (ClientFrame & { type: "hello" }) | undefined;
  isLeaving = false;
  /** Publishes that came behind a GoAway. */
  ignored = 0;
  private nextLane = 0;
  /** It has not heard something, so what comes behind that makes no sense to it. */
  private hasMissed = false;
  /** What came on other lanes before the sign-in. */
  private waiting: (() => void)[] = [];

  constructor(
    readonly server: FakeServer,
    private readonly socket: WebSocket,
  ) {
    socket.on("message", (data: Buffer, isBinary: boolean) => {
      if (!isBinary) return this.violation("text");
      // What a cut connection has received already is lost with it.
      if (socket.readyState !== 1) return;
      if (server.cut("in")) return this.cut();
      this.hasMissed ||= server.isSilent;
      if (!this.hasMissed) this.receive(new Uint8Array(data));
    });
    socket.on("error", () => {});
  }

  cut(): void {
    this.socket.terminate();
    this.server.connections.delete(this);
  }

  close(code: number): void {
    this.socket.close(statusOf(code), "");
    this.server.connections.delete(this);
  }

  /** Tells the client to go, sends what waits and closes. */
  goAway(code: number, retryAfterMs: number, closeAfterMs = 5, reason = ""): void {
    this.frame(0, { type: "go_away", code, retryAfterMs, reason });
    this.isLeaving = true;
    setTimeout(() => this.close(code), closeAfterMs);
  }

  violation(text: string): void {
    this.server.violations.push(text);
    this.close(Code.PROTOCOL);
  }

  deliver(): void {
    for (const lane of this.lanes.values()) lane.deliver();
  }

  /** Sends a frame on a lane, whatever its credit is. */
  frame(lane: number, frame: ServerFrame): void {
    this.frames(lane, encodeServerFrame(frame));
  }

  frames(number: number, bytes: Uint8Array): void {
    const lane = this.lanes.get(number);
    const message = encodeLane({ lane: number, part: { type: "frames", bytes } });
    if (lane) lane.sendCredit -= message.length;
    this.send(message);
  }

  part(lane: number, part: Part): void {
    this.send(encodeLane({ lane, part }));
  }

  send(message: Uint8Array): void {
    if (this.socket.readyState !== 1 || this.server.isSilent) return;
    if (this.server.cut("out")) return this.cut();
    this.socket.send(message);
  }

  private receive(message: Uint8Array): void {
    if (this.user === undefined && message.length > 8_208) return this.violation(`${message.length} bytes before Welcome`);
    if (message.length > 73_744) return this.violation(`a message of ${message.length} bytes`);
    const { lane: number, part } = decodeLane(message);
    if (part.type === "ping") return this.part(0, { type: "pong", n: part.n });
    if (number === this.nextLane && part.type === "frames") this.openLane(number);
    if (number >= this.nextLane) return this.violation(`${part.type} on lane ${number} before ${this.nextLane}`);
    const lane = this.lanes.get(number);
    if (!lane) return;
    switch (part.type) {
      case "frames":
        if (number === 0 || this.user !== undefined) return this.take(lane, part.bytes, message.length);
        this.waiting.push(() => this.take(lane, part.bytes, message.length));
        return;
      case "finish":
        return lane.finished();
      case "reset":
        this.lanes.delete(number);
        return;
      case "credit":
        lane.sendCredit += part.bytes;
        if (lane.sendCredit > SERVER_CREDIT_BYTES) return this.violation("more credit than a lane has");
        return lane.deliver();
    }
  }

  private openLane(number: number): void {
    this.nextLane += 1;
    this.lanes.set(number, new FakeLane(this, number));
    const max = this.user === undefined ? 4 : this.server.openConversationsMax + 5;
    if (this.lanes.size > max) this.violation(`${this.lanes.size} lanes at once`);
  }

  private take(lane: FakeLane, bytes: Uint8Array, size: number): void {
    if (lane.receiveCredit <= 0) return this.violation(`lane ${lane.number} has no credit`);
    lane.receiveCredit -= size;
    for (const { frame } of splitFrames(bytes)) {
      // What stands behind a frame for which the lane was reset is dropped.
      if (!this.lanes.has(lane.number)) return;
      const decoded = decodeClientFrame(frame);
      if (lane.number === 0) this.control(decoded);
      else lane.take(decoded);
    }
    const owed = CLIENT_CREDIT_BYTES - lane.receiveCredit;
    if (owed > CLIENT_CREDIT_BYTES / 4 && !this.server.withholdsCredit && this.lanes.has(lane.number)) {
      lane.receiveCredit += owed;
      this.part(lane.number, { type: "credit", bytes: owed });
    }
  }

  private control(frame: ClientFrame): void {
    switch (frame.type) {
      case "hello":
        if (this.hello) return this.violation("a second Hello");
        this.hello = frame;
        this.server.generations.push(frame.generation);
        this.server.tokens.push(frame.token);
        // A token takes its time.
        setTimeout(() => this.signIn(frame.token), 1);
        return;
      case "refresh":
        this.server.tokens.push(frame.token);
        return;
      case "typing":
        this.server.typings.push(`${this.user} ${frame.conversation}`);
        for (const other of this.server.connections) {
          if (other !== this && other.reads(frame.conversation)) {
            other.frame(0, { type: "typing", conversation: frame.conversation, user: this.user ?? "" });
          }
        }
        return;
      case "request":
        if (!(this.server.features & 4)) return this.violation("a request without the feature");
        return this.server.requests.take(this, frame.id, frame.request);
      case "status":
        if (!(this.server.features & 4)) return this.violation("a status without the feature");
        this.server.requests.statuses.push(frame.away);
        return;
      default:
        this.violation(`${frame.type} on the control lane`);
    }
  }

  private reads(conversation: string): boolean {
    return [...this.lanes.values()].some((lane) => lane.reads(conversation));
  }

  private signIn(token: string): void {
    if (this.server.goAwayFirst !== undefined) return this.goAway(Code.OVERLOADED, this.server.goAwayFirst);
    const user = this.server.userOf(token);
    if (typeof user === "number") return this.close(user);
    this.user = user;
    this.frame(0, {
      type: "welcome",
      version: 1,
      features: Number(this.hello?.features ?? 0) & this.server.features,
      user,
      durability: "stored",
      timeMs: 1_000,
      openConversationsMax: this.server.openConversationsMax,
      server: "fake/1",
    });
    for (const take of this.waiting.splice(0)) take();
    this.deliver();
  }
}
