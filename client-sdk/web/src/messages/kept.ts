/** How long a conversation's events are kept, as far as a reader can know. No IO. */
import type { LogEvent } from "../api.js";
import { allBehind, type Range, withoutRange, withRange } from "./ranges.js";
import type { Retention } from "./shapes.js";

export class Kept {
  /** What the latest event says that sets it; `undefined`: none has come. */
  retention: Retention | undefined;
  /** That event, or a later one up to which none sets another. */
  private set = 0;
  /** The events that have come themselves. Among absent ones there may be one that has set another retention: that stays in force. */
  private seen: readonly Range[] = [];

  event(event: LogEvent): void {
    this.seen = withRange(this.seen, { from: event.seq, to: event.seq });
    if (event.type !== "retention_set" || event.seq <= this.set) return;
    this.set = event.seq;
    this.retention = event.retention;
  }

  /** The one in force, when each event behind it up to this one has come. */
  inForceAt(last: number): Retention | undefined {
    return allBehind(this.seen, this.set) >= last ? this.retention : undefined;
  }

  forgetBefore(begin: number): void {
    // It is known up to there, and stays so when those before are forgotten.
    if (this.retention) this.set = Math.max(this.set, Math.min(allBehind(this.seen, this.set), begin - 1));
    this.seen = withoutRange(this.seen, { from: 0, to: begin - 1 });
  }
}
