/**
 * The messages of the conversation that is shown. Of what the timeline holds a bounded window is in the
 * document; it slides when the reader nears an edge, and the message that is read stays where it is on the
 * screen.
 */

import { WINDOW_STEP, followEnd, slideDown, slideUp, windowAround, windowAtEnd, type Window } from "../model/window.js";
import { firstSeq, lastSeq, type Entry, type Timeline } from "../model/timeline.js";
import { rowsOf, type RowsInput } from "../model/rows.js";
import type { Place } from "../history.js";
import type { Outgoing } from "../model/outgoing.js";
import { badge } from "../model/text.js";
import { byId, setText } from "./dom.js";
import { editIn, type EditorHooks } from "./editor.js";
import { listenToRows, type LogActions } from "./log_actions.js";
import { LogRows } from "./log_rows.js";

/** What the log shows: one conversation. */
export interface LogSource {
  readonly timeline: Timeline;
  readonly me: string;
  readonly unreadAfter: number | undefined;
  readonly readUpTo: number;
  readonly deliveredUpTo: number;
  readonly revoked: ReadonlySet<number>;
  readonly hidden: ReadonlySet<number>;
  readonly unread: number;
  nowOf: RowsInput["nowOf"];
  quoteOf: RowsInput["quoteOf"];
  outgoingShown(): Outgoing[];
}

export interface LogHooks extends Omit<LogActions, "resized"> {
  /** Draws what stands above the first message. */
  drawTop(): void;
  /** The reader nears the start or the end of what is held. */
  needOlder(): void;
  needNewer(): void;
  /** The reader wants the end, and it is not held. */
  needLatest(): void;
  /** Whether the user has the window before them. */
  looking(): boolean;
  /** Everything up to this seq has been on the screen. */
  visible(seq: number): void;
}

/** Where to stand after a render: as asked, or where the reader is. */
export type Stand = Place | "stay";

/** Nearer to an edge than this, the window slides. */
const EDGE_PX = 900;
/** Nearer to it, history is fetched, well before it is seen: a page that comes changes what it joins. */
const FETCH_PX = 3000;
const END_PX = 24;
const JUMP_PX = 260;
/** How long a jump to the end holds against a scroll that is still gliding, as after a key or a flick. */
const PIN_MS = 400;
/** Room above the unread line for the floating day and a last message that is known. */
const UNREAD_PX = 90;
/** How long a message stands out that was asked for. */
const FLASH_MS = 2000;

export class LogView {
  readonly scroller = byId("log");
  private readonly rows = new LogRows();
  private readonly jump = byId<HTMLButtonElement>("jump");
  private readonly jumpCount = byId("jump-count");

  private source: LogSource | undefined;
  /** The window's ends as seqs, since indices move when entries are put in front or let go. */
  private span: { first: number; last: number } | undefined;
  private atEnd = true;
  /** Whether the last row that was drawn was the conversation's last. What has come since is drawn with the next frame, and does not take
   *  the reader from the end until then. */
  private endDrawn = false;
  private checking = false;
  private pinnedUntilMs = 0;
  /** Where the end was when it was last put on the screen, as `scrollTop`. */
  private endTop = 0;

  constructor(private readonly hooks: LogHooks) {
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    for (const hand of ["wheel", "touchstart", "pointerdown", "keydown"])
      this.scroller.addEventListener(hand, () => (this.pinnedUntilMs = 0), { passive: true });
    this.scroller.addEventListener("keydown", (event) => {
      if (event.key !== "End" || event.ctrlKey || event.altKey) return;
      event.preventDefault();
      this.toEnd();
    });
    this.jump.addEventListener("click", () => this.toEnd());
    listenToRows(this.scroller, this.rows.root, { ...hooks, resized: () => this.check() });
    // The pane's height changes with the keyboard on a phone, a growing text, a banner: the end stays the
    // end.
    new ResizeObserver(() => {
      if (this.atEnd) this.putAtEnd();
      this.check();
    }).observe(this.scroller);
  }

