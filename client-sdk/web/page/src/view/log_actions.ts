/** What can be done with a message: by its buttons, by pointer, and by keys. */

import { h, icon } from "./dom.js";

export interface LogActions {
  retry(id: string): void;
  discard(id: string): void;
  readersOf(seq: number): string[];
  /** A row has another height. */
  resized(): void;
  reply(seq: number): void;
  /** The user wants to react, by a menu beside `anchor`. */
  pick(seq: number, anchor: HTMLElement): void;
  /** The user wants to know what else there is to do. */
  more(seq: number, anchor: HTMLElement): void;
  /** Reacts, or does no more. */
  react(seq: number, reaction: string): void;
  /** The user wants to see the message that another one answers. */
  original(seq: number): void;
}

const READERS_MAX = 12;

export function listenToRows(log: HTMLElement, rows: HTMLElement, actions: LogActions): void {
  const tools = toolsNode();
  const show = (target: EventTarget | null): void => {
    const row = (target as Element | null)?.closest<HTMLElement>(".msg");
    if (!row || row.contains(tools)) return;
    if (seqOf(row) > 0 && !row.classList.contains("editing")) row.querySelector(".bubble")?.append(tools);
    else tools.remove();
  };
  rows.addEventListener("pointerover", (event) => {
    show(event.target);
    const meta = (event.target as Element).closest<HTMLElement>(".own .meta");
    const seq = meta ? seqOf(meta) : 0;
    if (meta && seq > 0) meta.title = readersText(actions.readersOf(seq));
  });
  rows.addEventListener("focusin", (event) => show(event.target));
  rows.addEventListener("contextmenu", (event) => {
    const row = (event.target as Element).closest<HTMLElement>(".msg");
    // A link and a selection have menus of their own.
    const isOther = (event.target as Element).closest("a, textarea") !== null || getSelection()?.type === "Range";
    if (!row || isOther || seqOf(row) === 0) return;
    event.preventDefault();
    actions.more(seqOf(row), row.querySelector<HTMLElement>(".bubble") ?? row);
  });
  rows.addEventListener("click", (event) => {
    const target = event.target as Element;
    const row = target.closest<HTMLElement>(".msg");
    const button = target.closest("button");
    if (!row) return;
    const seq = seqOf(row);
    if (!button && seq > 0 && target.closest(".own .meta")) return actions.more(seq, row.querySelector<HTMLElement>(".meta") ?? row);
    if (!button) return;
    const { id } = row.dataset;
    const { does = "", reaction = "", of = "" } = button.dataset;
    if (button.classList.contains("more")) {
      unfold(row, button);
      actions.resized();
    } else if (does === "react") actions.pick(seq, button);
    else if (does === "reply") actions.reply(seq);
    else if (does === "more") actions.more(seq, button);
    else if (reaction !== "") actions.react(seq, reaction);
    else if (of !== "") actions.original(Number(of));
    if (id !== undefined && button.classList.contains("retry")) actions.retry(id);
    if (id !== undefined && button.classList.contains("discard")) actions.discard(id);
    // The button goes with its row: the focus must not fall to nowhere.
    if (id !== undefined) log.focus({ preventScroll: true });
  });
  log.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    if (act(event, log, rows, actions)) {
      event.preventDefault();
      event.stopPropagation();
    }
  });
}

/** From the log into its messages by Enter, among them by arrows, and out by Escape. Whether the key was for that. */
function act(event: KeyboardEvent, log: HTMLElement, rows: HTMLElement, actions: LogActions): boolean {
  const target = event.target as HTMLElement;
  if (target === log) return event.key === "Enter" && focusLast(log, rows);
  const row = target.closest<HTMLElement>(".msg");
  if (!row || target.closest("textarea")) return false;
  if (event.key === "Escape") {
    log.focus({ preventScroll: true });
    return true;
  }
  if (target !== row) return false;
  const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
  if (step !== undefined) {
    const all = messagesOf(rows);
    const next = all[all.indexOf(row) + step];
    next?.focus({ preventScroll: true });
    next?.scrollIntoView({ block: "nearest" });
    return true;
  }
  if (event.key !== "Enter" && event.key !== " ") return false;
  actions.more(seqOf(row), row.querySelector<HTMLElement>(".bubble") ?? row);
  return true;
}

/** The last message of which the beginning is on the screen. */
function focusLast(log: HTMLElement, rows: HTMLElement): boolean {
  const { bottom } = log.getBoundingClientRect();
  const seen = messagesOf(rows).filter((row) => row.getBoundingClientRect().top < bottom);
  seen.at(-1)?.focus({ preventScroll: true });
  return seen.length > 0;
}

const messagesOf = (rows: HTMLElement): HTMLElement[] => [...rows.querySelectorAll<HTMLElement>(".msg[data-seq]")];

const seqOf = (node: Element): number => Number(node.closest<HTMLElement>(".msg")?.dataset.seq ?? 0);

function toolsNode(): HTMLElement {
  const tool = (does: string, name: string, label: string): HTMLElement =>
    h("button", { class: "icon", type: "button", title: label, "aria-label": label, dataset: { does } }, icon(name));
  return h(
    "div",
    { class: "tools" },
    tool("react", "smile", "React"),
    tool("reply", "reply", "Reply"),
    tool("more", "dots", "More about this message"),
  );
}

function unfold(row: HTMLElement, button: HTMLElement): void {
  const folded = row.classList.toggle("folded");
  button.textContent = folded ? "Show all" : "Show less";
  button.setAttribute("aria-expanded", String(!folded));
}

export function readersText(readers: readonly string[]): string {
  if (readers.length === 0) return "Stored, not read yet";
  const more = readers.length - READERS_MAX;
  return `Read by ${readers.slice(0, READERS_MAX).join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
}
