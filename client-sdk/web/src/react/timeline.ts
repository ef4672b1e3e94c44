/** What a component has read of a conversation. No React. */
import type { Conversation, Gap, LogEvent, RoomEvent } from "../api.js";
import type { QuothError } from "../error.js";
import { Listeners } from "../listeners.js";

/** Events of a page of older ones. */
const PAGE_EVENTS = 100;

export interface TimelineView {
  readonly events: readonly (LogEvent | Gap)[];
  readonly caughtUp: boolean;
  readonly hasOlder: boolean;
  readonly error: QuothError | undefined;
}

const EMPTY: TimelineView = { events: [], caughtUp: false, hasOlder: false, error: undefined };

export class Timeline {
  view = EMPTY;
  private readonly changed = new Listeners<void>();
  /** Events that are not in the view yet: those that come together are shown together. */
  private fresh: RoomEvent[] = [];
  /** Where older events end; unknown until something has come. */
  private first: number | undefined;
  private loading: Promise<void> | undefined;
  private following = new AbortController();

  constructor(
    private readonly room: Conversation,
    private readonly last: number,
  ) {}

  readonly subscribe = (listener: () => void): (() => void) => this.changed.add(listener);

  /** Reads until the result is called. Begins anew each time: what was read before may have a hole behind it. */
  follow(): () => void {
    const following = new AbortController();
    this.following = following;
    this.fresh = [];
    this.first = undefined;
    this.set(EMPTY);
    void this.read(following.signal);
    return () => following.abort();
  }

  loadOlder(limit = PAGE_EVENTS): Promise<void> {
    this.loading ??= this.load(limit).finally(() => {
      this.loading = undefined;
    });
    return this.loading;
  }

  private async read(signal: AbortSignal): Promise<void> {
    try {
      for await (const event of this.room.events({ from: { last: this.last }, signal })) {
        if (this.fresh.push(event) === 1) setTimeout(() => this.show(signal));
      }
    } catch (error) {
      this.show(signal);
      if (!signal.aborted) this.set({ ...this.view, error: error as QuothError });
    }
  }

  private show(signal: AbortSignal): void {
    if (signal.aborted) return;
    let { caughtUp, hasOlder } = this.view;
    const events = [...this.view.events];
    for (const event of this.fresh) {
      if (event.type === "caught_up") caughtUp = true;
      if (this.first === undefined) {
        this.first = firstOf(event);
        hasOlder = this.first > 1;
      }
      if (event.type !== "caught_up" && event.type !== "interrupted") events.push(event);
    }
    this.fresh = [];
    this.set({ ...this.view, events, caughtUp, hasOlder });
  }

  private async load(limit: number): Promise<void> {
    const { signal } = this.following;
    if (this.first === undefined) return;
    const page = await this.room.history({ before: this.first, limit, signal });
    if (signal.aborted) return;
    this.first = page.from;
    this.set({ ...this.view, events: [...page.events, ...this.view.events], hasOlder: page.moreBefore });
  }

  private set(view: TimelineView): void {
    this.view = view;
    this.changed.tell();
  }
}

/** The first seq that an item is about, or that may come behind it. */
function firstOf(event: RoomEvent): number {
  switch (event.type) {
    case "gap":
      return event.from;
    case "caught_up":
      return event.head + 1;
    case "interrupted":
      throw new TypeError("a reader is not interrupted before it has begun");
    default:
      return event.seq;
  }
}
