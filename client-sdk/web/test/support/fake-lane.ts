/** One lane of the fake server: a conversation or a page. */
import type { Start } from "../../src/api.js";
import { Code } from "../../src/wire/codes.js";
import type { ClientFrame, ServerFrame } from "../../src/wire/frames.js";
import { CLIENT_CREDIT_BYTES, SERVER_CREDIT_BYTES } from "../../src/wire/limits.js";
import type { FakeConnection } from "./fake-connection.js";
import { encodeServerFrame } from "./server-codec.js";
import type { Log } from "./store.js";

/** Frames are put into one message until it has so much. */
const MESSAGE_BYTES = 1_000;

export class FakeLane {
  receiveCredit = CLIENT_CREDIT_BYTES;
  sendCredit = SERVER_CREDIT_BYTES;
  conversation: string | undefined;
  /** Publishes in the order in which they came, as `producer/n`. */
  readonly published: string[] = [];
  readonly seen: number[] = [];
  private producer = 0n;
  private log: Log | undefined;
  private cursor: number | undefined;
  private isFetched = false;
  private isFinished = false;
  private awaiting = 0;
  /** Frames that go before events. */
  private readonly first: Uint8Array[] = [];

  constructor(
    private readonly connection: FakeConnection,
    readonly number: number,
  ) {}

  reads(conversation: string): boolean {
    return this.conversation === conversation && this.cursor !== undefined;
  }

  take(frame: ClientFrame): void {
    if (this.isFinished) return this.connection.violation("a frame behind Finish");
    switch (frame.type) {
      case "open":
        return this.open(frame);
      case "read":
        return this.read(frame.from);
      case "publish":
        this.connection.server.publishes.push(frame);
        return this.publish(Number(frame.n), frame.body);
      case "seen":
        if (this.cursor === undefined) return this.connection.violation("Seen without a cursor");
        this.seen.push(frame.seq);
        return this.roster(frame.seq);
      case "fetch":
        return this.fetch(frame);
      default:
        this.connection.violation(`${frame.type} on lane ${this.number}`);
    }
  }

  finished(): void {
    this.isFinished = true;
    this.cursor = undefined;
    this.deliver();
  }

  reset(code: number): void {
    this.connection.lanes.delete(this.number);
    this.connection.part(this.number, { type: "reset", code });
  }

  /** Sends what the credit allows. */
  deliver(): void {
    if (!this.connection.lanes.has(this.number)) return;
    while (this.sendCredit > 0) {
      const frames = this.next();
      if (frames.length === 0) break;
      this.connection.frames(this.number, Buffer.concat(frames));
    }
    const isWithheld = this.isFetched && this.connection.server.withholdsPages;
    const isDone = this.first.length === 0 && this.awaiting === 0 && this.isFinished && !isWithheld;
    if (isDone) {
      this.connection.lanes.delete(this.number);
      this.connection.part(this.number, { type: "finish" });
    }
  }

  /** Frames for one message. */
  private next(): Uint8Array[] {
    const frames = [];
    for (let bytes = 0; bytes < MESSAGE_BYTES; ) {
      const frame = this.first.shift() ?? this.event();
      if (!frame) break;
      frames.push(frame);
      bytes += frame.length;
    }
    return frames;
  }

  private event(): Uint8Array | undefined {
    const log = this.log;
    if (!log || this.cursor === undefined || this.cursor >= log.head) return undefined;
    if (this.cursor + 1 < log.floor) {
      const from = this.cursor + 1;
      this.cursor = log.floor - 1;
      return encodeServerFrame({ type: "gap", from, to: this.cursor });
    }
    const event = log.events[this.cursor++];
    return event && encodeServerFrame(event);
  }

  private answer(frame: ServerFrame): void {
    this.first.push(encodeServerFrame(frame));
    this.deliver();
  }

  private open(frame: ClientFrame & { type: "open" }): void {
    const { server, user } = this.connection;
    const isOpen = [...this.connection.lanes.values()].some((lane) => lane.conversation === frame.conversation);
    if (this.conversation !== undefined) return this.connection.violation("Open on an open lane");
    if (isOpen) return this.reset(Code.ALREADY_OPEN);
    const open = [...this.connection.lanes.values()].filter((lane) => lane.conversation !== undefined);
    if (open.length >= server.openConversationsMax) return this.reset(Code.OVERLOADED);
    if (server.openCode !== undefined) return this.reset(server.openCode);
    const may = frame.from === undefined ? server.mayWrite : server.mayRead;
    if (user === undefined || !may(user, frame.conversation)) return this.reset(Code.FORBIDDEN);
    this.conversation = frame.conversation;
    this.producer = frame.producer;
    this.log = server.log(frame.conversation);
    this.place(frame.from);
  }

