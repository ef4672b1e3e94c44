/**
 * The readers of one conversation on its one lane.
 *
 * The server has one cursor for each lane, so it is placed where the reader stands that has come least far,
 * and every reader skips what it has. A reader that does not know its place yet (`live`, the last events)
 * learns it first: the cursor is moved there, the answer tells the conversation's bounds, and then the cursor
 * moves back if another reader needs that.
 */
import type { LogEvent, Start } from "../api.js";
import { FAILURES_BEFORE_TOLD } from "../backoff.js";
import { errorOfCode, type QuothError } from "../error.js";
import { decodeText } from "../wire/bytes.js";
import { Code } from "../wire/codes.js";
import type { ClientFrame, EventFrame, ServerFrame } from "../wire/frames.js";
import { SERVER_CREDIT_BYTES } from "../wire/limits.js";
import { placeOf } from "./progress.js";
import { Reader } from "./reader.js";

/** A reader with so much waiting is slow: when acks are awaited on the lane, the server is told to stop. */
const HIGH_WATER_BYTES = SERVER_CREDIT_BYTES / 2;
/** It is fast again when so much is left. */
const LOW_WATER_BYTES = SERVER_CREDIT_BYTES / 4;
/** What a stopped server had on its way is kept up to this. Outcome: it is dropped, and asked for again later. */
const KEPT_BYTES_MAX = SERVER_CREDIT_BYTES * 4;

export class Reading {
  private readonly readers = new Set<Reader>();
  /** The last Open or Read asks for events. */
  isDelivering = false;
  /** Some Open or Read of this lane has asked for events. */
  private wasToBeRead = false;
  /** The one Open or Read that has no answer yet. */
  private question: { from: Start | undefined; readers: ReadonlySet<Reader> } | undefined;
  /** The seq that the server's cursor is behind, as far as known. */
  private position: number | undefined;
  /** Events were dropped: what comes does not follow on what was handed out. */
  private hasDropped = false;
  private isSlow = false;
  private mayStop = false;
  /** Which store the server has had so far. */
  private store: number | undefined;
  /** Lanes that the server has failed to serve since the last event. */
  private failures = 0;

  constructor(
    private readonly changed: () => void,
    /** A message of this user has come. */
    private readonly spoke: (user: string) => void,
  ) {}

  get hasReaders(): boolean {
    return this.readers.size > 0;
  }

  /** Whether the server has a cursor now that is where it was asked to be. */
  get isReading(): boolean {
    return this.isDelivering && !this.question;
  }

  /** Whether the server should send events. */
  get wantsDelivery(): boolean {
    return this.hasReaders && !(this.isSlow && (this.mayStop || !this.isDelivering));
  }

  /** Bytes for which the server gets no credit: those that the slowest reader has not taken. */
  get heldBytes(): number {
    // A server that has stopped sends acks, which must come.
    return this.isDelivering ? this.mostBytes() : 0;
  }

  /** Begins to read; aborting the signal ends it. Without a `store` the place is of the one that the server has had. */
  read(from: Start, signal?: AbortSignal, store = this.store): Reader {
    const reader = new Reader(from, store, signal, { taken: () => this.changed(), left: (r) => this.remove(r) });
    this.readers.add(reader);
    if (signal?.aborted) void reader.return();
    // Otherwise what comes for the others may be taken for what it goes on with.
    if (this.isDelivering && this.store !== undefined) this.serves(this.store);
    this.changed();
    return reader;
  }

  /** Looks at how much waits. `isAwaiting`: acks are to come on the lane. */
  update(isAwaiting: boolean): void {
    const bytes = this.mostBytes();
    if (bytes >= HIGH_WATER_BYTES) this.isSlow = true;
    if (bytes <= LOW_WATER_BYTES) this.isSlow = false;
    this.mayStop = isAwaiting;
  }

  /** Where a new lane begins to read. */
  begin(): Start | undefined {
    const from = this.wantsDelivery ? this.start() : undefined;
    this.asked(from);
    return from;
  }

  /** What the server is to be told, if anything: to stop, or to read from elsewhere. */
  ask(): ClientFrame | undefined {
    if (!this.wantsDelivery) {
      if (!this.isDelivering) return undefined;
      this.isDelivering = false;
      this.position = undefined;
      return { type: "read", from: undefined };
    }
    if (this.question) return undefined;
    const from = this.start();
    const isRight = this.isDelivering && from !== "live" && "after" in from && from.after === this.position;
    if (isRight && [...this.readers].every((r) => r.progress.isOpened)) return undefined;
    this.asked(from);
    return { type: "read", from };
  }

  /** The server has this store. What was read of another one goes on nowhere there: the same seqs are other events. */
  serves(store: number): void {
    this.store = store;
    for (const reader of [...this.readers]) {
      if (reader.isOfAnother(store)) this.reset(reader);
    }
  }

