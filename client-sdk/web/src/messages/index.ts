/**
 * Messages as people live with them: edits, reactions, deletions, receipts, history around any place, and the
 * inbox.
 *
 * ```ts
 * const messages = messagesOf(client);
 * const { seq } = await room.send("helo", { mentions: ["bob"], replyTo: 7 });
 * await messages.edit("team", seq, "hello");
 * await messages.react("team", 7, "👍");
 *
 * const view = new ConversationView("alice");          // messages as they stand
 * view.page(await messages.history("team", { around: 7 }));
 * for await (const event of room.events()) view.event(event);
 *
 * const inbox = openInbox(client);                     // conversations, the latest first
 * inbox.onChange(() => draw(inbox.rows));
 * ```
 */
import type { Client, Page, Unsubscribe } from "../api.js";
import { QuothError } from "../error.js";
import { checkCount } from "../ids.js";
import type { Done } from "../members/shapes.js";
import { Listeners } from "../listeners.js";
import { type Hub, hubOf } from "../requests/hub.js";
import { ByteReader, encodeText } from "../wire/bytes.js";
import type { FetchRange } from "../wire/frames.js";
import { messageState } from "../wire/messages.js";
import type { Request } from "../wire/requests.js";
import { Marks } from "./marks.js";
import type { MessageHistoryOptions, MessagePage, Messages, MessageState, MessageStates, Receipt, Receipts, Retained, Retention } from "./shapes.js";

export { RequestError } from "../requests/error.js";
export { Fold } from "./fold.js";
export { type Inbox, openInbox } from "./inbox.js";
export type { Range } from "./ranges.js";
export type * from "./shapes.js";
export { ConversationView, type MessageView, type ViewEntry } from "./view.js";

/** Events of a page of which nobody says how long it should be. */
const PAGE_EVENTS = 100;

/** What a client can do with messages: the same object for the same client, which is one that `connect` has made. */
export function messagesOf(client: Client): Messages {
  const hub = hubOf(client);
  return hub.part("messages", () => new ClientMessages(hub));
}

class ClientMessages implements Messages {
  private readonly marks: Marks;
  private readonly receiptsTold = new Listeners<{ of: string; receipt: Receipt }>();

  constructor(private readonly hub: Hub) {
    this.marks = new Marks(hub.client.env, (conversation, upTo) => hub.ask({ type: "mark", conversation, ...upTo }));
    hub.on("receipt", ({ user, delivered, read }, of) => this.receiptsTold.tell({ of, receipt: { user, delivered, read } }));
    hub.onClosed.add(() => this.marks.stop());
  }

  edit(conversation: string, seq: number, body: string | Uint8Array, mentions: readonly string[] = []): Promise<Done> {
    const bytes = typeof body === "string" ? encodeText(body) : body.slice();
    return this.ask({ type: "edit", conversation, seq, body: bytes, mentions });
  }

  async revoke(conversation: string, seq: number): Promise<Done> {
    try {
      return await this.ask({ type: "revoke", conversation, seq });
    } catch (error) {
      // As it is to be: an earlier request of the same, or somebody else, was first.
      if (error instanceof QuothError && error.code === "NOT_FOUND_MESSAGE") return { conversation, seq: 0, timeMs: 0 };
      throw error;
    }
  }

  react(conversation: string, seq: number, reaction: string, on = true): Promise<Done> {
    return this.ask({ type: "react", conversation, seq, reaction, on });
  }

  hide(conversation: string, seq: number): Promise<Done> {
    return this.ask({ type: "hide", conversation, seq });
  }

  setRetention(conversation: string, retention: Retention | undefined): Promise<Retained> {
    return this.ask({ type: "set_retention", conversation, retention, dryRun: false });
  }

  previewRetention(conversation: string, retention: Retention | undefined): Promise<Retained> {
    return this.ask({ type: "set_retention", conversation, retention, dryRun: true });
  }

  states(conversation: string, seqs: readonly number[]): Promise<MessageStates> {
    return this.ask({ type: "messages", conversation, seqs });
  }

  receipts(conversation: string, seq: number): Promise<Receipts> {
    return this.ask({ type: "receipts", conversation, seq });
  }

  async history(conversation: string, { limit = PAGE_EVENTS, signal, ...place }: MessageHistoryOptions = {}): Promise<MessagePage> {
    const range = rangeOf(place);
    checkCount("limit", limit);
    const { states = [], ...page } = await this.hub.client.page(conversation, range, limit, signal);
    return { ...page, states: states.map(stateOf), complete: isComplete(page, place) };
  }

  mark(conversation: string, upTo: { delivered?: number; read?: number }): void {
    for (const [what, seq] of Object.entries(upTo)) checkCount(what, seq);
    this.marks.mark(conversation, upTo);
  }

  flush(): Promise<void> {
    return this.marks.flush();
  }

  nowMs(): number {
    return this.hub.nowMs();
  }

  onReceipt(conversation: string, listener: (receipt: Receipt) => void): Unsubscribe {
    return this.receiptsTold.add(({ of, receipt }) => of === conversation && listener(receipt));
  }

  private ask(request: Request): Promise<any> {
    return this.hub.ask(request);
  }
}

function rangeOf(place: Omit<MessageHistoryOptions, "limit" | "signal">): FetchRange {
  const [first, second] = Object.entries(place).filter(([, value]) => value !== undefined);
  if (!first) return "latest";
  if (second) throw new QuothError("BAD_ARGUMENT", `a page is \`${first[0]}\` or \`${second[0]}\`, not both`, false);
  checkCount(first[0], first[1]);
  return { [first[0].replace(/Ms$/u, "")]: first[1] } as FetchRange;
}

/** Whether a page tells of no gap, and nothing of what was asked for is gone before it. Of a time a gap says so. */
function isComplete({ events, floor, moreBefore }: Page, { after = 0, before = floor, afterTimeMs }: MessageHistoryOptions): boolean {
  const isGone = !moreBefore && afterTimeMs === undefined && after + 1 < Math.min(before, floor);
  return !isGone && events.every((event) => event.type !== "gap");
}

function stateOf(bytes: Uint8Array): MessageState {
  const from = new ByteReader(bytes);
  const state = messageState.read(from);
  from.end();
  return state as MessageState;
}
