/** The dialog in which a group, a channel or a direct conversation begins, or one joins by an invitation. */

import type { ConversationKind, NewConversation } from "../../../src/members/index.js";
import { invitedBy, usersIn, type Invited } from "../model/conversation.js";
import { byId, setText } from "./dom.js";

export interface NewHooks {
  /** Returns what is wrong, or nothing. */
  create(what: NewConversation): Promise<string | undefined>;
  join(invited: Invited): Promise<string | undefined>;
}

export class NewView {
  private readonly dialog = byId<HTMLDialogElement>("new");
  private readonly form = byId<HTMLFormElement>("new-form");
  private readonly title = byId<HTMLInputElement>("new-title-text");
  private readonly people = byId<HTMLInputElement>("new-people");
  private readonly open = byId<HTMLInputElement>("new-open-to-all");
  private readonly problem = byId("new-problem");
  private readonly link = byId<HTMLInputElement>("join-link");
  private readonly joinProblem = byId("join-problem");

  constructor(private readonly hooks: NewHooks) {
    this.form.addEventListener("change", () => this.drawKind());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.create();
    });
    byId<HTMLFormElement>("join-form").addEventListener("submit", (event) => {
      event.preventDefault();
      void this.join();
    });
  }

  show(): void {
    this.form.reset();
    this.link.value = "";
    for (const problem of [this.problem, this.joinProblem]) setText(problem, "");
    this.drawKind();
    this.dialog.showModal();
  }

  private get kind(): ConversationKind {
    return new FormData(this.form).get("kind") as ConversationKind;
  }

  private drawKind(): void {
    const isDirect = this.kind === "direct";
    for (const node of this.form.querySelectorAll<HTMLElement>(".not-direct")) node.hidden = isDirect;
    this.people.required = isDirect;
    setText(byId("new-people-label"), isDirect ? "With whom" : "Who else is in it");
  }

  private async create(): Promise<void> {
    const { kind } = this;
    const members = usersIn(this.people.value);
    if (kind === "direct" && members.length !== 1) return setText(this.problem, "A direct message has one other person.");
    const group = { title: this.title.value.trim(), open: this.open.checked };
    const wrong = await this.hooks.create({ kind, members, ...(kind === "direct" ? {} : group) });
    setText(this.problem, wrong ?? "");
    if (wrong === undefined) this.dialog.close();
  }

  private async join(): Promise<void> {
    const invited = invitedBy(this.link.value.trim());
    const wrong = invited ? await this.hooks.join(invited) : "That is no invitation: copy the whole link.";
    setText(this.joinProblem, wrong ?? "");
    if (wrong === undefined) this.dialog.close();
  }
}
