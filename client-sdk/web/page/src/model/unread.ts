/** How many messages of others lie behind what was read. */

import type { Timeline } from "./timeline.js";

/**
 * Exact within what is held. What lies outside is reckoned by seqs, so own messages from another device count
 * there too.
 */
export function unreadOf(timeline: Timeline, read: number, me: string): number {
  const before = timeline.entries.length > 0 ? Math.max(0, timeline.first - 1 - read) : 0;
  const behind = Math.max(0, timeline.head - Math.max(timeline.last, read));
  let held = 0;
  for (let i = timeline.indexOf(read + 1); i < timeline.entries.length; i++) {
    const entry = timeline.entries[i];
    if (entry?.kind === "message" && entry.seq > read && entry.sender !== me) held++;
  }
  return before + held + behind;
}
