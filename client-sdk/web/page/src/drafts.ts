/** What was begun and not sent, by conversation; kept with the window. */

const KEY = "quoth.drafts";

export class Drafts {
  private texts = new Map<string, string>();

  constructor() {
    try {
      const kept: unknown = JSON.parse(sessionStorage.getItem(KEY) ?? "{}");
      for (const [name, text] of Object.entries(kept as object)) if (typeof text === "string") this.texts.set(name, text);
    } catch {
      // No drafts then.
    }
  }

  get(name: string): string {
    return this.texts.get(name) ?? "";
  }

  set(name: string, text: string): void {
    if (text === "") this.texts.delete(name);
    else this.texts.set(name, text);
    try {
      sessionStorage.setItem(KEY, JSON.stringify(Object.fromEntries(this.texts)));
    } catch {
      // They live as long as the page then.
    }
  }
}
