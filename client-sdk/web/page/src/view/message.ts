/** One row of the log as nodes, and what changes in it while it stands. */

import { pieces } from "../model/links.js";
import { calls } from "../model/mentions.js";
import type { Mark, MessageRow, Quote, Row } from "../model/rows.js";
import { isEmojiOnly, isLong, oneLine } from "../model/text.js";
import { clockTime, fullTime } from "../model/times.js";
import { face, h, icon, nameNode } from "./dom.js";

export interface RowNode {
  node: HTMLElement;
  /** What it says, and how it stands: each is drawn anew when it is another one. */
  content: string;
  signature: string;
}

const MARKS: Record<Mark, { icon: string; label: string }> = {
  waiting: { icon: "clock", label: "Waiting for the connection" },
  sending: { icon: "clock", label: "Sending" },
  stored: { icon: "tick", label: "Stored" },
  delivered: { icon: "ticks", label: "Delivered" },
  read: { icon: "ticks", label: "Read" },
  failed: { icon: "alert", label: "Not sent" },
};
/** Those that stay whatever the row says. */
const KEPT = ["folded", "editing", "flash"];

function signatureOf(row: Row): string {
  if (row.kind !== "message") return row.kind === "quiet" ? row.text : "";
  return `${row.first ? "f" : ""}${row.last ? "l" : ""} ${row.mark ?? ""} ${row.failure ?? ""} ${JSON.stringify(row.reactions)}`;
}

const contentOf = (row: Row): string =>
  row.kind === "message" ? JSON.stringify([row.text, row.edited, row.expiresMs, row.mentions, row.callsMe, row.quote]) : "";

export function makeRow(row: Row): RowNode {
  const [signature, content] = [signatureOf(row), contentOf(row)];
  if (row.kind === "unread") return { node: h("li", { class: "new-line" }, "New messages"), signature, content };
  if (row.kind === "quiet") {
    const name = row.deleted ? "quiet-line deleted" : "quiet-line";
    return { node: h("li", { class: name, dataset: { seq: String(row.seq) } }, row.text), signature, content };
  }
  return { node: makeMessage(row), signature, content };
}

/** Brings a standing row up to date. One that is being edited is left alone until that is over. */
export function patchRow(held: RowNode, row: Row): void {
  const { node } = held;
  const [signature, content] = [signatureOf(row), contentOf(row)];
  if ((signature === held.signature && content === held.content) || node.classList.contains("editing")) return;
  if (row.kind === "quiet") node.textContent = row.text;
  if (row.kind !== "message") return;
  if (content !== held.content) {
    const tools = node.querySelector(".tools");
    const bubble = bubbleOf(row, node);
    if (tools) bubble.append(tools);
    node.querySelector(".bubble")?.replaceWith(bubble);
  }
  Object.assign(held, { signature, content });
  setClasses(node, row);
  const tick = node.querySelector(".tick");
  if (row.mark && tick) tick.replaceWith(tickOf(row.mark));
  node.querySelector(".fail")?.remove();
  if (row.failure !== undefined) node.append(failure(row.failure));
  drawReactions(node, row);
}

function setClasses(node: HTMLElement, row: MessageRow): void {
  node.className = [
    "msg",
    row.own && "own",
    row.first && "first",
    row.last && "last",
    row.imported && "imported",
    row.callsMe && "calls-me",
    isEmojiOnly(row.text) && "emoji",
    row.mark === "waiting" && "waiting",
    row.mark === "failed" && "failed",
    ...KEPT.filter((name) => node.classList.contains(name)),
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
  if (row.seq !== undefined) node.tabIndex = -1;
  if (!row.own) node.append(face(row.sender));
  node.append(bubbleOf(row, node));
  if (row.failure !== undefined) node.append(failure(row.failure));
  setClasses(node, row);
  drawReactions(node, row);
  return node;
}

function bubbleOf(row: MessageRow, node: HTMLElement): HTMLElement {
  const from = h("span", { class: "from" }, row.own ? "You" : nameNode(row.sender));
  for (const hue of face(row.sender).classList) if (hue.startsWith("hue-")) from.classList.add(hue);
  const text = h("div", { class: "text", dir: "auto" }, ...textNodes(row));
  const meta = h(
    "span",
    { class: "meta" },
    row.edited && h("span", { class: "edited" }, "edited"),
    row.expiresMs > 0 && fleeting(row.expiresMs),
    timeNode(row),
    row.mark && tickOf(row.mark),
  );
  const bubble = h("div", { class: "bubble" }, from, row.quote && quoteNode(row.quote), text);
  if (isLong(row.text)) {
    node.classList.add("folded");
    bubble.append(h("button", { class: "more", type: "button" }, "Show all"), meta);
  } else {
    node.classList.remove("folded");
    text.append(meta);
  }
  return bubble;
}

function quoteNode({ seq, sender, text }: Quote): HTMLElement {
  const said = text === undefined ? "…" : sender === undefined ? "Message deleted" : oneLine(text);
  const button = h(
    "button",
    { class: "quote", type: "button", title: "Go to this message", dataset: { of: String(seq) } },
    h("span", { class: "sr" }, "Answers "),
    sender !== undefined && h("strong", {}, nameNode(sender)),
    nameNode(said),
  );
  button.disabled = sender === undefined;
  return button;
}

function drawReactions(node: HTMLElement, { reactions }: MessageRow): void {
  const old = node.querySelector(".reactions");
  const focused = old?.contains(document.activeElement) ? (document.activeElement as HTMLElement).dataset.reaction : undefined;
  const chips = reactions.map(({ reaction, count, mine }) => {
    const label = `${reaction}, ${count} ${count === 1 ? "reaction" : "reactions"}`;
    const chip = h("button", { class: "reaction", type: "button", "aria-label": label, dataset: { reaction } }, nameNode(reaction), ` ${count}`);
    chip.setAttribute("aria-pressed", String(mine));
    return chip;
  });
  old?.remove();
  if (chips.length > 0) node.querySelector(".bubble")?.after(h("div", { class: "reactions" }, ...chips));
  if (focused !== undefined) (chips.find((chip) => chip.dataset.reaction === focused) ?? node).focus({ preventScroll: true });
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

function fleeting(expiresMs: number): HTMLElement {
  const label = `Disappears ${fullTime(expiresMs)}`;
  return h("span", { class: "fleeting", title: label }, icon("timer", "", label));
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

function textNodes({ text, mentions }: MessageRow): (Node | string)[] {
  return pieces(text).flatMap((piece): (Node | string)[] => {
    if (piece.href === undefined)
      return calls(piece.text, mentions).map((part) =>
        part.user === undefined ? part.text : h("span", { class: "mention" }, nameNode(part.text)),
      );
    const link = h("a", {}, piece.text);
    link.href = piece.href;
    link.target = "_blank";
    link.rel = "noopener noreferrer nofollow";
    return [link];
  });
}
