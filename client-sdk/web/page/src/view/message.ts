/** One row of the log as nodes, and what changes in it while it stands. */

import { pieces } from "../model/links.js";
import type { Mark, MessageRow, Row } from "../model/rows.js";
import { isEmojiOnly, isLong } from "../model/text.js";
import { clockTime, fullTime } from "../model/times.js";
import { face, h, icon, nameNode } from "./dom.js";

export interface RowNode {
  node: HTMLElement;
  signature: string;
}

const MARKS: Record<Mark, { icon: string; label: string }> = {
  waiting: { icon: "clock", label: "Waiting for the connection" },
  sending: { icon: "clock", label: "Sending" },
  stored: { icon: "tick", label: "Stored" },
  read: { icon: "ticks", label: "Read" },
  failed: { icon: "alert", label: "Not sent" },
};

export function signatureOf(row: Row): string {
  if (row.kind !== "message") return row.kind === "quiet" ? row.text : "";
  return `${row.first ? "f" : ""}${row.last ? "l" : ""} ${row.mark ?? ""} ${row.failure ?? ""}`;
}

export function makeRow(row: Row): RowNode {
  const signature = signatureOf(row);
  if (row.kind === "unread") return { node: h("li", { class: "new-line" }, "New messages"), signature };
  if (row.kind === "quiet")
    return { node: h("li", { class: "quiet-line", dataset: { seq: String(row.seq) } }, row.text), signature };
  return { node: makeMessage(row), signature };
}

/** Brings a standing row up to date. */
export function patchRow(held: RowNode, row: Row): void {
  const signature = signatureOf(row);
  if (signature === held.signature) return;
  held.signature = signature;
  if (row.kind === "quiet") held.node.textContent = row.text;
  if (row.kind !== "message") return;
  setClasses(held.node, row);
  const tick = held.node.querySelector(".tick");
  if (row.mark && tick) tick.replaceWith(tickOf(row.mark));
  held.node.querySelector(".fail")?.remove();
  if (row.failure !== undefined) held.node.append(failure(row.failure));
}

function setClasses(node: HTMLElement, row: MessageRow): void {
  node.className = [
    "msg",
    row.own && "own",
    row.first && "first",
    row.last && "last",
    row.imported && "imported",
    isEmojiOnly(row.text) && "emoji",
    row.mark === "waiting" && "waiting",
    row.mark === "failed" && "failed",
    node.classList.contains("folded") && "folded",
  ]
    .filter(Boolean)
    .join(" ");
  const from = node.querySelector(".from");
  if (from) from.classList.toggle("sr", row.own || !row.first);
}

function makeMessage(row: MessageRow): HTMLElement {
  const node = h("li", {
    dataset: { ...(row.seq === undefined ? {} : { seq: String(row.seq) }), ...(row.id === undefined ? {} : { id: row.id }) },
  });
  const avatar = face(row.sender);
  const from = h("span", { class: "from" }, row.own ? "You" : nameNode(row.sender));
  for (const hue of avatar.classList) if (hue.startsWith("hue-")) from.classList.add(hue);
  const text = h("div", { class: "text", dir: "auto" }, ...textNodes(row.text));
  const meta = h("span", { class: "meta" }, timeNode(row), row.mark && tickOf(row.mark));
  const bubble = h("div", { class: "bubble" }, from, text);
  if (isLong(row.text)) {
    node.classList.add("folded");
    bubble.append(h("button", { class: "more", type: "button" }, "Show all"), meta);
  } else {
    text.append(meta);
  }
  if (!row.own) node.append(avatar);
  node.append(bubble);
  if (row.failure !== undefined) node.append(failure(row.failure));
  setClasses(node, row);
  return node;
}

function timeNode(row: MessageRow): HTMLTimeElement {
  const node = h(
    "time",
    { title: row.imported ? `Said ${fullTime(row.timeMs)}, stored here ${fullTime(row.storedMs)}` : fullTime(row.storedMs) },
    clockTime(row.timeMs),
  );
  node.dateTime = new Date(row.timeMs).toISOString();
  return node;
}

function tickOf(mark: Mark): SVGSVGElement {
  return icon(MARKS[mark].icon, `tick ${mark}`, MARKS[mark].label);
}

function failure(why: string): HTMLElement {
  return h(
    "div",
    { class: "fail" },
    h("span", {}, why),
    h("button", { class: "quiet retry", type: "button" }, "Try again"),
    h("button", { class: "quiet danger discard", type: "button" }, "Delete"),
  );
}

function textNodes(text: string): (Node | string)[] {
  return pieces(text).map((piece) => {
    if (piece.href === undefined) return piece.text;
    const link = h("a", {}, piece.text);
    link.href = piece.href;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    return link;
  });
}
