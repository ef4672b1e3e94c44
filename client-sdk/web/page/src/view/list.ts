/** The list of conversations. One item is in the Tab order; arrows move within. */

import type { Last } from "../model/talks.js";
import { badge, isolated, nameList, oneLine } from "../model/text.js";
import { relativeTime } from "../model/times.js";
import { arrange, byId, face, h, nameNode, setFace, setText } from "./dom.js";

export interface ListItem {
  name: string;
  /** For people. */
  title: string;
  last: Last | undefined;
  unread: number;
  /** Stands where the last message would. */
  hint: string;
  typings: readonly string[];
  current: boolean;
  me: string;
}

interface Held {
  item: HTMLLIElement;
  button: HTMLButtonElement;
  time: HTMLElement;
  last: HTMLElement;
  badge: HTMLElement;
  face: HTMLElement;
  label: HTMLElement;
  told: string;
}

export class ListView {
  private readonly list = byId("list");
  private held = new Map<string, Held>();

  constructor(private readonly open: (name: string) => void) {
    this.list.addEventListener("click", (event) => {
      const name = (event.target as Element).closest<HTMLElement>(".talk")?.dataset.name;
      if (name !== undefined) this.open(name);
    });
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("focusin", (event) => this.rove(event.target as HTMLElement));
  }

  render(items: readonly ListItem[], nowMs: number): void {
    const names = new Set(items.map((item) => item.name));
    for (const name of this.held.keys()) if (!names.has(name)) this.held.delete(name);
    const nodes = items.map((item) => this.draw(item, nowMs).item);
    const focused = document.activeElement;
    arrange(this.list, nodes);
    // A move in the document takes the focus away.
    if (focused instanceof HTMLElement && this.list.contains(focused) && document.activeElement !== focused)
      focused.focus({ preventScroll: true });
    if (!this.list.querySelector('.talk[tabindex="0"]'))
      this.rove(this.list.querySelector<HTMLElement>(".talk[aria-current]") ?? this.list.querySelector<HTMLElement>(".talk"));
  }

  focus(): void {
    (this.list.querySelector<HTMLElement>(".talk[aria-current]") ?? this.list.querySelector<HTMLElement>(".talk"))?.focus();
  }

  private draw(item: ListItem, nowMs: number): Held {
    const held = this.held.get(item.name) ?? this.make(item.name);
    setText(held.time, item.last ? relativeTime(item.last.timeMs, nowMs) : "");
    const told = JSON.stringify([item.title, item.last?.sender, item.last?.text, item.unread, item.typings, item.hint, item.current]);
    if (told === held.told) return held;
    held.told = told;
    held.button.classList.toggle("unread", item.unread > 0);
    held.label.replaceChildren(nameNode(item.title));
    setFace(held.face, item.title);
    if (item.current) held.button.setAttribute("aria-current", "page");
    else held.button.removeAttribute("aria-current");
    held.badge.hidden = item.unread === 0;
    held.badge.replaceChildren(badge(item.unread), h("span", { class: "sr" }, " unread"));
    held.last.classList.toggle("live", item.typings.length > 0);
    held.last.replaceChildren(...lastNodes(item));
    return held;
  }

  private make(name: string): Held {
    const time = h("span", { class: "talk-time" });
    const last = h("span", { class: "talk-last" });
    const count = h("span", { class: "badge" });
    const tile = face(name, "tile");
    const label = h("span", { class: "talk-name" });
    const button = h(
      "button",
      { class: "talk", type: "button", dataset: { name } },
      tile,
      label,
      time,
      last,
      count,
    );
    button.tabIndex = -1;
    const held: Held = { item: h("li", {}, button), button, time, last, badge: count, face: tile, label, told: "" };
    this.held.set(name, held);
    return held;
  }

  private rove(target: HTMLElement | null): void {
    const button = target?.closest<HTMLElement>(".talk");
    if (!button) return;
    for (const one of this.list.querySelectorAll<HTMLElement>('.talk[tabindex="0"]')) one.tabIndex = -1;
    button.tabIndex = 0;
  }

  private key(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const buttons = [...this.list.querySelectorAll<HTMLElement>(".talk")];
    const at = buttons.indexOf(document.activeElement as HTMLElement);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    buttons[Math.max(0, Math.min(buttons.length - 1, to))]?.focus();
  }
}

function lastNodes(item: ListItem): (Node | string)[] {
  if (item.typings.length > 0)
    return [`${nameList(item.typings.map(isolated), 1)} ${item.typings.length === 1 ? "is" : "are"} typing…`];
  if (!item.last) return [item.hint];
  const who = h("span", { class: "who" }, item.last.sender === item.me ? "You" : nameNode(item.last.sender), ": ");
  return [who, nameNode(oneLine(item.last.text, 90))];
}
