/** What the page does with conversations that have members: the list of them, the dialogs, and links that lead into them. */

import { QuothError, type Client } from "../../src/index.js";
import type { Members, NewConversation } from "../../src/members/index.js";
import { Belongings } from "./belongings.js";
import { invitationLink, rightsOf, type Invited } from "./model/conversation.js";
import { requestProblem } from "./model/refusals.js";
import type { Room } from "./room.js";
import type { Rooms } from "./rooms.js";
import { MembersView } from "./view/members.js";
import { NewView } from "./view/new.js";

/** A window that is out of sight for so long has nobody before it. */
const AWAY_MS = 60_000;

export interface MembershipHooks {
  /** Something of a conversation is known anew. */
  changed(room: Room): void;
  /** Shows a conversation. */
  open(name: string): void;
  /** Takes one off the list. */
  remove(name: string): void;
  /** Tells the user that something went wrong. */
  complain(text: string): void;
}

export class Membership {
  readonly view: MembersView;
  private readonly belongings: Belongings;
  private invited: Invited | undefined;
  private awayTimer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    client: Client,
    private readonly requests: Members,
    private readonly rooms: Rooms,
    me: string,
    private readonly hooks: MembershipHooks,
  ) {
    this.belongings = new Belongings(client, requests, (name) => this.known(name));
    this.view = new MembersView(requests, me, {
      problemOf,
      linkOf: (conversation, invitation) => invitationLink(location.origin + location.pathname, conversation, invitation),
    });
    new NewView({
      create: (what) => this.create(what),
      join: (invited) => this.join(invited),
    });
    document.addEventListener("visibilitychange", () => this.watchAway());
  }

  /** A link has brought the user here: it is used with the first connection. */
  invite(invited: Invited | undefined): void {
    this.invited = invited;
  }

  connected(): void {
    void this.belongings.load();
    const { invited } = this;
    this.invited = undefined;
    if (invited) void this.join(invited).then((wrong) => wrong !== undefined && this.hooks.complain(wrong));
  }

  /** Something besides a message has happened in a conversation. */
  happened(room: Room): void {
    void this.belongings.refresh(room.name);
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
      await this.belongings.refresh(conversation);
      this.hooks.open(conversation);
      return undefined;
    } catch (error) {
      return problemOf(error);
    }
  }

  private async join({ conversation, invitation }: Invited): Promise<string | undefined> {
    try {
      await this.requests.join(conversation, invitation);
      await this.belongings.refresh(conversation);
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
    // One that the user has left or was removed from stays in the list, but does not come into it.
    const room = info?.role === undefined ? this.rooms.get(name) : this.rooms.add(name);
    if (!room) return;
    const isBack = info !== undefined && room.info === undefined && room.state.name === "ended";
    room.know(info);
    if (isBack) room.restart();
    this.view.refresh(info);
    this.hooks.changed(room);
  }

  private watchAway(): void {
    clearTimeout(this.awayTimer);
    if (document.visibilityState === "visible") this.requests.setAway(false);
    else this.awayTimer = setTimeout(() => this.requests.setAway(true), AWAY_MS);
  }
}

function problemOf(error: unknown): string {
  const code = error instanceof QuothError ? error.code : undefined;
  return requestProblem(code, error instanceof Error ? error.message : String(error));
}
