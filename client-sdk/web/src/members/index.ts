/**
 * Conversations with members, and the user's devices: what a client asks its server to do or to tell besides messages.
 *
 * ```ts
 * const members = membersOf(client);
 * const { conversation } = await members.create({ kind: "group", title: "The team", members: ["bob"] });
 * const invitation = await members.invite(conversation, "member");
 * ```
 *
 * What they lead to is told to readers as events (`member_set`, `member_gone`, …); `$me` is the conversation that tells of the
 * user's own.
 */
import type { Client, Unsubscribe } from "../api.js";
import type { Extension, QuothClient } from "../client.js";
import { QuothError } from "../error.js";
import type { ServerFrame } from "../wire/frames.js";
import type { Request } from "../wire/requests.js";
import { RequestError } from "./error.js";
import { Presences } from "./presence.js";
import { Requests } from "./requests.js";
import type {
  ConversationInfo,
  Done,
  Members,
  NewConversation,
  PageOf,
  PresenceListener,
  Role,
  SessionInfo,
} from "./shapes.js";

export { RequestError } from "./error.js";
export type * from "./shapes.js";

/** Bits of `permissions`. */
export const Permission = { READ: 1, WRITE: 2, INVITE: 4, MODERATE: 8, MANAGE: 16, DELETE_ANY: 32 } as const;

/** More than a server gives at once. */
const PAGE_MAX = 500;

/** The requests of a client: the same object for the same client, which is one that `connect` has made. */
export function membersOf(client: Client): Members {
  // By what it needs of it, and not by its class, so that pages do not load that twice.
  if (!("extension" in client)) {
    throw new QuothError("BAD_ARGUMENT", "members are those of a client that `connect` has made", false);
  }
  const inner = client as QuothClient;
  inner.extension ??= new ClientMembers(inner);
  return inner.extension as ClientMembers;
}

class ClientMembers implements Members, Extension {
  private readonly requests = new Requests();
  private readonly presences = new Presences((conversation, watch) => this.ask({ type: "watch_presence", conversation, watch }));
  private isAway = false;

  constructor(private readonly client: QuothClient) {}

  create({ kind, title = "", members = [], open = false, conversation }: NewConversation): Promise<Done> {
    return this.ask({ type: "create", kind, title, members, open, conversation });
  }

  join(conversation: string, invitation?: string): Promise<Done> {
    return this.ask({ type: "join", conversation, invitation });
  }

  leave(conversation: string): Promise<Done> {
    return this.ask({ type: "leave", conversation });
  }

  setMember(conversation: string, user: string, role: Role, permissions?: number): Promise<Done> {
    return this.ask({ type: "set_member", conversation, user, role, permissions });
  }

  remove(conversation: string, user: string): Promise<Done> {
    return this.ask({ type: "remove", conversation, user });
  }

  rename(conversation: string, title: string): Promise<Done> {
    return this.ask({ type: "rename", conversation, title });
  }

  mute(conversation: string, user: string | undefined, untilMs: number): Promise<Done> {
    return this.ask({ type: "mute", conversation, user, untilMs });
  }

  ban(conversation: string, user: string, untilMs: number): Promise<Done> {
    return this.ask({ type: "ban", conversation, user, untilMs });
  }

  slowMode(conversation: string, intervalMs: number): Promise<Done> {
    return this.ask({ type: "slow_mode", conversation, intervalMs });
  }

  invite(conversation: string, role: Role, { expiresMs = 0, usesMax = 0 } = {}): Promise<string> {
    return this.ask({ type: "invite", conversation, role, expiresMs, usesMax });
  }

  revokeInvitations(conversation: string): Promise<Done> {
    return this.ask({ type: "revoke_invitations", conversation });
  }

  describe(conversation: string): Promise<ConversationInfo> {
    return this.ask({ type: "describe", conversation });
  }

  members(conversation: string, { after, limit = PAGE_MAX }: PageOf = {}): ReturnType<Members["members"]> {
    return this.ask({ type: "members", conversation, after, limit });
  }

  conversations({ after, limit = PAGE_MAX }: PageOf = {}): ReturnType<Members["conversations"]> {
    return this.ask({ type: "conversations", after, limit });
  }

  block(user: string, blocked: boolean): Promise<Done> {
    return this.ask({ type: "block", user, blocked });
  }

  blocked(): Promise<readonly string[]> {
    return this.ask({ type: "blocked" });
  }

  sessions(): Promise<readonly SessionInfo[]> {
    return this.ask({ type: "sessions" });
  }

  endSession(device: string): Promise<Done> {
    return this.ask({ type: "end_session", device });
  }

  watchPresence(conversation: string, listener: PresenceListener): Unsubscribe {
    return this.presences.watch(conversation, listener, this.client.session?.isSignedIn ?? false);
  }

  setAway(away: boolean): void {
    if (this.isAway === away) return;
    this.isAway = away;
    this.tellAway();
  }

  // From the client.

  advance(): void {
    this.requests.advance(this.client.session);
  }

  signedIn(): void {
    this.presences.connected();
    // Whoever has just come counts as being here.
    if (this.isAway) this.tellAway();
  }

  frame(frame: ServerFrame): string | undefined {
    if (frame.type === "reply") {
      const complaint = this.requests.answered(frame.id, frame.reply);
      this.advance();
      return complaint;
    }
    if (frame.type !== "presence") return `${frame.type} on the control lane`;
    const { conversation, user, status, lastSeenMs } = frame;
    this.presences.take(conversation, user, { status, lastSeenMs });
    return undefined;
  }

  lost(reason: QuothError): void {
    this.requests.disconnected(reason);
  }

  closed(reason: QuothError): void {
    this.requests.fail(reason);
  }

  private async ask(request: Request): Promise<any> {
    if (this.client.closedBy) throw new RequestError(this.client.closedBy, "not_sent");
    return this.requests.ask(request, this.client.session);
  }

  private tellAway(): void {
    const { session } = this.client;
    if (session?.hasMembership) session.sendControl({ type: "status", away: this.isAway });
  }
}
