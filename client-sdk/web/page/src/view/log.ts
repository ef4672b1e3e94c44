/**
 * The messages of the conversation that is shown. Of what the timeline holds a bounded window is in the document; it slides
 * when the reader nears an edge, and the message that is read stays where it is on the screen.
 */

import { WINDOW_STEP, followEnd, slideDown, slideUp, windowAround, windowAtEnd, type Window } from "../model/window.js";
import { firstSeq, lastSeq, type Entry, type Timeline } from "../model/timeline.js";
import { rowsOf, type Day } from "../model/rows.js";
import type { Outgoing } from "../model/outgoing.js";
import { dayLabel } from "../model/times.js";
import { badge } from "../model/text.js";
import { arrange, byId, h, setText } from "./dom.js";
import { makeRow, patchRow, type RowNode } from "./message.js";

/** What the log shows: one conversation. */
export interface LogSource {
  readonly timeline: Timeline;
  readonly me: string;
  readonly unreadAfter: number | undefined;
  readonly readUpTo: number;
  readonly unread: number;
  outgoingShown(): Outgoing[];
}

export interface LogHooks {
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
  retry(id: string): void;
  discard(id: string): void;
  readersOf(seq: number): string[];
}

/** Where to stand after a render: at the end, with a message near the top, or where the reader is. */
export type Place = "end" | "stay" | { seq: number };

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

export class LogView {
  readonly scroller = byId("log");
  private readonly rows = byId("rows");
  private readonly jump = byId<HTMLButtonElement>("jump");
  private readonly jumpCount = byId("jump-count");

  private source: LogSource | undefined;
  /** The window's ends as seqs, since indices move when entries are put in front or let go. */
  private span: { first: number; last: number } | undefined;
  private nodes = new Map<string, RowNode>();
  private days = new Map<string, { node: HTMLElement; list: HTMLOListElement; label: HTMLElement }>();
  private atEnd = true;
  private checking = false;
  private pinnedUntilMs = 0;

  constructor(private readonly hooks: LogHooks) {
    this.scroller.addEventListener("scroll", () => this.scrolled(), { passive: true });
    for (const hand of ["wheel", "touchstart", "pointerdown", "keydown"]) this.scroller.addEventListener(hand, () => (this.pinnedUntilMs = 0), { passive: true });
    this.scroller.addEventListener("keydown", (event) => {
      if (event.key !== "End" || event.ctrlKey || event.altKey) return;
      event.preventDefault();
      this.toEnd();
    });
    this.jump.addEventListener("click", () => this.toEnd());
    this.rows.addEventListener("click", (event) => this.click(event));
    this.rows.addEventListener("pointerover", (event) => this.tellReaders(event));
    // The pane's height changes with the keyboard on a phone, a growing text, a banner: the end stays the end.
    new ResizeObserver(() => {
      if (this.atEnd) this.putAtEnd();
      this.check();
    }).observe(this.scroller);
  }

  /** Whether the reader is at the log's end. */
  get isAtEnd(): boolean {
    return this.atEnd && this.source !== undefined && this.source.timeline.attached;
  }

  /** How many message rows are in the document. */
  get rowCount(): number {
    return this.nodes.size;
  }

  show(source: LogSource | undefined, place: Place = "end"): void {
    this.source = source;
    this.span = undefined;
    this.nodes.clear();
    this.days.clear();
    this.rows.replaceChildren();
    this.atEnd = place === "end";
    if (source) this.render(place);
    else this.jump.hidden = true;
  }

  render(place: Place = "stay"): void {
    const source = this.source;
    if (!source) return;
    const { entries } = source.timeline;
    if (place === "end") this.atEnd = true;
    const anchor = place === "stay" && !this.atEnd ? this.anchor() : undefined;
    const window = this.windowFor(place, entries);
    this.draw(source, window);
    if (typeof place === "object") this.putNearTop(place.seq);
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
    if (clientHeight > 0 && this.source) this.atEnd = this.endShown(this.held()) && scrollHeight - clientHeight - scrollTop <= END_PX;
    this.check();
  }

  private endShown(window: Window): boolean {
    const { timeline } = this.source as LogSource;
    return timeline.attached && window.to >= timeline.entries.length;
  }