  /** Whether the reader is at the log's end. */
  get isAtEnd(): boolean {
    return this.atEnd && this.source !== undefined && this.source.timeline.attached;
  }

  show(source: LogSource | undefined, place: Place = "end"): void {
    this.source = source;
    this.span = undefined;
    this.rows.clear();
    this.atEnd = place === "end";
    if (source) this.render(place);
    else this.jump.hidden = true;
  }

  render(place: Stand = "stay"): void {
    const source = this.source;
    if (!source) return;
    const { entries } = source.timeline;
    if (place === "end") this.atEnd = true;
    else if (place === "stay" && this.hasLeft()) this.atEnd = false;
    const anchor = place === "stay" && !this.atEnd ? this.anchor() : undefined;
    const window = this.windowFor(place, entries);
    this.draw(source, window);
    if (typeof place === "object") this.putAt(place);
    else if (this.atEnd) this.putAtEnd();
    else if (anchor) this.scroller.scrollTop += anchor.node.getBoundingClientRect().top - anchor.top;
    this.check();
  }

  toEnd(): void {
    const timeline = this.source?.timeline;
    if (!timeline) return;
    if (!timeline.attached) return this.hooks.needLatest();
    this.pinnedUntilMs = performance.now() + PIN_MS;
    this.render("end");
  }

  page(step: number): void {
    this.pinnedUntilMs = 0;
    this.scroller.scrollBy(0, step * this.scroller.clientHeight * 0.85);
  }

  /** Looks again at what is on the screen: the window has come to the front. */
  check(): void {
    if (this.checking) return;
    this.checking = true;
    requestAnimationFrame(() => {
      this.checking = false;
      this.look();
    });
  }

  /** At once and not with the next frame: what is drawn until then must not pull a reader back who has just left the end. */
  private scrolled(): void {
    if (performance.now() < this.pinnedUntilMs) {
      this.putAtEnd();
      return this.check();
    }
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    if (clientHeight > 0 && this.source)
      this.atEnd = this.endDrawn && scrollHeight - clientHeight - scrollTop <= END_PX;
    if (this.atEnd) this.endTop = scrollTop;
    this.check();
  }

  /**
   * Whether the reader has scrolled away from the end in this frame: the event of that comes with the next one only. Further from the
   * end alone does not say it, as the pane may have become lower; nor does a lower `scrollTop`, as what is drawn may have become less.
   */
  private hasLeft(): boolean {
    if (performance.now() < this.pinnedUntilMs) return false;
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    return scrollTop < this.endTop - 1 && scrollHeight - clientHeight - scrollTop > END_PX;
  }

  private windowFor(place: Stand, entries: readonly Entry[]): Window {
    const length = entries.length;
    let window: Window;
    if (typeof place === "object") window = windowAround((this.source as LogSource).timeline.indexOf(place.seq), length);
    else if (place === "end" || !this.span) window = windowAtEnd(length);
    else window = this.held();
    if (place === "stay" && this.atEnd && this.span) window = followEnd(window, length);
    return this.hold(window, entries);
  }

  /** The window in force, as indices of now. */
  private held(): Window {
    const { timeline } = this.source as LogSource;
    if (!this.span) return windowAtEnd(timeline.entries.length);
    const from = timeline.indexOf(this.span.first);
    const to = Math.min(timeline.entries.length, timeline.indexOf(this.span.last) + 1);
    return from < to ? { from, to } : windowAround(from, timeline.entries.length);
  }

  private hold(window: Window, entries: readonly Entry[]): Window {
    const first = entries[window.from];
    const last = entries[window.to - 1];
    this.span = first && last ? { first: firstSeq(first), last: lastSeq(last) } : undefined;
    return window;
  }

