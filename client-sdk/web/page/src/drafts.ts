/** What was begun and not sent, by conversation; kept with the window. */

import { windowKept } from "./storage.js";

const KEY = "quoth.drafts";

export class Drafts {
  private readonly texts = new Map(Object.entries(load()));

  get(name: string): string {
    return this.texts.get(name) ?? "";
  }

  set(name: string, text: string): void {
    if (text === "") this.texts.delete(name);
    else this.texts.set(name, text);
    windowKept.set(KEY, JSON.stringify(Object.fromEntries(this.texts)));
  }
}

function load(): Record<string, string> {
  try {
    const value: unknown = JSON.parse(windowKept.get(KEY) ?? "{}");
    return Object.fromEntries(Object.entries(value ?? {}).filter(([, text]) => typeof text === "string"));
  } catch {
    return {};
  }
}
