/** The logs of the fake server. */
import type { EventFrame } from "../../src/wire/frames.js";
import { Code } from "../../src/wire/codes.js";

export class Log {
  readonly events: EventFrame[] = [];
  /** Ids that were stored, as `user/producer/n`. */
  private readonly ids = new Map<string, EventFrame>();
  private readonly highest = new Map<string, number>();
  /** The first seq that can still be read. */
  floor = 1;

  get head(): number {
    return this.events.length;
  }

  append(sender: string, body: Uint8Array | undefined, originTimeMs?: number): EventFrame {
    const event: EventFrame = { type: "event", seq: this.head + 1, timeMs: 1_000 + this.head, sender, originTimeMs, kind: body && { type: "message", body } };
    this.events.push(event);
    return event;
  }

  /** Stores a message once. The result is a code when it is refused. */
  publish(user: string, producer: bigint, n: number, body: Uint8Array): { event: EventFrame; duplicate: boolean } | number {
    const [who, id] = [`${user}/${producer}`, `${user}/${producer}/${n}`];
    const known = this.ids.get(id);
    if (known) return { event: known, duplicate: true };
    if (n <= (this.highest.get(who) ?? -1)) return Code.STALE_MESSAGE_ID;
    const event = this.append(user, body);
    this.ids.set(id, event);
    this.highest.set(who, n);
    return { event, duplicate: false };
  }

  /** Retention takes everything before this seq. */
  retain(floor: number): void {
    this.floor = floor;
  }
}