  private read(from: Start | undefined): void {
    const { server, user } = this.connection;
    if (this.conversation === undefined) return this.connection.violation("Read before Open");
    if (from === undefined) {
      this.cursor = undefined;
      return;
    }
    if (!server.mayRead(user ?? "", this.conversation)) return this.reset(Code.FORBIDDEN);
    this.place(from);
  }

  private place(from: Start | undefined): void {
    const { head, floor } = this.log ?? { head: 0, floor: 1 };
    if (from === undefined || from === "live") this.cursor = from && head;
    else if ("after" in from) {
      if (from.after > head) return this.reset(Code.CURSOR_AHEAD);
      this.cursor = from.after;
    } else this.cursor = Math.min(Math.max(head - from.last, floor - 1), head);
    this.first.push(encodeServerFrame({ type: "opened", head, floor, store: this.connection.server.store }));
    if (from !== undefined) this.roster(0);
    this.deliver();
  }

  private roster(seen: number): void {
    const user = this.connection.user ?? "";
    if (this.connection.server.features & 2) this.answer({ type: "roster", users: 1, present: [{ user, seen, status: "online" }] });
  }

  private publish(n: number, body: Uint8Array): void {
    const { server, user = "" } = this.connection;
    if (this.conversation === undefined) return this.connection.violation("Publish before Open");
    if (this.awaiting >= 256) return this.connection.violation("over 256 publishes without an ack");
    if (this.connection.isLeaving) {
      this.connection.ignored += 1;
      return;
    }
    this.published.push(`${this.producer}/${n}`);
    if (!server.mayWrite(user, this.conversation)) return this.answer({ type: "refused", n, code: Code.FORBIDDEN, retryAfterMs: 0, reason: "" });
    if (server.refuseOnce) {
      this.answer({ type: "refused", n, ...server.refuseOnce });
      server.refuseOnce = undefined;
      return;
    }
    const log = server.log(this.conversation);
    this.awaiting += 1;
    const store = () => {
      const stored = log.publish(user, this.producer, n, body);
      this.awaiting -= 1;
      if (typeof stored === "number") return this.answer({ type: "refused", n, code: stored, retryAfterMs: 0, reason: "" });
      const { event, duplicate } = stored;
      this.answer({ type: "ack", n, seq: event.seq, timeMs: event.timeMs, duplicate });
      server.deliver();
    };
    if (server.ackDelayMs > 0) setTimeout(store, server.ackDelayMs);
    else store();
  }

  private fetch({ conversation, range, limit }: ClientFrame & { type: "fetch" }): void {
    const { server, user } = this.connection;
    server.fetched.push(range);
    if (this.isFetched || this.conversation !== undefined) return this.connection.violation("a second first frame");
    this.isFetched = true;
    const pages = [...this.connection.lanes.values()].filter((lane) => lane.isFetched);
    if (pages.length > 4) return this.connection.violation(`${pages.length} pages at once`);
    if (server.withholdsPages) return;
    if (user === undefined || !server.mayRead(user, conversation)) return this.reset(Code.FORBIDDEN);
    const { head, floor, events } = server.log(conversation);
    const readable = events.slice(floor - 1);
    const count = Math.min(limit, 1_000);
    const isForward = range !== "latest" && "after" in range;
    const before = range !== "latest" && "before" in range ? Math.min(range.before, head + 1) : head + 1;
    let from = isForward ? range.after + 1 : Math.max(floor, before - count);
    const to = isForward ? Math.min(head, Math.max(from, floor) + count - 1) : before - 1;
    if (isForward && from < floor && to >= floor) {
      // Piece by piece, as a server may judge what it reads: for the client it is one.
      for (let absent = from; absent < floor; absent++) this.first.push(encodeServerFrame({ type: "gap", from: absent, to: absent }));
    } else from = Math.max(from, floor);
    for (const event of readable.filter(({ seq }) => seq >= from && seq <= to)) this.first.push(encodeServerFrame(event));
    for (const state of server.pageStates) this.first.push(encodeServerFrame({ type: "message_state", state }));
    this.answer({ type: "page_end", head, floor, from, to: Math.max(to, from - 1), moreBefore: from > floor, moreAfter: to < head });
  }
}
