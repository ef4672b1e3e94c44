/** What the page does with conversations that have members: the list of them, the dialogs, and links that lead into them. */

import { QuothError, type Client } from "../../src/index.js";
import type { Members, NewConversation } from "../../src/members/index.js";
import type { Retention } from "../../src/messages/index.js";
import { Belongings } from "./belongings.js";
import { invitationLink, rightsOf, type Info, type Invited } from "./model/conversation.js";
import { requestProblem } from "./model/refusals.js";
import type { Room } from "./room.js";
import type { Rooms } from "./rooms.js";
import type { MembersView } from "./view/members.js";
import type { NewView } from "./view/new.js";
import { byId } from "./view/dom.js";

/** A window that is out of sight for so long has nobody before it. */
const AWAY_MS = 60_000;

export interface MembershipHooks {
  /** Something of a conversation is known anew. */
  changed(room: Room): void;
  /** Shows a conversation. */
  open(name: string): void;
  /** Takes one off the list. */
  remove(name: string): void;
  /** The user wants to see a message no more. */
  hidden(conversation: string, seq: number): void;
  setRetention(conversation: string, retention: Retention): Promise<unknown>;
  /** Tells the user that something went wrong. */
  complain(text: string): void;
}

export class Membership {
  private view: MembersView | undefined;
  private newView: NewView | undefined;
  /** The conversation of which the members are to be shown. */
  private shown: { info: Info } | undefined;
  private readonly belongings: Belongings;
  private invited: Invited | undefined;
  private awayTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    client: Client,
    private readonly requests: Members,
    private readonly rooms: Rooms,
    private readonly me: string,
    private readonly hooks: MembershipHooks,
  ) {
    this.belongings = new Belongings(client, requests, (name) => this.known(name), hooks.hidden);
    byId("new-open").addEventListener("click", () => void this.showNew());
    document.addEventListener("visibilitychange", () => this.watchAway());
  }

  /** The dialog about a conversation opens. */
  showMembers(info: Info): void {
    const shown = { info };
    this.shown = shown;
    this.loadView().then(
      (view) => this.shown === shown && view.show(info),
      () => this.hooks.complain("The members could not be loaded."),
    );
  }

  private async showNew(): Promise<void> {
    try {
      const { NewView: View } = await import("./extra.js");
      this.newView ??= new View({
        create: (what) => this.create(what),
        join: (invited) => this.join(invited),
      });
      this.newView.show();
    } catch {
      this.hooks.complain("This could not be loaded: try again when the server can be reached.");
    }
  }

  hideMembers(): void {
    this.shown = undefined;
    this.view?.hide();
  }

  private async loadView(): Promise<MembersView> {
    const extra = this.view ?? (await import("./extra.js"));
    if (!("MembersView" in extra)) return extra;
    this.view ??= new extra.MembersView(this.requests, this.me, {
      problemOf,
      setRetention: this.hooks.setRetention,
      linkOf: (conversation, invitation) => invitationLink(location.origin + location.pathname, conversation, invitation),
    });
    return this.view;
  }

  /** A link has brought the user here: it is used with the first connection. */
  invite(invited: Invited | undefined): void {
    this.invited = invited;
  }

  connected(): void {
    this.belongings.connected();
    const { invited } = this;
    this.invited = undefined;
    if (invited) void this.join(invited).then((wrong) => wrong !== undefined && this.hooks.complain(wrong));
  }

  /** Finds out what a conversation is and who is in it: one that is looked at, or of which something is told. */
  look(room: Room): void {
    void this.belongings.refresh(room.name);
  }

  private async loadMembers(room: Room): Promise<void> {
    try {
      room.members = (await this.requests.members(room.name)).members.map(({ user }) => user);
    } catch {
      // Then nobody is proposed who has not said anything.
    }
  }

  /** Something besides a message has happened in a conversation. */
  happened(room: Room): void {
    this.look(room);
  }

  /** How long a conversation's events are kept, of those that the user is in. */
  retentionOf(name: string): Retention | undefined {
    return this.belongings.get(name)?.retention;
  }

  /** Something has happened in a conversation that is not open. */
  moved(name: string): void {
    void this.belongings.refresh(name);
  }

  /** A conversation cannot be read: anybody may join one that is open. */
  barred(room: Room): void {
    this.requests.describe(room.name).then(
      (info) => {
        room.isOpen = info.open;
        this.hooks.changed(room);
      },
      () => undefined,
    );
  }

  async joinOpen(room: Room): Promise<void> {
    try {
      await this.requests.join(room.name);
      room.restart();
    } catch (error) {
      this.hooks.complain(problemOf(error));
    }
  }

  /** Leaves what can be left, and takes it off the list. Returns what is wrong, or nothing. */
  async leave(room: Room): Promise<string | undefined> {
    try {
      if (rightsOf(room.info).leave) await this.requests.leave(room.name);
    } catch (error) {
      return problemOf(error);
    }
    this.hooks.remove(room.name);
    return undefined;
  }

  private async create(what: NewConversation): Promise<string | undefined> {
    try {
      const { conversation } = await this.requests.create(what);
      this.hooks.open(conversation);
      return undefined;
    } catch (error) {
      return problemOf(error);
    }
  }

  private async join({ conversation, invitation }: Invited): Promise<string | undefined> {
    try {
      await this.requests.join(conversation, invitation);
      this.hooks.open(conversation);
      const room = this.rooms.get(conversation);
      if (room?.state.name === "ended") room.restart();
      return undefined;
    } catch (error) {
      const isRefused = error instanceof QuothError && error.code === "FORBIDDEN";
      return isRefused ? "This invitation does not hold any more." : problemOf(error);
    }
  }

  private known(name: string): void {
    const info = this.belongings.get(name);
    const room = this.rooms.get(name);
    if (!room) return;
    if (info && info.version !== room.info?.version) void this.loadMembers(room);
    const isBack = info !== undefined && room.info === undefined && room.state.name === "ended";
    room.know(info);
    if (isBack) room.restart();
    this.view?.refresh(info);
    this.hooks.changed(room);
  }

  private watchAway(): void {
    clearTimeout(this.awayTimer);
    if (document.visibilityState === "visible") this.requests.setAway(false);
    else this.awayTimer = setTimeout(() => this.requests.setAway(true), AWAY_MS);
  }
}

export function problemOf(error: unknown): string {
  const code = error instanceof QuothError ? error.code : undefined;
  return requestProblem(code, error instanceof Error ? error.message : String(error));
}
