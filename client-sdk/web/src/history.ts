/** A page of history, over as many connections as it takes. */
import type { Page } from "./api.js";
import { Backoff, FAILURES_BEFORE_TOLD } from "./backoff.js";
import type { Env } from "./env.js";
import { errorOfCode, protocolError, type QuothError } from "./error.js";
import type { Lane, LaneUser } from "./link/lane.js";
import { eventOf } from "./room/reading.js";
import { actionOf, Code } from "./wire/codes.js";
import type { ClientFrame, ServerFrame } from "./wire/frames.js";
import { FETCH_EVENTS_MAX } from "./wire/limits.js";

export interface PageSession {
  openPage(user: LaneUser): Lane | undefined;
}

export interface PageOwner {
  readonly session: PageSession | undefined;
  /** The page is over: it wants no more calls of `advance`. */
  pageOver(request: PageRequest): void;
}

/** A page, and what its messages have come to, still encoded: `@quoth/client/messages` knows how. */
export interface FetchedPage extends Page {
  readonly states?: readonly Uint8Array[];
}

export class PageRequest implements LaneUser {
  private lane: Lane | undefined;
  private events: Page["events"][number][] = [];
  /** Gaps are not counted by the limit. */
  private count = 0;
  private states: Uint8Array[] = [];
  private failures = 0;
  private readonly backoff = new Backoff();
  private cancelRetry: (() => void) | undefined;

  constructor(
    private readonly fetch: ClientFrame & { type: "fetch" },
    private readonly owner: PageOwner,
    private readonly env: Env,
    private readonly answer: { resolve: (page: FetchedPage) => void; reject: (reason: unknown) => void },
  ) {}

  /** Asks for the page as soon as that can be done. */
  advance(): void {
    if (this.lane || this.cancelRetry) return;
    this.lane = this.owner.session?.openPage(this);
    if (!this.lane) return;
    this.events = [];
    this.count = 0;
    this.states = [];
    this.lane.send(this.fetch);
    this.lane.finish();
  }

  /** Gives the page up. */
  cancel(reason: unknown): void {
    this.lane?.reset(Code.CANCELLED);
    this.over();
    this.answer.reject(reason);
  }

  frame(frame: ServerFrame): void {
    switch (frame.type) {
      case "event":
        this.events.push(eventOf(frame));
        if (++this.count > FETCH_EVENTS_MAX) this.broken(`a page of over ${FETCH_EVENTS_MAX} events`);
        return;
      case "gap": {
        // Those side by side are one.
        const last = this.events.at(-1);
        const from = last?.type === "gap" ? (this.events.pop() as typeof last).from : frame.from;
        this.events.push({ type: "gap", from, to: frame.to });
        return;
      }
      case "message_state":
        // At most one for each event.
        if (this.states.push(frame.state) > this.events.length) this.broken("too many states in a page");
        return;
      case "page_end": {
        const { type: _, ...ends } = frame;
        // The server finishes the lane behind it, which needs no answer.
        this.over();
        return this.answer.resolve({ events: this.events, ...(this.states.length > 0 && { states: this.states }), ...ends });
      }
      default:
        this.broken(`${frame.type} in a page`);
    }
  }

  writable(): void {}

  finished(): void {
    // Behind PageEnd the lane is nobody's.
    if (this.lane) this.broken("a page without an end");
  }

  broken(text: string): void {
    this.cancel(protocolError(text));
  }

  reset(code: number): void {
    if (!this.lane) return;
    this.lane = undefined;
    const error = errorOfCode(code, `the server refused to read ${this.fetch.conversation}`);
    // A server that drains is about to be left, and says nothing about the next one.
    if (code !== Code.GOING_AWAY) this.failures += 1;
    if (actionOf(code) !== "retry" || this.failures === FAILURES_BEFORE_TOLD) return this.fail(error);
    this.cancelRetry = this.env.after(this.backoff.nextDelayMs(this.env.random), () => {
      this.cancelRetry = undefined;
      this.advance();
    });
  }

  /** Asked for again on the next connection. */
  lost(): void {
    this.lane = undefined;
  }

  /** There will be no page. */
  fail(error: QuothError): void {
    this.over();
    this.answer.reject(error);
  }

  private over(): void {
    this.lane = undefined;
    this.cancelRetry?.();
    this.owner.pageOver(this);
  }
}
