/** A menu beside what it is about: by pointer and by keys, one at a time. */

import { h } from "./dom.js";

export interface MenuItem {
  label: string;
  does(): void;
  /** Whether it is on, for those that are switched. */
  checked?: boolean;
  danger?: boolean;
  /** Asked before it is done: what the item says then. */
  sure?: string;
  /** What it is called when `label` is a sign. */
  name?: string;
}

export interface MenuOptions {
  label: string;
  items: readonly MenuItem[];
  /** Stands above the items. */
  info?: string | Promise<string>;
  /** The items stand side by side. */
  row?: boolean;
  /** Where the focus goes when the menu closes. Default: what had it. */
  home?: HTMLElement;
}

const MARGIN_PX = 8;

let close: (() => void) | undefined;

export function openMenu(anchor: Element, { label, items, info, row = false, home }: MenuOptions): void {
  close?.();
  const before = home ?? (document.activeElement as HTMLElement | null);
  const list = h("div", { role: "menu", "aria-label": label });
  const told = h("p", { class: "menu-info", role: "status" });
  const menu = h("div", { class: row ? "menu row" : "menu" }, told, list);
  list.append(...items.map(itemNode));
  const buttons = [...list.children] as HTMLButtonElement[];
  const place = (): void => put(menu, anchor.getBoundingClientRect());
  void Promise.resolve(info ?? "").then((text) => {
    told.textContent = text;
    place();
  });

  const outside = (event: Event): void => {
    if (!menu.contains(event.target as Node)) end();
  };
  const end = (focus = false): void => {
    close = undefined;
    for (const what of ["pointerdown", "scroll", "wheel"]) document.removeEventListener(what, outside, true);
    removeEventListener("resize", leave);
    const hadFocus = menu.contains(document.activeElement);
    menu.remove();
    if (focus || hadFocus) (before?.isConnected ? before : document.getElementById("log"))?.focus({ preventScroll: true });
  };
  const leave = (): void => end();
  close = leave;

  menu.addEventListener("click", (event) => {
    const at = buttons.indexOf((event.target as Element).closest("button") as HTMLButtonElement);
    const item = items[at];
    if (!item) return;
    const button = buttons[at] as HTMLButtonElement;
    if (item.sure !== undefined && button.textContent !== item.sure) {
      button.textContent = item.sure;
      return place();
    }
    end(true);
    item.does();
  });
  menu.addEventListener("keydown", (event) => {
    // What moves in here moves nothing else.
    event.stopPropagation();
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement);
    const to = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: -1 }[event.key];
    if (event.key === "Escape" || event.key === "Tab") end(true);
    else if (to !== undefined) buttons[(to + buttons.length) % buttons.length]?.focus();
    else return;
    event.preventDefault();
  });
  (document.getElementById("app") ?? document.body).append(menu);
  place();
  buttons[0]?.focus({ preventScroll: true });
  for (const what of ["pointerdown", "scroll", "wheel"]) document.addEventListener(what, outside, true);
  addEventListener("resize", leave);
}

function itemNode({ label, checked, danger, name }: MenuItem): HTMLButtonElement {
  const role = checked === undefined ? "menuitem" : "menuitemcheckbox";
  const button = h("button", { type: "button", role, class: danger ? "danger" : "", ...(name !== undefined && { "aria-label": name }) }, label);
  button.tabIndex = -1;
  if (checked !== undefined) button.setAttribute("aria-checked", String(checked));
  return button;
}

/** Below the anchor, or above it where there is more room; within the window. */
function put(menu: HTMLElement, anchor: DOMRect): void {
  const { offsetWidth: width, offsetHeight: height } = menu;
  const left = Math.max(MARGIN_PX, Math.min(anchor.right - width, innerWidth - width - MARGIN_PX));
  const below = anchor.bottom + 4;
  const top = below + height <= innerHeight - MARGIN_PX ? below : Math.max(MARGIN_PX, anchor.top - height - 4);
  menu.style.left = `${left}px`;
  menu.style.top = `${Math.min(top, Math.max(MARGIN_PX, innerHeight - height - MARGIN_PX))}px`;
}
