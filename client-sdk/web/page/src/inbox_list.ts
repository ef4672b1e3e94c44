/** The list of conversations: those of the inbox, those that are open besides, and what can be done with each. */

import type { Inbox, InboxRow, Retention } from "../../src/messages/index.js";
import type { Last } from "./model/talks.js";
import { shownName } from "./model/conversation.js";
import type { Room } from "./room.js";
import type { Rooms } from "./rooms.js";
import type { MenuItem } from "./view/menu.js";
import type { ListItem } from "./view/list.js";

const HOUR_MS = 3_600_000;

export interface InboxListHooks {
  active(): Room;
  changed(): void;
  /** The server's clock. */
  nowMs(): number;
  /** How long a conversation's events are kept, where that is known. */
  retentionOf(name: string): Retention | undefined;
  /** Something besides a message has come to a conversation that is not open. */
  moved(name: string): void;
  /** A message has come to a conversation that is not open. */
  arrived(title: string, last: Last): void;
  /** Something of an open conversation that has members is told. */
  told(room: Room): void;
  problem(error: unknown): void;
  remove(name: string): void;
  /** What the user has asked for could not be had. */
  notLoaded(): void;
}

export class InboxList {
  /** Of the conversations that are not open, the last message that was told of. */
  private readonly toldSeqs = new Map<string, number>();
  private isLoading = false;
  /** When something that `items` has shown last is to be shown no more. */
  dueMs = Infinity;

  constructor(
    private readonly inbox: Inbox,
    private readonly rooms: Rooms,
    private readonly me: string,
    private readonly hooks: InboxListHooks,
  ) {
    inbox.onChange((name) => {
      for (const row of name === undefined ? inbox.rows : [inbox.get(name)]) if (row) this.told(row, name !== undefined);
      hooks.changed();
    });
  }

  /** How far the user has read a conversation, as the server knows it. */
  readOf(name: string): number | undefined {
    return this.inbox.get(name)?.read;
  }

  has(name: string): boolean {
    return this.inbox.get(name) !== undefined;
  }

  /** All of them in order: pinned ones first, then the latest. */
  items(hintOf: (room: Room) => string): ListItem[] {
    const nowMs = this.hooks.nowMs();
    this.dueMs = Infinity;
    const talks = this.rooms.talks.all.map(({ name }) => name);
    const names = new Set([...talks, ...this.inbox.rows.map(({ conversation }) => conversation)]);
    const items = [...names].map((name) => this.item(name, nowMs, hintOf));
    return items.sort(
      (a, b) => Number(b.pinned) - Number(a.pinned) || (b.last?.timeMs ?? b.timeMs) - (a.last?.timeMs ?? a.timeMs) || (a.name < b.name ? -1 : 1),
    );
  }

  /** The names of those that are not archived, in order. */
  order(): string[] {
    return this.items(() => "").flatMap(({ name, archived }) => (archived ? [] : [name]));
  }

  more(name: string, anchor: HTMLElement): void {
    const row = this.inbox.get(name);
    const set = (settings: Parameters<Inbox["set"]>[1]) => () =>
      void this.inbox.set(name, settings).catch((error: unknown) => this.hooks.problem(error));
    const muteFor = (label: string, forMs: number): MenuItem => ({ label, does: () => set({ mutedUntilMs: Date.now() + forMs })() });
    const items: MenuItem[] = row
      ? [
          { label: row.pinned ? "Unpin" : "Pin", does: set({ pinned: !row.pinned }) },
          ...(row.mutedUntilMs > Date.now()
            ? [{ label: "Unmute", does: set({ mutedUntilMs: 0 }) }]
            : [muteFor("Mute for an hour", HOUR_MS), muteFor("Mute for 8 hours", 8 * HOUR_MS), { label: "Mute", does: set({ mutedUntilMs: Infinity }) }]),
          { label: row.archived ? "Take out of the archive" : "Archive", does: set({ archived: !row.archived }) },
        ]
      : [{ label: "Remove from my list", danger: true, does: () => this.hooks.remove(name) }];
    import("./extra.js").then(
      ({ openMenu }) => openMenu(anchor, { label: "Conversation", items }),
      () => this.hooks.notLoaded(),
    );
  }

