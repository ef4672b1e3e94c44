/** The few helpers that all views share. Text goes in as text nodes only. */

import { hueOf, initials } from "../model/avatar.js";

type Child = Node | string | undefined | false;

export interface Props {
  class?: string;
  title?: string;
  type?: string;
  dir?: string;
  role?: string;
  "aria-label"?: string;
  "aria-hidden"?: string;
  dataset?: Record<string, string>;
}

export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  props: Props = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (name === "dataset") Object.assign(node.dataset, value);
    else node.setAttribute(name, value as string);
  }
  for (const child of children) if (child !== undefined && child !== false) node.append(child);
  return node;
}

export function icon(name: string, className = "", label?: string): SVGSVGElement {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  if (className) svg.setAttribute("class", className);
  if (label === undefined) {
    svg.setAttribute("aria-hidden", "true");
  } else {
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", label);
  }
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  use.setAttribute("href", `#i-${name}`);
  svg.append(use);
  return svg;
}

export function face(name: string, className = ""): HTMLElement {
  return h("span", { class: `face hue-${hueOf(name)} ${className}`.trim(), "aria-hidden": "true" }, initials(name));
}

/** Turns a node that is in the page into the face of a name. */
export function setFace(node: Element, name: string): void {
  for (const one of [...node.classList]) if (one.startsWith("hue-")) node.classList.remove(one);
  node.classList.add(`hue-${hueOf(name)}`);
  setText(node, initials(name));
}

/** A name of a user or a conversation: its direction stays its own. */
export const nameNode = (name: string): HTMLElement => h("bdi", {}, name);

export function setText(node: Element, text: string): void {
  if (node.textContent !== text) node.textContent = text;
}

export function byId<T extends Element = HTMLElement>(id: string): T {
  const node = document.getElementById(id);
  if (!node) throw new Error(`index.html has no #${id}`);
  return node as unknown as T;
}

/**
 * Makes `parent` have exactly `nodes`, in this order. What stays is not moved, so that selections and the
 * focus live on.
 */
export function arrange(parent: Element, nodes: readonly Element[]): void {
  const wanted = new Set(nodes);
  for (const child of [...parent.children]) if (!wanted.has(child)) child.remove();
  let at = parent.firstElementChild;
  for (const node of nodes) {
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
}
