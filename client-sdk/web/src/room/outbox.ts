/**
 * Publishes that have no answer yet: what to send next, what to repeat after a disconnect, and whom an answer
 * is for.
 *
 * The order of the queue is the order on the wire, always: after a disconnect everything is sent again from
 * its front before anything new, as the protocol demands.
 */
import type { Publish } from "../wire/frames.js";
import { IN_FLIGHT_PUBLISHES_MAX } from "../wire/limits.js";

/** Publishes that wait for an answer, sent or not. Outcome: further sends are rejected. */
export const OUTBOX_MAX = 4_096;

/** `W` is who waits for an answer. */
export class Outbox<W> {
  private entries: Entry<W>[] = [];
  /** How many entries from the front are on the current lane. */
  private sent = 0;

  get isEmpty(): boolean {
    return this.entries.length === 0;
  }

  get isFull(): boolean {
    return this.entries.length >= OUTBOX_MAX;
  }

  /** Queues a publish behind all others. One that waits already under the same number gets a further waiter. */
  push(publish: Publish & { n: number }, waiter: W): void {
    const entry = this.entries.find((e) => e.publish.n === publish.n);
    if (entry) entry.waiters.push(waiter);
    else this.entries.push({ publish, waiters: [waiter], lanes: 0 });
  }

  /** The next publish for the current lane, unless as many as the server reads wait for an answer. */
  takeNext(): Publish | undefined {
    const entry = this.sent < IN_FLIGHT_PUBLISHES_MAX ? this.entries[this.sent] : undefined;
    if (!entry) return undefined;
    entry.lanes += 1;
    this.sent += 1;
    return entry.publish;
  }

  /** The server has answered a publish: who waits for that. */
  answered(n: number): W[] {
    const at = this.entries.findIndex((e, i) => i < this.sent && e.publish.n === n);
    if (at < 0) return [];
    this.sent -= 1;
    return this.entries.splice(at, 1)[0]?.waiters ?? [];
  }

  /** The lane is gone: everything that has no answer is sent again on the next one. */
  disconnected(): void {
    this.sent = 0;
  }

  /**
   * Somebody waits no longer. A publish that was never given to a lane leaves the queue with its last waiter;
   * all others stay until they are answered, since what comes behind them must not overtake them. Tells
   * whether it may have been sent; `undefined` when it waited for nothing.
   */
  giveUp(waiter: W): boolean | undefined {
    const at = this.entries.findIndex((e) => e.waiters.includes(waiter));
    const entry = this.entries[at];
    if (!entry) return undefined;
    entry.waiters = entry.waiters.filter((w) => w !== waiter);
    if (entry.lanes === 0 && entry.waiters.length === 0) this.entries.splice(at, 1);
    return entry.lanes > 0;
  }

  /** Empties the queue, for an end behind which nothing is sent. */
  fail(): { waiters: W[]; attempted: boolean }[] {
    this.sent = 0;
    return this.entries.splice(0).map(({ waiters, lanes }) => ({ waiters, attempted: lanes > 0 }));
  }

  /**
   * Empties the queue when the server has refused the current lane as a whole: of what it was given nothing
   * is stored. What was given to lanes before it may be.
   */
  refuse(): { waiters: W[]; attempted: boolean }[] {
    for (const entry of this.entries.slice(0, this.sent)) entry.lanes -= 1;
    return this.fail();
  }
}

interface Entry<W> {
  publish: Publish & { n: number };
  waiters: W[];
  /** How many lanes it was given to: when to any, it may have been stored. */
  lanes: number;
}