  async loadMore(): Promise<void> {
    if (this.isLoading || !this.inbox.hasMore) return;
    this.isLoading = true;
    await this.inbox.loadMore().catch(() => undefined);
    this.isLoading = false;
  }

  private item(name: string, nowMs: number, hintOf: (room: Room) => string): ListItem & { timeMs: number } {
    const room = this.rooms.get(name);
    const row = this.inbox.get(name);
    const here = room?.talk.last;
    const there = row && lastOf(row);
    // What is on its way from here is later than what the server tells of. A row may be older than what has gone
    // here.
    const isHere = !there || (here && here.timeMs >= there.timeMs) || (room?.covers(there.seq) ?? false);
    // When the last one has gone by its age, so have all before it.
    const isGone = !isHere && this.isGoneByAge(name, there.timeMs, nowMs);
    const last = isHere ? here : isGone ? undefined : there;
    const [unread, mentions] = isGone ? [0, 0] : countsOf(room, row);
    return {
      name,
      title: room?.title ?? shownName(name, undefined, row?.title || undefined),
      last,
      timeMs: Math.max(row?.timeMs ?? 0, room?.talk.timeMs ?? 0),
      unread,
      mentions,
      muted: (row?.mutedUntilMs ?? 0) > nowMs,
      pinned: row?.pinned ?? false,
      archived: row?.archived ?? false,
      typings: room?.typings ?? [],
      hint: room ? hintOf(room) : "No messages",
      current: room !== undefined && room === this.hooks.active(),
      me: this.me,
    };
  }

  private isGoneByAge(name: string, timeMs: number, nowMs: number): boolean {
    const { ageS } = this.hooks.retentionOf(name) ?? { ageS: 0 };
    const goneMs = ageS > 0 ? timeMs + ageS * 1000 : Infinity;
    if (goneMs > nowMs) this.dueMs = Math.min(this.dueMs, goneMs);
    return goneMs <= nowMs;
  }

  private told(row: InboxRow, isNews: boolean): void {
    const room = this.rooms.get(row.conversation);
    if (room) {
      room.readTo(row.read);
      if (row.title !== (room.info?.title ?? "") || !room.info) this.hooks.told(room);
    }
    const last = lastOf(row);
    const seq = row.last?.seq ?? 0;
    if (!room && isNews && row.head > seq) this.hooks.moved(row.conversation);
    const before = this.toldSeqs.get(row.conversation) ?? 0;
    this.toldSeqs.set(row.conversation, Math.max(before, seq));
    const isHeard = !room && isNews && row.mutedUntilMs <= Date.now() && !row.archived;
    if (isHeard && last && seq > before && last.sender !== this.me) this.hooks.arrived(shownName(row.conversation, undefined, row.title || undefined), last);
  }
}

function countsOf(room: Room | undefined, row: InboxRow | undefined): [unread: number, mentions: number] {
  const here = room ?? { unread: 0, mentions: 0 };
  // The server does not know yet what was read here a moment ago.
  if (!row || (room?.talk.read ?? 0) > row.read) return [here.unread, here.mentions];
  // It does not tell again when something has expired.
  const isHere = room?.covers(row.head) ?? false;
  return isHere ? [Math.min(here.unread, row.unread), Math.min(here.mentions, row.mentions)] : [row.unread, row.mentions];
}

function lastOf({ last }: InboxRow): (Last & { seq: number }) | undefined {
  if (last?.type !== "message") return undefined;
  return { seq: last.seq, sender: last.sender, text: last.text ?? "", timeMs: last.timeMs };
}
