/** One reader of a conversation: the events that wait for the application, as an async iterator. */
import type { RoomEvent, Start } from "../api.js";
import type { QuothError } from "../error.js";
import { onAbort } from "../abort.js";
import { Cursor } from "./cursor.js";

export interface ReaderOwner {
  /** The application has taken an event. */
  taken(reader: Reader): void;
  /** The application has gone. */
  left(reader: Reader): void;
}

type Result = IteratorResult<RoomEvent, undefined>;

export class Reader implements AsyncIterableIterator<RoomEvent> {
  readonly cursor: Cursor;
  /** What the waiting events have cost on the lane. */
  bytes = 0;
  private readonly queue: { event: RoomEvent; size: number }[] = [];
  private readonly waiting: { resolve: (result: Result) => void; reject: (error: QuothError) => void }[] = [];
  private readonly stopSignal: () => void;
  private end: { error: QuothError | undefined } | undefined;

  constructor(
    from: Start,
    signal: AbortSignal | undefined,
    private readonly owner: ReaderOwner,
  ) {
    this.cursor = new Cursor(from);
    this.stopSignal = onAbort(signal, () => void this.return());
  }

  /** Hands an event out, with what it has cost on the lane. */
  push(event: RoomEvent, size: number): void {
    const waiting = this.waiting.shift();
    if (waiting) return waiting.resolve({ done: false, value: event });
    this.queue.push({ event, size });
    this.bytes += size;
  }

  /** Nothing follows: behind the events that are there comes the error, if there is one, and then the end. */
  finish(error?: QuothError): void {
    if (this.end) return;
    this.stopSignal();
    const first = error && this.waiting.shift();
    if (error) first?.reject(error);
    this.end = { error: first ? undefined : error };
    for (const { resolve } of this.waiting.splice(0)) resolve({ done: true, value: undefined });
  }

  next(): Promise<Result> {
    const first = this.queue.shift();
    if (first) {
      this.bytes -= first.size;
      this.owner.taken(this);
      return Promise.resolve({ done: false, value: first.event });
    }
    if (!this.end) return new Promise((resolve, reject) => this.waiting.push({ resolve, reject }));
    const { error } = this.end;
    this.end = { error: undefined };
    return error ? Promise.reject(error) : Promise.resolve({ done: true, value: undefined });
  }

  return(): Promise<Result> {
    this.queue.length = 0;
    this.bytes = 0;
    this.finish();
    this.end = { error: undefined };
    this.owner.left(this);
    return Promise.resolve({ done: true, value: undefined });
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
