/** The list of conversations. One item is in the Tab order; arrows move within. */

import type { Last } from "../model/talks.js";
import { badge, isolated, nameList, oneLine } from "../model/text.js";
import { relativeTime } from "../model/times.js";
import { arrange, byId, face, h, icon, nameNode, setFace, setText } from "./dom.js";

export interface ListItem {
  name: string;
  /** For people. */
  title: string;
  last: Last | undefined;
  unread: number;
  /** How many of the unread ones call the user. */
  mentions: number;
  muted: boolean;
  pinned: boolean;
  archived: boolean;
  /** Stands where the last message would. */
  hint: string;
  typings: readonly string[];
  current: boolean;
  me: string;
}

export interface ListHooks {
  open(name: string): void;
  /** The user wants to know what can be done with a conversation. */
  more(name: string, anchor: HTMLElement): void;
  /** The end of what is known of the list is near. */
  needMore(): void;
}

const END_PX = 600;

interface Held {
  item: HTMLLIElement;
  button: HTMLButtonElement;
  time: HTMLElement;
  last: HTMLElement;
  marks: HTMLElement;
  more: HTMLElement;
  face: HTMLElement;
  label: HTMLElement;
  told: string;
}

export class ListView {
  private readonly list = byId("lists");
  private readonly main = byId("list");
  private readonly archive = byId("archived");
  private readonly archiveButton = byId<HTMLButtonElement>("archived-open");
  private held = new Map<string, Held>();

  constructor(private readonly hooks: ListHooks) {
    this.list.addEventListener("click", (event) => {
      const button = (event.target as Element).closest("button");
      const name = button?.closest("li")?.querySelector<HTMLElement>(".talk")?.dataset.name;
      if (name !== undefined && button) button.classList.contains("talk") ? hooks.open(name) : hooks.more(name, button);
    });
    this.list.addEventListener("contextmenu", (event) => {
      const talk = (event.target as Element).closest<HTMLElement>(".talk");
      if (talk?.dataset.name === undefined) return;
      event.preventDefault();
      hooks.more(talk.dataset.name, talk);
    });
    this.list.addEventListener("keydown", (event) => this.key(event));
    this.list.addEventListener("focusin", (event) => this.rove(event.target as HTMLElement));
    this.archiveButton.addEventListener("click", () => this.showArchive(this.archive.hidden !== false));
    this.list.addEventListener("scroll", () => this.checkEnd(), { passive: true });
  }

  /** More of the list is wanted before its end is on the screen. */
  checkEnd(): void {
    const { scrollTop, scrollHeight, clientHeight } = this.list;
    if (clientHeight > 0 && scrollHeight - scrollTop - clientHeight < END_PX) this.hooks.needMore();
  }

  private showArchive(isShown: boolean): void {
    this.archive.hidden = !isShown;
    this.archiveButton.setAttribute("aria-expanded", String(isShown));
  }

  render(items: readonly ListItem[], nowMs: number): void {
    const names = new Set(items.map((item) => item.name));
    for (const name of this.held.keys()) if (!names.has(name)) this.held.delete(name);
    const focused = document.activeElement;
    const archived = items.filter((item) => item.archived);
    const nodesOf = (some: readonly ListItem[]): HTMLElement[] => some.map((item) => this.draw(item, nowMs).item);
    arrange(this.main, nodesOf(items.filter((item) => !item.archived)));
    arrange(this.archive, nodesOf(archived));
    this.archiveButton.hidden = archived.length === 0;
    setText(byId("archived-count"), String(archived.length));
    if (archived.some((item) => item.current)) this.showArchive(true);
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
    const { title, last, unread, mentions, muted, pinned, typings, hint, current } = item;
    const told = JSON.stringify([title, last?.sender, last?.text, unread, mentions, muted, pinned, typings, hint, current]);
    if (told === held.told) return held;
    held.told = told;
    held.button.classList.toggle("unread", item.unread > 0);
    held.label.replaceChildren(nameNode(item.title));
    setFace(held.face, item.title);
    if (item.current) held.button.setAttribute("aria-current", "page");
    else held.button.removeAttribute("aria-current");
    held.button.classList.toggle("muted", muted);
    held.more.setAttribute("aria-label", `Options for ${title}`);
    held.marks.replaceChildren(
      ...([
        muted && icon("mute", "", "Muted"),
        pinned && icon("pin", "", "Pinned"),
        mentions > 0 && h("span", { class: "badge at", title: "Somebody calls you" }, "@", h("span", { class: "sr" }, ` ${badge(mentions)} mentions`)),
        unread > 0 && h("span", { class: "badge count" }, badge(unread), h("span", { class: "sr" }, " unread")),
      ].filter((mark) => mark !== false) as Element[]),
    );
    held.last.classList.toggle("live", item.typings.length > 0);
    held.last.replaceChildren(...lastNodes(item));
    return held;
  }

  private make(name: string): Held {
    const time = h("span", { class: "talk-time" });
    const last = h("span", { class: "talk-last" });
    const marks = h("span", { class: "marks" });
    const more = h("button", { class: "icon talk-more", type: "button" }, icon("dots"));
    more.setAttribute("aria-haspopup", "menu");
    more.tabIndex = -1;
    const tile = face(name, "tile");
    const label = h("span", { class: "talk-name" });
    const button = h(
      "button",
      { class: "talk", type: "button", dataset: { name } },
      tile,
      label,
      time,
      last,
      marks,
    );
    button.tabIndex = -1;
    const held: Held = { item: h("li", {}, button, more), button, time, last, marks, more, face: tile, label, told: "" };
    this.held.set(name, held);
    return held;
  }

  private rove(target: HTMLElement | null): void {
    const item = target?.closest("li");
    if (!item) return;
    for (const one of this.list.querySelectorAll<HTMLElement>('li [tabindex="0"]')) one.tabIndex = -1;
    for (const one of item.querySelectorAll<HTMLElement>("button")) one.tabIndex = 0;
  }

  private key(event: KeyboardEvent): void {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const buttons = [...this.list.querySelectorAll<HTMLElement>(".talk, #archived-open")].filter((one) => one.offsetParent !== null);
    const focused = document.activeElement;
    const at = buttons.indexOf((focused?.closest("li")?.querySelector(".talk") ?? focused) as HTMLElement);
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
