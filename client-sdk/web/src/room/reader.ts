/** One reader of a conversation: the events that wait for the application, as an async iterator. */
import type { Cursor, Events, RoomEvent, Start } from "../api.js";
import type { QuothError } from "../error.js";
import { onAbort } from "../abort.js";
import { Progress } from "./progress.js";

export interface ReaderOwner {
  /** The application has taken an event. */
  taken(reader: Reader): void;
  /** The application has gone. */
  left(reader: Reader): void;
}

type Result = IteratorResult<RoomEvent, undefined>;

export class Reader implements Events {
  readonly progress: Progress;
  /** What the waiting events have cost on the lane. */
  bytes = 0;
  private readonly queue: { event: RoomEvent; size: number }[] = [];
  private readonly waiting: { resolve: (result: Result) => void; reject: (error: QuothError) => void }[] = [];
  private readonly stopSignal: () => void;
  private end: { error: QuothError | undefined } | undefined;
  /** Everything up to here was taken, or lies before where reading began. */
  private takenSeq: number | undefined;

  constructor(
    from: Start,
    /** The store that its place is of, as far as known. */
    private store: number | undefined,
    signal: AbortSignal | undefined,
    private readonly owner: ReaderOwner,
  ) {
    this.progress = new Progress(from);
    this.takenSeq = this.progress.place;
    this.stopSignal = onAbort(signal, () => void this.return());
  }

  get cursor(): Cursor | undefined {
    const { store, takenSeq: seq } = this;
    return store === undefined || seq === undefined ? undefined : { store, seq };
  }

  /** The server has this store. Whether it has handed out anything of another one, or was to begin there. */
  isOfAnother(store: number): boolean {
    const isAnother = this.store !== undefined && this.store !== store;
    this.store = store;
    return isAnother && (this.progress.place ?? 0) > 0;
  }

  /** The server reads for it. Whether it is within what the server has. */
  opened(head: number, floor: number): boolean {
    const isWithin = this.progress.opened(head, floor);
    this.takenSeq ??= this.progress.place;
    return isWithin;
  }

  /** Hands an event out, with what it has cost on the lane. */
  push(event: RoomEvent, size: number): void {
    const waiting = this.waiting.shift();
    if (waiting) return waiting.resolve(this.taken(event));
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
      return Promise.resolve(this.taken(first.event));
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

  private taken(event: RoomEvent): Result {
    if (event.type === "gap") this.takenSeq = event.to;
    else if ("seq" in event) this.takenSeq = event.seq;
    return { done: false, value: event };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}
