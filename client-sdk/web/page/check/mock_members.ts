/** The mock's conversations with members. */

import { QuothError, type MembershipChange } from "../../src/index.js";
import type {
  ConversationInfo,
  Done,
  MemberInfo,
  MemberPresence,
  Members,
  NewConversation,
  PresenceListener,
  Role,
} from "../../src/members/index.js";
import type { Retention } from "../../src/messages/index.js";
import type { MockClient } from "./mock.js";

const ALL = 63;
const PERMISSIONS: Record<Role, number> = { owner: ALL, admin: ALL, member: 7, reader: 1 };

export class MockMembers implements Members {
  readonly infos = new Map<string, ConversationInfo>();
  readonly lists = new Map<string, MemberInfo[]>();
  readonly away: boolean[] = [];
  /** The next request is refused with this code. */
  refuse: string | undefined;
  private listeners = new Map<string, PresenceListener>();

  constructor(private readonly client: MockClient) {}

  /** A group of these members, the user's role in front. */
  group(conversation: string, title: string, role: Role, others: Record<string, Role>): ConversationInfo {
    const member = (user: string, role: Role): MemberInfo => {
      return { user, role, permissions: PERMISSIONS[role], mutedUntilMs: 0, status: "offline", lastSeenMs: Date.now() - 6e5 };
    };
    const list = [member(this.client.user, role), ...Object.entries(others).map(([user, role]) => member(user, role))];
    const info = { kind: "group", title, open: false, role, permissions: PERMISSIONS[role], members: list.length } as const;
    const retention = { ageS: 2_592_000, count: 0, bytes: 0 };
    const numbers = { mutedUntilMs: 0, slowModeIntervalMs: 0, retention, ownRetention: false, version: 1 };
    const made = { conversation, ...info, ...numbers };
    this.infos.set(conversation, made);
    this.lists.set(conversation, list);
    this.client.changed();
    return made;
  }

  setRetention(conversation: string, retention: Retention): void {
    const info = this.infos.get(conversation);
    if (info) this.infos.set(conversation, { ...info, retention, ownRetention: true });
  }

  setPresent(conversation: string, present: Record<string, MemberPresence["status"]>): void {
    const members = Object.entries(present).map(([user, status]) => [user, { status, lastSeenMs: 1 }] as const);
    this.listeners.get(conversation)?.(new Map(members));
  }

  async create({ kind, title = "", members = [], conversation }: NewConversation): Promise<Done> {
    await this.ask();
    const name = conversation ?? `${kind}/${"x".repeat(22)}`;
    const others = Object.fromEntries(members.map((user) => [user, "member" as const]));
    this.infos.set(name, { ...this.group(name, kind === "direct" ? (members[0] ?? "") : title, "owner", others), kind });
    return this.done(name, { type: "created", kind, title, open: false });
  }

  async join(conversation: string): Promise<Done> {
    await this.ask();
    this.client.conversation(conversation).denied = false;
    this.group(conversation, "Joined", "member", { bob: "owner" });
    return this.done(conversation, { type: "member_set", user: this.client.user, role: "member", permissions: 7 });
  }

  async leave(conversation: string): Promise<Done> {
    await this.ask();
    this.infos.delete(conversation);
    this.client.changed();
    return this.done(conversation, { type: "member_gone", user: this.client.user, cause: "left" });
  }

  async setMember(conversation: string, user: string, role: Role): Promise<Done> {
    await this.ask();
    const list = this.lists.get(conversation) ?? [];
    const known = list.find((member) => member.user === user);
    const member = { user, role, permissions: PERMISSIONS[role], mutedUntilMs: 0, status: "offline", lastSeenMs: 0 } as const;
    this.lists.set(conversation, known ? list.map((one) => (one === known ? { ...known, role } : one)) : [...list, member]);
    return this.done(conversation, { type: "member_set", user, role, permissions: PERMISSIONS[role], previous: known?.role });
  }

  async remove(conversation: string, user: string): Promise<Done> {
    await this.ask();
    this.lists.set(conversation, (this.lists.get(conversation) ?? []).filter((member) => member.user !== user));
    return this.done(conversation, { type: "member_gone", user, cause: "removed" });
  }

  async rename(conversation: string, title: string): Promise<Done> {
    await this.ask();
    const info = this.infos.get(conversation);
    if (info) this.infos.set(conversation, { ...info, title });
    return this.done(conversation, { type: "renamed", title });
  }

  async invite(): Promise<string> {
    await this.ask();
    return "UqvlAFkjAIEDRW4qxYLe1Q";
  }

  async describe(conversation: string): Promise<ConversationInfo> {
    await this.client.whenConnected();
    const info = this.infos.get(conversation);
    if (!info) throw new QuothError("FORBIDDEN", "not allowed, or no such conversation", false);
    return { ...info, members: this.lists.get(conversation)?.length ?? 0 };
  }

  async members(conversation: string): ReturnType<Members["members"]> {
    await this.client.whenConnected();
    return { members: this.lists.get(conversation) ?? [], more: false };
  }

  async conversations(): ReturnType<Members["conversations"]> {
    await this.client.whenConnected();
    return { conversations: [...this.infos.values()].filter(({ role }) => role !== undefined), more: false };
  }

  watchPresence(conversation: string, listener: PresenceListener): () => void {
    this.listeners.set(conversation, listener);
    return () => this.listeners.delete(conversation);
  }

  setAway(away: boolean): void {
    this.away.push(away);
  }

  mute = (): Promise<Done> => this.other();
  ban = (): Promise<Done> => this.other();
  slowMode = (): Promise<Done> => this.other();
  revokeInvitations = (): Promise<Done> => this.other();
  block = (): Promise<Done> => this.other();
  endSession = (): Promise<Done> => this.other();
  blocked = async (): Promise<readonly string[]> => [];
  sessions = async (): ReturnType<Members["sessions"]> => [];

  private async other(): Promise<Done> {
    throw new QuothError("UNSUPPORTED", "the mock does not do this", false);
  }

  private async ask(): Promise<void> {
    await this.client.whenConnected();
    if (this.refuse === undefined) return;
    const code = this.refuse;
    this.refuse = undefined;
    throw new QuothError(code, `refused: ${code}`, false);
  }

  private done(conversation: string, change: MembershipChange): Done {
    const room = this.client.conversation(conversation);
    room.add({ ...change, seq: room.head + 1, timeMs: Date.now(), sender: this.client.user });
    return { conversation, seq: room.head, timeMs: Date.now() };
  }
}
