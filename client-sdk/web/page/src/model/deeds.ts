/** What happens in a conversation besides messages, in a line for people. */

import type { ChangeEvent, MembershipEvent, Retention } from "../../../src/index.js";
import { isolated } from "./text.js";
import { fullTime } from "./times.js";

export type Deed = MembershipEvent | Exclude<ChangeEvent, { type: "edited" | "reacted" | "revoked" }>;

export function deedText(event: Deed): string {
  const who = isolated(event.sender);
  const whom = "user" in event && event.user !== undefined ? isolated(event.user) : "everybody";
  switch (event.type) {
    case "created":
      return `${who} created this ${event.kind === "direct" ? "conversation" : event.kind}${called(event.title)}`;
    case "renamed":
      return event.title === "" ? `${who} took the title away` : `${who} renamed this to ${isolated(event.title)}`;
    case "member_set":
      return memberSet(event, who, whom);
    case "member_gone":
      if (event.cause === "left") return `${whom} left`;
      return event.cause === "removed" ? `${who} removed ${whom}` : `${whom} is out by a ban`;
    case "muted":
      return event.untilMs === 0 ? `${who} lets ${whom} write again` : `${who} muted ${whom}${until(event.untilMs)}`;
    case "banned":
      return event.untilMs === 0 ? `${who} lifted the ban of ${whom}` : `${who} banned ${whom}${until(event.untilMs)}`;
    case "slow_mode":
      return event.intervalMs === 0
        ? `${who} ended slow mode`
        : `${who} set slow mode: one message in ${(event.intervalMs / 1000).toLocaleString("en")} s`;
    case "invitation_made":
      // One that ends before it is made is the end of that with the same hash.
      return event.expiresMs === 1 ? `${who} ended an invitation` : `${who} made an invitation`;
    case "invitations_revoked":
      return `${who} revoked all invitations`;
    case "belongs":
      return `You are ${article(event.role)} of ${isolated(event.title || event.conversation)}`;
    case "belongs_no_more":
      return `You are not in ${isolated(event.conversation)} any more`;
    case "blocked":
      return event.blocked ? `You blocked ${whom}` : `You do not block ${whom} any more`;
    case "retention_set":
      return `${who} set that messages are kept ${kept(event.retention)}`;
    case "hidden":
      return `You hid a message of ${isolated(event.conversation)}`;
    case "inbox_set":
      return `You changed how ${isolated(event.conversation)} stands in your inbox`;
  }
}

function memberSet(event: MembershipEvent & { type: "member_set" }, who: string, whom: string): string {
  if (event.previous === event.role) return `${who} changed what ${whom} may do`;
  if (event.previous !== undefined) return `${who} made ${whom} ${article(event.role)}`;
  if (event.invitation) return `${whom} came with an invitation`;
  return event.sender === event.user ? `${whom} joined` : `${who} added ${whom}`;
}

/** "an admin", "a reader". */
export const article = (role: string): string => `${/^[ao]/u.test(role) ? "an" : "a"} ${role}`;

export function kept({ ageS, count, bytes }: Retention): string {
  const bounds = [
    ageS > 0 && `for ${span(ageS)}`,
    count > 0 && `up to ${count.toLocaleString("en")} events`,
    bytes > 0 && `up to ${bytes.toLocaleString("en")} bytes`,
  ].filter((bound) => bound !== false);
  return bounds.join(", ") || "for ever";
}

/** In the largest unit that tells it exactly. */
function span(s: number): string {
  const units: readonly (readonly [number, string])[] = [[86_400, "day"], [3_600, "hour"], [60, "minute"]];
  const [unitS, unit] = units.find(([unitS]) => s % unitS === 0) ?? [1, "second"];
  const count = s / unitS;
  return `${count.toLocaleString("en")} ${unit}${count === 1 ? "" : "s"}`;
}

const called = (title: string): string => (title === "" ? "" : ` ${isolated(title)}`);

/** A time that never comes is not told. */
const until = (ms: number): string => (ms === Infinity ? "" : ` until ${fullTime(ms)}`);
