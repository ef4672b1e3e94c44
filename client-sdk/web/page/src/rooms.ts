/** All conversations of the list as rooms, and what waits in the outbox sorted into them. */

import type { MessageId } from "../../src/index.js";
import type { Messages } from "../../src/messages/index.js";
import type { Entry, KeptOptions, Outbox } from "../../src/outbox/index.js";
import type { Hidden } from "./hidden.js";
import { refusalText } from "./model/refusals.js";
import type { TalkList } from "./model/talks.js";
import { Room, type RoomHooks } from "./room.js";

const idText = (id: MessageId): string => `${id.producer}.${id.n}`;

export class Rooms {
  private rooms = new Map<string, Room>();
  private ids = new Map<string, MessageId>();
  private connected = false;

  constructor(
    private readonly outbox: Outbox,
    private readonly messages: Messages,
    private readonly hidden: Hidden,
    readonly talks: TalkList,
    private readonly me: string,
    private readonly hooks: RoomHooks,
  ) {
    for (const talk of talks.all) this.add(talk.name);
    for (const entry of outbox.entries) this.take(entry, true);
    outbox.onChange((entry) => this.take(entry, false));
  }

  get(name: string): Room | undefined {
    return this.rooms.get(name);
  }

  get all(): Room[] {
    return [...this.rooms.values()];
  }

  /** None when the list is full. `read`: how far the user is known to have read it. */
  add(name: string, read?: number): Room | undefined {
    const known = this.rooms.get(name);
    if (known) return known;
    const talk = this.talks.add(name) ?? (this.makeRoom() ? this.talks.add(name) : undefined);
    if (!talk) return undefined;
    talk.read ??= read;
    const room = new Room(talk, this.me, this.outbox.client.conversation(name), this.messages, this.hidden.of(name), this.hooks);
    this.rooms.set(name, room);
    room.start();
    return room;
  }

  /** Closes the conversation that was used longest ago among those that stand in the inbox anyway. */
  private makeRoom(): boolean {
    const idle = this.talks.sorted().reverse().find(({ name }) => {
      const room = this.rooms.get(name);
      return room?.info?.role !== undefined && room.outgoing.size === 0 && this.hooks.attention(room) === "elsewhere";
    });
    if (idle) this.remove(idle.name);
    return idle !== undefined;
  }

  remove(name: string): void {
    this.rooms.get(name)?.stop();
    this.rooms.delete(name);
    this.talks.remove(name);
  }

  setConnected(connected: boolean): void {
    this.connected = connected;
    for (const room of this.rooms.values()) {
      room.outgoing.connected(connected);
      // What holds is asked for anew: it may have been changed meanwhile.
      if (!connected) room.retention = undefined;
      if (connected && room.state.name === "ended" && room.state.error.retryable) room.restart();
      this.hooks.changed(room);
    }
  }

  get unread(): number {
    return this.all.reduce((sum, room) => sum + room.unread, 0);
  }

  get waiting(): number {
    return this.outbox.entries.filter((entry) => entry.state === "waiting").length;
  }

  async send(room: Room, text: string, more: KeptOptions): Promise<void> {
    room.unreadAfter = undefined;
    await this.outbox.send(room.name, text, more);
  }

  retry(id: string): void {
    const message = this.ids.get(id);
    if (message) void this.outbox.retry(message).catch(() => undefined);
  }

  discard(id: string): void {
    const message = this.ids.get(id);
    if (message) void this.outbox.discard(message).catch(() => undefined);
  }

  private take(entry: Entry, old: boolean): void {
    const room = this.add(entry.conversation);
    if (!room) return;
    const id = idText(entry.id);
    const { outgoing, timeline } = room;
    if (entry.state === "discarded") {
      this.ids.delete(id);
      outgoing.remove(id);
      room.recall();
    } else if (entry.state === "stored") {
      this.ids.delete(id);
      outgoing.stored(id, entry.ack?.seq ?? 0, timeline.attached ? timeline.last : 0);
    } else {
      const text = entry.text ?? "";
      this.ids.set(id, entry.id);
      const { replyTo, mentions, expiresInMs } = entry;
      outgoing.add(id, text, entry.keptAtMs, this.connected ? "sending" : "waiting", { replyTo, mentions, expiresInMs });
      if (entry.state === "refused") outgoing.mark(id, "failed", refusalText(entry.error?.code));
      if (!old) room.say({ sender: this.me, text, timeMs: entry.keptAtMs });
    }
    this.hooks.changed(room);
  }
}
