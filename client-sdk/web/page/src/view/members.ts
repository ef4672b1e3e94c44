/** The members of the conversation that is shown: who they are, whether they are there, and what may be done about them. */

import type { MemberInfo, MemberPresence, Members, Role } from "../../../src/members/index.js";
import type { Retention } from "../../../src/messages/index.js";
import { rightsOf, type Info, type Rights } from "../model/conversation.js";
import { kept } from "../model/deeds.js";
import { relativeTime } from "../model/times.js";
import { byId, face, h, nameNode, setText } from "./dom.js";
import { KeepForm } from "./keep_form.js";

const ROLES: readonly Role[] = ["owner", "admin", "member", "reader"];

export interface MembersHooks {
  /** What is wrong with a request that was refused, for people. */
  problemOf(error: unknown): string;
  linkOf(conversation: string, invitation: string): string;
  setRetention(conversation: string, retention: Retention): Promise<unknown>;
}

export class MembersView {
  private readonly part = byId("members");
  private readonly list = byId("members-list");
  private readonly kept = byId("kept");
  private readonly keep = new KeepForm((retention) => {
    const { name } = this;
    return this.ask(() => this.hooks.setRetention(name, retention));
  });
  private readonly problem = byId("members-problem");
  private readonly addForm = byId<HTMLFormElement>("add-form");
  private readonly addField = byId<HTMLInputElement>("add-user");
  private readonly titleForm = byId<HTMLFormElement>("title-form");
  private readonly titleField = byId<HTMLInputElement>("title-text");
  private readonly inviteButton = byId<HTMLButtonElement>("invite");
  private readonly linkField = byId<HTMLInputElement>("invite-link");
  private info: Info;
  private members: readonly MemberInfo[] = [];
  private present: ReadonlyMap<string, MemberPresence> | undefined;
  private unwatch: (() => void) | undefined;
  private told = "";

