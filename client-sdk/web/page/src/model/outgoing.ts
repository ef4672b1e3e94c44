/**
 * Own messages that have no place in the log yet. An own event may come before its ack says which seq it has,
 * so the echo is told by its text until then: each message is shown once at any time.
 */

import type { Mark } from "./rows.js";

export interface Outgoing {
  id: string;
  text: string;
  timeMs: number;
  mark: Mark;
  /** Told by the ack; the row goes when the event of this seq is here. */
  seq: number | undefined;
  failure: string | undefined;
  replyTo?: number | undefined;
  mentions?: readonly string[] | undefined;
  expiresInMs?: number | undefined;
}

export class OutgoingList {
  private items: (Outgoing & { echo: number | undefined })[] = [];

  add(id: string, text: string, timeMs: number, mark: Mark, more: Pick<Outgoing, "replyTo" | "mentions" | "expiresInMs"> = {}): void {
    if (!this.items.some((item) => item.id === id))
      this.items.push({ id, text, timeMs, mark, ...more, seq: undefined, failure: undefined, echo: undefined });
  }

  mark(id: string, mark: Mark, failure?: string): void {
    const item = this.items.find((one) => one.id === id);
    if (!item) return;
    item.mark = mark;
    item.failure = failure;
  }

  /** Whether what waits is on its way or waits for the connection. */
  connected(yes: boolean): void {
    for (const item of this.items)
      if (item.mark === "sending" || item.mark === "waiting") item.mark = yes ? "sending" : "waiting";
  }

  /** The ack: from here on the event of `seq` is known to be this message. `last` is the last seq that is shown. */
  stored(id: string, seq: number, last: number): void {
    const item = this.items.find((one) => one.id === id);
    if (!item) return;
    item.seq = seq;
    item.mark = "stored";
    this.shownUpTo(last);
  }

  /** An own event has come live: the oldest message under way with this text is taken to be it. */
  echo(seq: number, text: string): void {
    if (this.items.some((item) => item.seq === seq)) return;
    const item = this.items.find(
      (one) => one.seq === undefined && one.echo === undefined && one.mark !== "failed" && one.text === text,
    );
    if (item) item.echo = seq;
  }

  /** Events up to `last` are shown in their own place: what is known to be among them goes. */
  shownUpTo(last: number): void {
    this.items = this.items.filter((item) => item.seq === undefined || item.seq > last);
  }

  remove(id: string): void {
    this.items = this.items.filter((item) => item.id !== id);
  }

  get(id: string): Outgoing | undefined {
    return this.items.find((item) => item.id === id);
  }

  /** What is to be shown at the end of the log. */
  shown(): Outgoing[] {
    return this.items.filter((item) => item.echo === undefined);
  }

  get size(): number {
    return this.items.length;
  }
}
