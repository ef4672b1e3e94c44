/** Where one writes. */

import { byteLength, isolated, nameList, oneLine } from "../model/text.js";
import { byId, h, nameNode, setText } from "./dom.js";
import type { MentionBox } from "./mention_box.js";

const BODY_BYTES_MAX = 65_536;
const HINT = "Enter to send · Shift + Enter for a new line";

export interface ComposerHooks {
  /** `replyTo`: the message that it answers. */
  send(text: string, replyTo: number | undefined): void;
  /** Whom one may call. */
  callable(): readonly string[];
  /** What is loaded when it is asked for. */
  extra(): Promise<typeof import("../extra.js")>;
  /** The user wants to edit what they said last. */
  editLast(): void;
  typing(): void;
  draft(text: string): void;
}

export class ComposerView {
  readonly text = byId<HTMLTextAreaElement>("text");
  private readonly form = byId<HTMLFormElement>("composer");
  private readonly button = byId<HTMLButtonElement>("send");
  private readonly hint = byId("text-hint");
  private readonly typings = byId("typing");
  private readonly dock = this.form.closest(".dock") as HTMLElement;
  private mentions: MentionBox | undefined;
  private readonly reply = byId("reply");
  private replyTo: number | undefined;
  private complaint = "";
  private typingTold = "";

  constructor(private readonly hooks: ComposerHooks) {
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.submit();
    });
    this.text.addEventListener("keydown", (event) => {
      if (this.mentions?.key(event)) {
        event.preventDefault();
        return event.stopPropagation();
      }
      if (event.key === "ArrowUp" && this.text.value === "" && !(event.altKey || event.ctrlKey || event.metaKey || event.shiftKey)) {
        event.preventDefault();
        return this.hooks.editLast();
      }
      if (event.key === "Escape" && this.replyTo !== undefined) {
        event.stopPropagation();
        return this.answer(undefined);
      }
      // While a word is being composed (Japanese, Chinese, …), Enter takes the word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.submit();
    });
    this.text.addEventListener("input", () => {
      if (this.text.value.trim() !== "") this.hooks.typing();
      this.hooks.draft(this.text.value);
      this.complaint = "";
      this.changed();
      if (this.mentions) this.mentions.update();
      else if (this.text.value.includes("@")) this.loadMentions().catch(() => undefined);
    });
    byId("reply-end").addEventListener("click", () => {
      this.answer(undefined);
      this.focus();
    });
  }

  /** Whoever types the first `@` gets what proposes names; without it names are typed out. */
  private async loadMentions(): Promise<void> {
    const { MentionBox: Box } = await this.hooks.extra();
    this.mentions ??= new Box(
      this.text,
      () => this.hooks.callable(),
      () => {
        this.hooks.draft(this.text.value);
        this.changed();
      },
    );
    this.mentions.update();
  }

  /** What is written from now on answers a message; none: nothing. */
  answer(quote: { seq: number; sender: string; text: string } | undefined): void {
    this.replyTo = quote?.seq;
    this.reply.hidden = !quote;
    if (!quote) return;
    byId("reply-to").replaceChildren(h("strong", {}, "Reply to ", nameNode(quote.sender)), nameNode(oneLine(quote.text)));
    this.focus();
  }

  /** Shows a conversation's unsent text. */
  show(name: string, draft: string): void {
    this.call(name);
    this.answer(undefined);
    this.complaint = "";
    this.text.value = draft;
    this.changed();
  }

  /** What the conversation is called, which may change. */
  call(name: string): void {
    const placeholder = `Message ${name}`;
    if (this.text.placeholder !== placeholder) this.text.placeholder = placeholder;
  }

  /** `why` takes the place of the field where one cannot write. */
  allow(why: string | undefined): void {
    this.dock.classList.toggle("readonly", why !== undefined);
    this.text.disabled = why !== undefined;
    if (why !== undefined) setText(this.hint, why);
    else this.changed();
  }

  /** Says what went wrong, until something is typed. */
  complain(problem: string): void {
    this.complaint = problem;
    this.changed();
  }

  showTypings(users: readonly string[]): void {
    const told = JSON.stringify(users);
    if (told === this.typingTold) return;
    this.typingTold = told;
    this.typings.replaceChildren();
    if (users.length === 0) return;
    const dots = h("span", { class: "dots", "aria-hidden": "true" }, h("i"), h("i"), h("i"));
    this.typings.append(dots, nameList(users.map(isolated), 3), users.length === 1 ? " is typing" : " are typing");
  }

  focus(): void {
    if (!this.text.disabled) this.text.focus({ preventScroll: true });
  }

  private submit(): void {
    const text = this.text.value.replace(/\s+$/u, "");
    if (text.trim() === "" || this.tooLong(text)) return;
    this.text.value = "";
    this.hooks.draft("");
    this.changed();
    const { replyTo } = this;
    this.complaint = "";
    this.answer(undefined);
    this.hooks.send(text, replyTo);
  }

  private changed(): void {
    const { value } = this.text;
    this.grow();
    const long = this.tooLong(value);
    this.button.setAttribute("aria-disabled", String(value.trim() === "" || long));
    this.hint.classList.toggle("bad", long || this.complaint !== "");
    setText(
      this.hint,
      long
        ? `Too long by ${(byteLength(value) - BODY_BYTES_MAX).toLocaleString("en")} bytes: a message has at most 65,536.`
        : this.complaint || HINT,
    );
  }

  /** A UTF-16 unit is at most 3 bytes: short texts need no count. */
  private tooLong(text: string): boolean {
    return text.length * 3 > BODY_BYTES_MAX && byteLength(text) > BODY_BYTES_MAX;
  }

  /** For browsers whose fields do not grow by themselves. */
  private grow(): void {
    if (CSS.supports("field-sizing", "content")) return;
    this.text.style.height = "auto";
    this.text.style.height = `${this.text.scrollHeight}px`;
  }
}
