/** Ways through the history of one conversation: further up, further down, to its end, to a place. One at a time. */

import type { MessageHistoryOptions } from "../../src/messages/index.js";
import { firstSeq, type Page, type Timeline } from "./model/timeline.js";

const PAGE_EVENTS = 100;
/** Read messages that are shown before the first unread one. */
const CONTEXT_EVENTS = 20;

/** `find`: at that message itself, or the first one behind it, and shown to be it. */
export type Place = "end" | { seq: number; find?: boolean };

export interface HistoryHooks {
  /** Something came, or did not; `place` is where to stand when the log is another one. */
  changed(place?: Place): void;
}

export class History {
  /** What comes of older messages at the moment. */
  older: "idle" | "loading" | "failed" = "idle";
  /** On the way to another place: what is on the screen until then is not what the reader asked for. */
  leaping = false;
  private moving: AbortController | undefined;

  constructor(
    private readonly timeline: Timeline,
    private readonly fetch: (options: MessageHistoryOptions) => Promise<Page>,
    private readonly hooks: HistoryHooks,
  ) {}

  async loadOlder(): Promise<void> {
    if (this.older !== "idle" || this.leaping || this.timeline.atStart) return;
    const signal = this.begin();
    this.older = "loading";
    this.hooks.changed();
    try {
      this.timeline.before(await this.page(signal, { before: this.timeline.first }));
      this.end(signal);
    } catch {
      this.end(signal, undefined, "failed");
    }
  }

  retryOlder(): void {
    if (this.older === "failed") this.older = "idle";
    void this.loadOlder();
  }

  async loadNewer(): Promise<void> {
    if (this.timeline.attached || this.moving) return;
    const signal = this.begin();
    try {
      this.timeline.after(await this.page(signal, { after: this.timeline.last }));
    } catch {
      // The next scroll asks again.
    }
    this.end(signal);
  }

  /** Back to the log's end. */
  async toLatest(): Promise<void> {
    const signal = this.begin();
    this.leaping = true;
    try {
      const page = await this.page(signal, {});
      this.timeline.reset(page.entries, { head: page.head, moreBefore: page.moreBefore, moreAfter: false });
      this.end(signal, "end");
    } catch {
      // The button stays: the user can ask again.
      this.end(signal);
    }
  }

  /** To what comes behind a seq that is not held. */
  async toUnread(read: number): Promise<void> {
    const signal = this.begin();
    this.leaping = true;
    try {
      const from = Math.max(0, read - CONTEXT_EVENTS);
      const page = await this.page(signal, { after: from });
      this.timeline.reset(page.entries, { head: page.head, moreBefore: page.moreBefore, moreAfter: page.moreAfter, after: from });
      this.end(signal, { seq: read + 1 });
    } catch {
      // Then the conversation stands at its end.
      this.end(signal);
    }
  }

  /** To a message that is not held, or to a time. Rejects when there is no way there. */
  async toPlace(around: { around: number } | { aroundTimeMs: number }): Promise<void> {
    const signal = this.begin();
    this.leaping = true;
    try {
      const page = await this.page(signal, around);
      this.timeline.reset(page.entries, page);
      const at = "around" in around ? undefined : page.entries.find((entry) => entry.kind !== "gap" && entry.timeMs >= around.aroundTimeMs);
      const seq = "around" in around ? around.around : at && firstSeq(at);
      this.end(signal, seq === undefined ? "end" : { seq, find: true });
    } catch (error) {
      this.end(signal);
      if (!signal.aborted) throw error;
    }
  }

  cancel(): void {
    this.moving?.abort();
    this.moving = undefined;
    this.older = "idle";
    this.leaping = false;
  }

  private async page(signal: AbortSignal, from: MessageHistoryOptions): Promise<Page> {
    const page = await this.fetch({ ...from, limit: PAGE_EVENTS, signal });
    signal.throwIfAborted();
    return page;
  }

  private begin(): AbortSignal {
    this.cancel();
    this.moving = new AbortController();
    return this.moving.signal;
  }

  private end(signal: AbortSignal, place?: Place, older: "idle" | "failed" = "idle"): void {
    if (signal.aborted) return;
    this.moving = undefined;
    this.older = older;
    this.leaping = false;
    this.hooks.changed(place);
  }
}
