/** Says things to screen readers: one region for states, one for new messages. */

import { byId, h } from "./dom.js";

/** So long a message stands there: screen readers have taken it by then, and it may go before they say it. */
const STANDS_MS = 1500;

export function say(text: string): void {
  byId("say").textContent = text;
}

/** How long messages gather before they are said: a flood is one sentence. */
const GATHER_MS = 600;
const SINGLY_MAX = 3;
let gathered: string[] = [];

/** Says a new message soon. */
export function sayMessage(text: string): void {
  gathered.push(text);
  if (gathered.length === 1) setTimeout(sayGathered, GATHER_MS);
}

function sayGathered(): void {
  const region = byId("say-message");
  const lines = gathered.length <= SINGLY_MAX ? gathered : [`${gathered.length} new messages, the last one: ${gathered.at(-1)}`];
  gathered = [];
  const nodes = lines.map((line) => h("p", {}, line));
  region.append(...nodes);
  setTimeout(() => nodes.forEach((node) => node.remove()), STANDS_MS);
}
