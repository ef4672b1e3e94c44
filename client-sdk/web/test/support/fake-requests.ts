/** How the fake server answers requests. */
import { ByteReader, ByteWriter } from "../../src/wire/bytes.js";
import { type Reply, reply, type Request, request } from "../../src/wire/requests.js";
import type { FakeConnection } from "./fake-connection.js";

export class FakeRequests {
  /** All of them as they came in, with repeats. */
  readonly asked: Request[] = [];
  /** Whether anybody sits there, as clients have said. */
  readonly statuses: boolean[] = [];
  /** They wait until `release`. */
  isHeld = false;
  /** The next ones are answered with these. */
  readonly answers: Reply[] = [];
  /** The most that waited at once. */
  underWayMax = 0;
  private waiting: (() => void)[] = [];

  take(connection: FakeConnection, id: number, bytes: Uint8Array): void {
    const asked = request.read(new ByteReader(bytes));
    this.asked.push(asked);
    const answer = () => {
      const to = new ByteWriter();
      reply.write(to, this.answers.shift() ?? usual(asked));
      connection.frame(0, { type: "reply", id, reply: to.finish() });
    };
    if (!this.isHeld) return answer();
    this.underWayMax = Math.max(this.underWayMax, this.waiting.push(answer));
  }

  release(): void {
    this.isHeld = false;
    for (const answer of this.waiting.splice(0)) answer();
  }
}

function usual(asked: Request): Reply {
  switch (asked.type) {
    case "invite":
      return { type: "invitation", invitation: "come in" };
    case "describe":
      return { type: "conversation", info: info(asked.conversation) };
    case "members": {
      const member = { role: "member", permissions: 7, mutedUntilMs: 0, status: "online", lastSeenMs: 5 } as const;
      return { type: "members", members: [{ user: "alice", ...member }], more: true };
    }
    case "blocked":
      return { type: "users", users: ["mallory"] };
    case "sessions": {
      const session = { device: "phone", platform: "android", generation: 3, connectedMs: 1, lastSeenMs: 2 };
      return { type: "sessions", sessions: [{ ...session, status: "offline" }] };
    }
    case "conversations":
      return { type: "conversations", conversations: [info("team")], more: false };
    case "receipts":
      return { type: "receipts", delivered: 2, read: 1, users: [{ user: "bob", delivered: 9, read: 7 }] };
    case "messages":
      return { type: "messages", states: [{ seq: 7, version: 0, reactions: [] }], absent: [8], more: false };
    case "watch_inbox":
      return { type: "watching", version: 1, complete: true };
    case "inbox":
      return { type: "inbox", rows: [], version: 1 };
    case "set_retention": {
      const kept = { retention: asked.retention ?? { ageS: 0, count: 0, bytes: 0 }, events: 5, bytes: 50 };
      return { type: "retained", conversation: asked.conversation, seq: asked.dryRun ? 0 : 7, timeMs: asked.dryRun ? 0 : 1_007, ...kept };
    }
    case "create":
      return { type: "done", conversation: asked.conversation ?? "group/made", seq: 7, timeMs: 1_007 };
    default:
      return { type: "done", conversation: "conversation" in asked ? asked.conversation : "$me", seq: 7, timeMs: 1_007 };
  }
}

function info(conversation: string) {
  const kept = { retention: { ageS: 86_400, count: 0, bytes: 0 }, ownRetention: true };
  const numbers = { permissions: 63, members: 3, mutedUntilMs: 0, slowModeIntervalMs: 0, ...kept, version: 7 };
  return { conversation, kind: "group", title: "Team", open: false, role: "owner", ...numbers } as const;
}