  private windowFor(place: Place, entries: readonly Entry[]): Window {
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
    const days = rowsOf({
      entries: timeline.entries,
      from: window.from,
      to: window.to,
      me: source.me,
      unreadAfter: source.unreadAfter,
      readUpTo: source.readUpTo,
      outgoing: timeline.attached && window.to === timeline.entries.length ? source.outgoingShown() : [],
      nowMs,
    });
    this.hooks.drawTop();
    const live = new Set<string>();
    arrange(this.rows, days.map((day) => this.drawDay(day, nowMs, live)));
    for (const key of this.nodes.keys()) if (!live.has(key)) this.nodes.delete(key);
    const keys = new Set(days.map((day) => day.key));
    for (const key of this.days.keys()) if (!keys.has(key)) this.days.delete(key);
  }

  private drawDay(day: Day, nowMs: number, live: Set<string>): HTMLElement {
    let held = this.days.get(day.key);
    if (!held) {
      const label = h("span");
      const list = h("ol");
      held = { node: h("section", { class: "day" }, h("h3", {}, label), list), list, label };
      this.days.set(day.key, held);
    }
    setText(held.label, dayLabel(day.dayMs, nowMs));
    arrange(held.list, day.rows.map((row) => {
      live.add(row.key);
      const node = this.nodes.get(row.key);
      if (node) {
        patchRow(node, row);
        return node.node;
      }
      const made = makeRow(row);
      this.nodes.set(row.key, made);
      return made.node;
    }));
    return held.node;
  }

  /** The first row on the screen, to stay where it is. */
  private anchor(): { node: HTMLElement; top: number } | undefined {
    const edge = this.scroller.getBoundingClientRect().top;
    for (const day of this.rows.children) {
      if (day.getBoundingClientRect().bottom <= edge) continue;
      for (const node of day.querySelectorAll<HTMLElement>("li[data-seq]")) {
        const box = node.getBoundingClientRect();
        if (box.bottom > edge) return { node, top: box.top };
      }
    }
    return undefined;
  }

  /** Nobody looks: what is new goes no further than the unread line, so that its beginning is there on return. */
  private putAtEnd(): void {
    this.scroller.scrollTop = this.scroller.scrollHeight;
    const line = this.hooks.looking() ? null : this.rows.querySelector(".new-line");
    if (!line) return;
    const offset = line.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top - UNREAD_PX;
    if (offset < 0) this.scroller.scrollTop += offset;
  }

  private putNearTop(seq: number): void {
    this.atEnd = false;
    const node = this.rows.querySelector<HTMLElement>(".new-line") ?? this.nodes.get(`m${seq}`)?.node;
    if (!node) return;
    const offset = node.getBoundingClientRect().top - this.scroller.getBoundingClientRect().top;
    this.scroller.scrollTop += offset - UNREAD_PX;
  }

  private look(): void {
    const source = this.source;
    if (!source || this.scroller.clientHeight === 0) return;
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    const { timeline } = source;
    const window = this.held();
    const below = scrollHeight - clientHeight - scrollTop;
    const endShown = this.endShown(window);
    this.atEnd = endShown && below <= END_PX;
    this.showJump(source, !endShown || below > JUMP_PX);

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
    const edge = this.scroller.getBoundingClientRect().bottom;
    const rows = this.rows.querySelectorAll<HTMLElement>("li[data-seq]");
    for (let i = rows.length - 1; i >= 0; i--) {
      const row = rows[i] as HTMLElement;
      const box = row.getBoundingClientRect();
      if (box.top + Math.min(box.height, 40) <= edge) return this.hooks.visible(Number(row.dataset.seq));
    }
  }

  private click(event: Event): void {
    const button = (event.target as Element).closest("button");
    const row = button?.closest<HTMLElement>(".msg");
    if (!button || !row) return;
    if (button.classList.contains("more")) {
      const folded = row.classList.toggle("folded");
      row.classList.toggle("open", !folded);
      button.textContent = folded ? "Show all" : "Show less";
      this.check();
    } else if (row.dataset.id !== undefined) {
      if (button.classList.contains("retry")) this.hooks.retry(row.dataset.id);
      if (button.classList.contains("discard")) this.hooks.discard(row.dataset.id);
      this.scroller.focus({ preventScroll: true });
    }
  }

  private tellReaders(event: Event): void {
    const meta = (event.target as Element).closest<HTMLElement>(".own .meta");
    const seq = Number(meta?.closest<HTMLElement>(".msg")?.dataset.seq ?? 0);
    if (!meta || seq === 0) return;
    const readers = this.hooks.readersOf(seq);
    meta.title = readers.length === 0 ? "Stored, not read yet" : `Read by ${readers.slice(0, 12).join(", ")}${readers.length > 12 ? ` and ${readers.length - 12} more` : ""}`;
  }
}