  private draw(source: LogSource, window: Window): void {
    const { timeline } = source;
    const nowMs = Date.now();
    this.endDrawn = timeline.attached && window.to >= timeline.entries.length;
    const days = rowsOf({
      entries: timeline.entries,
      from: window.from,
      to: window.to,
      me: source.me,
      unreadAfter: source.unreadAfter,
      readUpTo: source.readUpTo,
      deliveredUpTo: source.deliveredUpTo,
      revoked: source.revoked,
      hidden: source.hidden,
      nowOf: (seq) => source.nowOf(seq),
      quoteOf: (seq) => source.quoteOf(seq),
      outgoing: timeline.attached && window.to === timeline.entries.length ? source.outgoingShown() : [],
      nowMs,
    });
    this.hooks.drawTop();
    this.rows.draw(days, nowMs);
  }

  /** The first row on the screen, to stay where it is. */
  private anchor(): { node: HTMLElement; top: number } | undefined {
    return this.rows.firstBelow(this.scroller.getBoundingClientRect().top);
  }

  /** Nobody looks: what is new goes no further than the unread line, so that its beginning is there on return. */
  private putAtEnd(): void {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    const line = this.hooks.looking() ? null : this.rows.unreadLine;
    if (line) {
      const offset = line.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top - UNREAD_PX;
      if (offset < 0) this.scroller.scrollTop += offset;
    }
    this.endTop = this.scroller.scrollTop;
  }

  private putAt({ seq, find = false }: { seq: number; find?: boolean }): void {
    this.atEnd = false;
    const node = find ? this.rows.rowFrom(seq) : (this.rows.unreadLine ?? this.rows.row(seq));
    if (!node) return;
    const offset = node.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top;
    this.scroller.scrollTop += offset - (find ? this.scroller.clientHeight / 3 : UNREAD_PX);
    if (!find) return;
    node.classList.add("flash");
    setTimeout(() => node.classList.remove("flash"), FLASH_MS);
    node.focus({ preventScroll: true });
  }

  /** Has the user edit a message where it stands. */
  edit(seq: number, text: string, save: EditorHooks["save"]): void {
    const row = this.rows.row(seq);
    if (row) editIn(row, text, { save, over: () => this.render() });
    if (this.atEnd) this.putAtEnd();
  }

  private look(): void {
    const source = this.source;
    if (!source || this.scroller.clientHeight === 0) return;
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const { timeline } = source;
    const window = this.held();
    const below = scrollHeight - clientHeight - scrollTop;
    this.atEnd = this.endDrawn && below <= END_PX;
    this.showJump(source, !this.endDrawn || below > JUMP_PX);

    const length = timeline.entries.length;
    if (scrollTop < EDGE_PX && window.from > 0) this.slide(slideUp(window));
    else if (below < EDGE_PX && window.to < length) this.slide(slideDown(window, length));
    if (scrollTop < FETCH_PX && window.from <= WINDOW_STEP && !timeline.atStart && length > 0) this.hooks.needOlder();
    else if (below < FETCH_PX && window.to >= length - WINDOW_STEP && !timeline.attached) this.hooks.needNewer();
    this.tellVisible();
  }

  private slide(window: Window): void {
    const source = this.source as LogSource;
    const anchor = this.anchor();
    this.draw(source, this.hold(window, source.timeline.entries));
    if (this.atEnd) this.putAtEnd();
    else if (anchor?.node.isConnected) this.scroller.scrollTop += anchor.node.getBoundingClientRect().top - anchor.top;
    this.check();
  }

  private showJump(source: LogSource, show: boolean): void {
    this.jump.hidden = !show;
    if (!show) return;
    const count = source.unread;
    this.jumpCount.hidden = count === 0;
    setText(this.jumpCount, badge(count));
    const label = count === 0 ? "Jump to the latest message" : `Jump to the latest message, ${count} new`;
    if (this.jump.getAttribute("aria-label") !== label) this.jump.setAttribute("aria-label", label);
  }

  /** A message counts as seen when its beginning is on the screen or has been. */
  private tellVisible(): void {
    const seq = this.rows.lastBegunAbove(this.scroller.getBoundingClientRect().bottom);
    if (seq !== undefined) this.hooks.visible(seq);
  }
}
