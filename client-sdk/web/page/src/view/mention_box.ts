/** Proposes whom to call while an `@` is being typed. */

import { callable, callBegun } from "../model/mentions.js";
import { byId, face, h, nameNode } from "./dom.js";

export class MentionBox {
  private readonly box = byId("mentions");
  private users: string[] = [];
  private chosen = 0;

  constructor(
    private readonly field: HTMLTextAreaElement,
    private readonly among: () => readonly string[],
    /** The text has changed. */
    private readonly changed: () => void,
  ) {
    field.addEventListener("blur", () => this.hide());
    this.box.addEventListener("pointerdown", (event) => {
      // The field keeps the focus.
      event.preventDefault();
      const at = [...this.box.children].indexOf((event.target as Element).closest("[role=option]") as Element);
      if (at >= 0) this.take(at);
    });
  }

  /** The text or the caret is another one. */
  update(): void {
    const { selectionStart, selectionEnd, value } = this.field;
    const begun = selectionStart === selectionEnd ? callBegun(value, selectionStart) : undefined;
    this.users = begun ? callable(this.among(), begun.begun) : [];
    // What is typed out needs no proposal.
    if (this.users.length === 1 && this.users[0] === begun?.begun) this.users = [];
    this.chosen = 0;
    this.draw();
  }

  /** Whether the key was for the proposals. */
  key(event: KeyboardEvent): boolean {
    if (this.users.length === 0 || event.isComposing) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step !== undefined) {
      this.chosen = (this.chosen + step + this.users.length) % this.users.length;
      this.draw();
    } else if (event.key === "Enter" || event.key === "Tab") this.take(this.chosen);
    else if (event.key === "Escape") this.hide();
    else return false;
    return true;
  }

  private take(at: number): void {
    const user = this.users[at];
    const { field } = this;
    const begun = callBegun(field.value, field.selectionStart);
    if (user === undefined || !begun) return;
    field.setRangeText(`@${user} `, begun.at, field.selectionStart, "end");
    this.hide();
    this.changed();
  }

  private hide(): void {
    this.users = [];
    this.draw();
  }

  private draw(): void {
    this.box.hidden = this.users.length === 0;
    this.box.replaceChildren(
      ...this.users.map((user, i) => {
        const option = h("div", { role: "option" }, face(user), nameNode(user));
        option.id = `mention-${i}`;
        option.setAttribute("aria-selected", String(i === this.chosen));
        return option;
      }),
    );
    if (this.box.hidden) this.field.removeAttribute("aria-activedescendant");
    else this.field.setAttribute("aria-activedescendant", `mention-${this.chosen}`);
  }
}