  opened(head: number, floor: number): void {
    const { from, readers } = this.question ?? {};
    this.question = undefined;
    if (!this.isDelivering || from === undefined || !readers) return;
    this.position = placeOf(from, head, floor);
    for (const reader of [...this.readers]) {
      // Who has come since may be ahead of the head that this tells, and is asked for next.
      if (!readers.has(reader)) continue;
      if (reader.progress.place === undefined && reader.progress.start !== from) continue;
      if (reader.opened(head, floor)) this.tellCaughtUp(reader);
      else this.reset(reader);
    }
  }

  /** Hands an event or a gap out. The result is the complaint about one that has no place here. */
  take(frame: EventFrame | (ServerFrame & { type: "gap" }), size: number): string | undefined {
    const [from, to] = frame.type === "gap" ? [frame.from, frame.to] : [frame.seq, frame.seq];
    const isCurrent = this.isDelivering && !this.question && !this.hasDropped;
    if (this.isDelivering && !this.question) this.position = to;
    const event = frame.type === "event" ? eventOf(frame) : undefined;
    for (const reader of this.readers) {
      const verdict = reader.progress.check(from, to, isCurrent);
      if (verdict === "hole") return `${(reader.progress.place ?? 0) + 1} had to come in place of ${from}`;
      if (verdict !== "deliver") continue;
      if (reader.bytes >= KEPT_BYTES_MAX) {
        this.hasDropped = true;
        continue;
      }
      // Of a gap, what lies behind what the reader has.
      const behind = Math.max(from, (reader.progress.place ?? 0) + 1);
      reader.push(event ?? { type: "gap", from: behind, to }, size);
      reader.progress.advance(to);
      this.failures = 0;
      this.tellCaughtUp(reader);
    }
    if (frame.type === "event") this.spoke(frame.sender);
    return undefined;
  }

  /** The lane is gone. */
  disconnected(): void {
    this.isDelivering = this.wasToBeRead = this.hasDropped = false;
    this.question = this.position = undefined;
  }

  /**
   * The server refuses the lane for good. If it was to be read, the right to read is what lacks as far as one
   * can tell, and the sends get a lane that is not read. Whether that is so.
   */
  refused(code: number, error: QuothError): boolean {
    const from = this.question?.from;
    const asked = from !== undefined && from !== "live" && "after" in from ? from.after : 0;
    for (const reader of [...this.readers]) {
      // It may be the cursor of a reader that has left: the others have not been judged.
      if (code === Code.CURSOR_AHEAD && (reader.progress.place ?? -1) < asked) continue;
      this.drop(reader, error);
    }
    return this.wasToBeRead;
  }

  /** The server could not serve the lane, and is asked again: after several times the application hears of it. */
  failed(reason: QuothError): void {
    if (!this.isDelivering) return;
    this.failures += 1;
    if (this.failures !== FAILURES_BEFORE_TOLD) return;
    for (const reader of [...this.readers]) {
      if (reader.progress.isOpened) reader.push({ type: "interrupted", reason }, 0);
      else this.drop(reader, reason);
    }
  }

  /** Ends all readers; one without an error is ended quietly. */
  end(error?: QuothError): void {
    for (const reader of [...this.readers]) this.drop(reader, error);
  }

  /** Where the server should read: for a reader that does not know its place, else for the one that has come least far. */
  private start(): Start {
    const places = [];
    for (const { progress } of this.readers) {
      if (progress.place === undefined) return progress.start;
      places.push(progress.place);
    }
    return { after: Math.min(...places) };
  }

  private asked(from: Start | undefined): void {
    this.isDelivering = from !== undefined;
    this.wasToBeRead ||= this.isDelivering;
    this.question = { from, readers: new Set(this.readers) };
    this.position = undefined;
    this.hasDropped = false;
  }

  private tellCaughtUp(reader: Reader): void {
    const head = reader.progress.takeCaughtUp();
    if (head !== undefined) reader.push({ type: "caught_up", head }, 0);
  }

  private reset(reader: Reader): void {
    this.drop(reader, errorOfCode(Code.CURSOR_AHEAD, "the server does not have what was read: it was restored from a backup"));
  }

  private drop(reader: Reader, error: QuothError | undefined): void {
    this.readers.delete(reader);
    reader.finish(error);
  }

  private remove(reader: Reader): void {
    if (this.readers.delete(reader)) this.changed();
  }

  private mostBytes(): number {
    let most = 0;
    for (const { bytes } of this.readers) most = Math.max(most, bytes);
    return most;
  }
}

/** An event as the application sees it. */
export function eventOf(frame: EventFrame): LogEvent {
  const { seq, timeMs, sender, originTimeMs, kind } = frame;
  const common = { seq, timeMs, sender, ...(originTimeMs !== undefined && { originTimeMs }) };
  if (kind && "body" in kind) return { mentions: [], expiresMs: 0, ...kind, ...common, text: textOf(kind.body) } as LogEvent;
  return kind ? { ...kind, ...common } : { type: "unknown", ...common };
}

/** The text of a body, if it is one. */
export function textOf(body: Uint8Array): string | undefined {
  try {
    return decodeText(body);
  } catch {
    return undefined;
  }
}
