/** From the SDK's events to what the page holds. */

import type { Gap, LogEvent, Page as SdkPage } from "../../src/index.js";
import { deedText } from "./model/deeds.js";
import { isolated } from "./model/text.js";
import type { Entry, Page } from "./model/timeline.js";

export function pageOf(page: SdkPage): Page {
  const { head, floor, moreBefore, moreAfter } = page;
  return { entries: page.events.map(entryOf), head, floor, moreBefore, moreAfter };
}

export function entryOf(event: LogEvent | Gap): Entry {
  if (event.type === "gap") return { kind: "gap", from: event.from, to: event.to };
  const { seq, timeMs, sender } = event;
  if (event.type === "message" && event.text !== undefined) {
    const origin = event.originTimeMs === undefined ? {} : { originMs: event.originTimeMs };
    const { text, replyTo, mentions, expiresMs } = event;
    return { kind: "message", seq, timeMs, sender, text, ...origin, replyTo, mentions, expiresMs };
  }
  if (event.type === "edited" || event.type === "reacted" || event.type === "revoked") return { kind: "change", seq, timeMs, sender };
  const who = isolated(sender);
  const what = (): string => {
    if (event.type === "unknown") return `${who} did something that this page does not know`;
    if (event.type === "message") return `${who} sent ${event.body.length.toLocaleString("en")} bytes that are not text`;
    return deedText(event);
  };
  return { kind: "note", seq, timeMs, sender, what: what() };
}