  constructor(
    private readonly requests: Members,
    private readonly me: string,
    private readonly hooks: MembersHooks,
  ) {
    this.addForm.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.add();
    });
    this.titleForm.addEventListener("submit", (event) => {
      event.preventDefault();
      const { name } = this;
      void this.ask(() => this.requests.rename(name, this.titleField.value.trim()));
    });
    this.inviteButton.addEventListener("click", () => void this.invite());
    this.list.addEventListener("change", (event) => {
      const select = event.target as HTMLSelectElement;
      const { name } = this;
      void this.ask(() => this.requests.setMember(name, select.dataset.user ?? "", select.value as Role));
    });
    this.list.addEventListener("click", (event) => {
      const user = (event.target as Element).closest<HTMLElement>("button")?.dataset.user;
      const { name } = this;
      if (user !== undefined) void this.ask(() => this.requests.remove(name, user));
    });
  }

  /** The dialog opens for this conversation; without members there is nothing to show. */
  show(info: Info): void {
    this.hide();
    this.info = info;
    this.part.hidden = info === undefined;
    if (!info) return;
    this.members = [];
    this.told = "";
    this.addField.value = "";
    this.keep.reset();
    setText(this.problem, "");
    this.linkField.parentElement?.toggleAttribute("hidden", true);
    this.unwatch = this.requests.watchPresence(info.conversation, (present, error) => {
      this.present = error ? undefined : present;
      this.draw();
    });
    void this.load();
    this.draw();
  }

  hide(): void {
    this.unwatch?.();
    this.unwatch = undefined;
    this.present = undefined;
  }

  /** Something has changed in the conversation. */
  refresh(info: Info): void {
    if (!this.unwatch || info?.conversation !== this.info?.conversation) return;
    this.info = info;
    void this.load();
    this.draw();
  }

  private get name(): string {
    return this.info?.conversation ?? "";
  }

  private async load(): Promise<void> {
    const { name } = this;
    try {
      const { members } = await this.requests.members(name);
      if (name !== this.name) return;
      this.members = members;
      this.draw();
    } catch (error) {
      if (name === this.name) setText(this.problem, this.hooks.problemOf(error));
    }
  }

  private async add(): Promise<void> {
    const { name } = this;
    const user = this.addField.value.trim();
    const role = this.info?.kind === "channel" ? "reader" : "member";
    if (user !== "" && (await this.ask(() => this.requests.setMember(name, user, role)))) this.addField.value = "";
  }

  private async invite(): Promise<void> {
    const { name } = this;
    const role = this.info?.kind === "channel" ? "reader" : "member";
    await this.ask(async () => {
      const link = this.hooks.linkOf(name, await this.requests.invite(name, role));
      this.linkField.value = link;
      this.linkField.parentElement?.toggleAttribute("hidden", false);
      this.linkField.select();
      // Where it may not be written, it is selected to be copied.
      await navigator.clipboard?.writeText(link).catch(() => undefined);
    });
  }

  /** Whether it was done. */
  private async ask(request: () => Promise<unknown>): Promise<boolean> {
    try {
      await request();
      setText(this.problem, "");
      return true;
    } catch (error) {
      setText(this.problem, this.hooks.problemOf(error));
      // What was chosen and refused does not stand.
      this.told = "";
      this.draw();
      return false;
    }
  }

  private draw(): void {
    const { info } = this;
    const rights = rightsOf(info);
    this.addForm.hidden = !rights.invite;
    this.inviteButton.hidden = !rights.invite;
    this.titleForm.hidden = !rights.manage;
    setText(this.kept, info ? `Messages are kept ${kept(info.retention)}.` : "");
    this.keep.draw(rights.keep ? info?.retention : undefined);
    if (document.activeElement !== this.titleField) this.titleField.value = info?.title ?? "";
    const told = JSON.stringify([rights, info?.role, this.members.map(({ user, role }) => [user, role])]);
    if (told !== this.told) this.drawRows(rights);
    this.told = told;
    const here = [...this.list.querySelectorAll(".there")];
    this.members.forEach((member, i) => this.drawPresence(here[i] as HTMLElement, member));
  }

  private drawRows(rights: Rights): void {
    const focused = document.activeElement;
    const { user } = focused instanceof HTMLElement && this.list.contains(focused) ? focused.dataset : {};
    this.list.replaceChildren(...this.members.map((member) => this.row(member, rights)));
    // Whoever has just changed something goes on there.
    if (user === undefined) return;
    const own = [...this.list.querySelectorAll<HTMLElement>("[data-user]")].find((node) => node.dataset.user === user);
    (own ?? this.list).focus();
  }

  private drawPresence(node: HTMLElement, member: MemberInfo): void {
    const isOther = member.user !== this.me;
    const { status, lastSeenMs } = this.presenceOf(member);
    node.className = `hint there ${isOther ? status : "online"}`;
    setText(node, isOther ? hereText(status, lastSeenMs) : "you");
  }

  private row(member: MemberInfo, rights: Rights): HTMLElement {
    const { user, role } = member;
    const isOther = user !== this.me;
    const reaches = ROLES.indexOf(this.info?.role ?? "reader") <= ROLES.indexOf(role);
    return h(
      "li",
      {},
      face(user),
      h("span", { class: "who" }, nameNode(user)),
      h("span", { class: "hint there" }),
      h(
        "span",
        { class: "does" },
        rights.manage && isOther && reaches ? this.roleSelect(member) : h("span", { class: "role" }, role),
        rights.moderate && isOther && reaches ? removeButton(user) : undefined,
      ),
    );
  }

  private roleSelect({ user, role }: MemberInfo): HTMLSelectElement {
    const select = h("select", { "aria-label": `Role of ${user}`, dataset: { user } });
    // Nobody gives more than they have.
    for (const one of ROLES.slice(ROLES.indexOf(this.info?.role ?? "reader"))) {
      const option = h("option", {}, one);
      option.selected = one === role;
      select.append(option);
    }
    return select;
  }

  /** While it is watched, who is not told of is offline. */
  private presenceOf(member: MemberInfo): MemberPresence {
    if (!this.present) return member;
    return this.present.get(member.user) ?? { status: "offline", lastSeenMs: member.lastSeenMs };
  }
}

function removeButton(user: string): HTMLElement {
  return h("button", { class: "quiet danger", type: "button", "aria-label": `Remove ${user}`, dataset: { user } }, "Remove");
}

function hereText(status: MemberPresence["status"], lastSeenMs: number): string {
  if (status !== "offline") return status;
  return lastSeenMs === 0 ? "" : `last seen: ${relativeTime(lastSeenMs, Date.now())}`;
}
