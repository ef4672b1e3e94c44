/** Where one writes. */

import { span } from "../model/deeds.js";
import { byteLength, isolated, nameList, oneLine } from "../model/text.js";
import { byId, h, nameNode, setText } from "./dom.js";
import type { MentionBox } from "./mention_box.js";

const BODY_BYTES_MAX = 65_536;
/** Offered for how long a message is kept, in seconds; 0: as long as others. */
const EXPIRIES_S = [0, 60, 3_600, 86_400, 604_800];
const HINT = "Enter to send · Shift + Enter for a new line";

export interface ComposerHooks {
  /** `replyTo`: the message that it answers. */
  send(text: string, replyTo: number | undefined, expiresInMs: number): void;
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
  private readonly expiry = byId<HTMLButtonElement>("expiry");
  /** The message that is answered. */
  replyTo: number | undefined;
  private expiresInMs = 0;
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
    this.expiry.addEventListener("click", () => void this.pickExpiry().catch(() => this.complain("This could not be loaded.")));
    byId("reply-end").addEventListener("click", () => {
      this.answer(undefined);
      this.focus();
    });
  }

  private async pickExpiry(): Promise<void> {
    const { openMenu } = await this.hooks.extra();
    const items = EXPIRIES_S.map((s) => ({
      label: s === 0 ? "Keep messages" : `Gone after ${span(s)}`,
      checked: this.expiresInMs === s * 1000,
      does: () => this.expire(s * 1000),
    }));
    openMenu(this.expiry, { label: "Disappearing messages", items, home: this.text });
  }

  /** Messages that are sent from now on are gone so long after; 0: they are not. */
  private expire(inMs: number): void {
    this.expiresInMs = inMs;
    const label = `Disappearing messages: ${inMs === 0 ? "off" : span(inMs / 1000)}`;
    this.expiry.setAttribute("aria-label", label);
    this.expiry.title = label;
    this.expiry.classList.toggle("on", inMs > 0);
    this.changed();
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
    // What it says may have to go.
    if (!quote) return byId("reply-to").replaceChildren();
    byId("reply-to").replaceChildren(h("strong", {}, "Reply to ", nameNode(quote.sender)), nameNode(oneLine(quote.text)));
    this.focus();
  }

  /** Shows a conversation's unsent text, which is gone so long after it is sent. */
  show(name: string, draft: string, expiresInMs = 0): void {
    this.call(name);
    this.answer(undefined);
    this.expire(expiresInMs);
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
    this.hooks.send(text, replyTo, this.expiresInMs);
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
        : this.complaint || (this.expiresInMs > 0 ? `What you send is gone after ${span(this.expiresInMs / 1000)}.` : HINT),
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
