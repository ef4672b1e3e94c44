/** The list of a user's conversations: pages of it as they are wanted, and what changes, over as many connections as it takes. */
import type { Client, Unsubscribe } from "../api.js";
import type { Done } from "../members/shapes.js";
import { Listeners } from "../listeners.js";
import { type Hub, hubOf } from "../requests/hub.js";
import { eventOf } from "../room/reading.js";
import { ByteReader } from "../wire/bytes.js";
import { inboxRow } from "../wire/messages.js";
import type { Of } from "../wire/schema.js";
import type { InboxRow, InboxSettings } from "./shapes.js";

/** The most that a server gives at once. */
const PAGE_ROWS_MAX = 50;

/** The most rows of which a server knows when they are stale. */
const STALE_ROWS_MAX = 500;

type WireRow = Of<typeof inboxRow>;

export interface Inbox {
  /** The rows that are known: pinned ones first, then by `timeMs`, the latest first. Archived ones stand among them. */
  readonly rows: readonly InboxRow[];
  /** The first page has come. */
  readonly isLoaded: boolean;
  /** There are more pages: `loadMore` gets the next one. */
  readonly hasMore: boolean;
  /** Gets the next page. Rejects with a `RequestError`. */
  loadMore(): Promise<void>;
  /** Tells that something has changed: of one conversation, or without a name of many. */
  onChange(listener: (conversation: string | undefined) => void): Unsubscribe;
  get(conversation: string): InboxRow | undefined;
  /** Says how a conversation is to be seen; what is not given stays. Rejects with a `RequestError`; over 32 pinned: `TOO_MANY`. */
  set(conversation: string, settings: Partial<InboxSettings>): Promise<Done>;
  /** Hears no more. */
  close(): void;
}

/**
 * The user's inbox. It asks for the first page by itself, hears of what changes from then on, and is told of
 * what it has missed after a lost connection.
 */
export function openInbox(client: Client, options: { pageRows?: number } = {}): Inbox {
  return new ClientInbox(hubOf(client), options.pageRows ?? PAGE_ROWS_MAX);
}

class ClientInbox implements Inbox {
  isLoaded = false;
  private readonly known = new Map<string, InboxRow>();
  /** Of those that are gone: an older row does not bring them back. */
  private readonly gone = new Map<string, number>();
  private readonly changes = new Listeners<string | undefined>();
  private readonly unsubscribe: Unsubscribe[];
  /** Up to where all that has changed has come; not known before the first answer. */
  private version: number | undefined;
  /** Takes last messages away when they expire, also while there is no connection. */
  private expiry: ReturnType<typeof setTimeout> | undefined;
  private next: string | undefined;
  private sorted: readonly InboxRow[] | undefined;
  private isClosed = false;

  constructor(
    private readonly hub: Hub,
    private readonly pageRows: number,
  ) {
    this.unsubscribe = [
      hub.on("inbox_row", ({ known, row }) => {
        const from = new ByteReader(row);
        const told = inboxRow.read(from);
        from.end();
        const isNews = this.take(told);
        if (this.version !== undefined) this.version = Math.max(this.version, known);
        this.expire();
        if (isNews) this.changes.tell(told.conversation);
      }),
      hub.onSignedIn.add(() => void this.begin()),
    ];
    if (hub.client.session?.isSignedIn) void this.begin();
  }

  get rows(): readonly InboxRow[] {
    this.sorted ??= [...this.known.values()].sort(
      (a, b) => Number(b.pinned) - Number(a.pinned) || b.timeMs - a.timeMs || (a.conversation < b.conversation ? -1 : 1),
    );
    return this.sorted;
  }

  get hasMore(): boolean {
    return this.next !== undefined;
  }

  get(conversation: string): InboxRow | undefined {
    return this.known.get(conversation);
  }

  onChange(listener: (conversation: string | undefined) => void): Unsubscribe {
    return this.changes.add(listener);
  }

  async loadMore(): Promise<void> {
    if (this.next !== undefined) await this.load(this.next);
  }

  set(conversation: string, settings: Partial<InboxSettings>): Promise<Done> {
    const { archived = false, mutedUntilMs = 0, pinned = false } = this.known.get(conversation) ?? {};
    return this.hub.ask({ type: "set_inbox", conversation, archived, mutedUntilMs, pinned, ...settings });
  }

  close(): void {
    this.isClosed = true;
    clearTimeout(this.expiry);
    for (const end of this.unsubscribe) end();
    this.hub.ask({ type: "watch_inbox", watch: false, held: [] }).catch(() => {});
  }

  /** A connection is there: hears from now on, and asks for what is not known. */
  private async begin(): Promise<void> {
    try {
      // Of what is known it tells anew what goes stale, or has gone stale meanwhile.
      const held = [...this.known.values()].filter(({ staleMs }) => staleMs).sort((a, b) => a.staleMs - b.staleMs).slice(0, STALE_ROWS_MAX);
      const { version, complete } = await this.hub.ask({ type: "watch_inbox", since: this.version, watch: true, held });
      if (this.version === undefined || !complete) {
        // Too much has changed, or all of it is new: what stands is what the pages say.
        this.known.clear();
        this.gone.clear();
        this.version = undefined;
        await this.load(undefined);
      }
      this.version = Math.max(this.version ?? 0, version);
    } catch {
      // Refused, or the client has ended. The next connection is asked again.
    }
  }

  private async load(after: string | undefined): Promise<void> {
    const { rows, next } = await this.hub.ask({ type: "inbox", after, limit: this.pageRows });
    if (this.isClosed) return;
    for (const row of rows) this.take(row);
    this.next = next;
    this.isLoaded = true;
    this.expire();
    this.changes.tell(undefined);
  }

  /** Takes away the last messages that have expired, also where no server tells what stands in their place, and looks again when the next one does. */
  private expire(): void {
    clearTimeout(this.expiry);
    const nowMs = this.hub.nowMs();
    let next = Infinity;
    for (const [conversation, row] of this.known) {
      const atMs = (row.last?.type === "message" && row.last.expiresMs) || Infinity;
      if (atMs > nowMs) {
        next = Math.min(next, atMs);
      } else {
        this.known.set(conversation, { ...row, last: undefined });
        this.sorted = undefined;
        this.changes.tell(conversation);
      }
    }
    // Of a longer time a browser makes none.
    if (next < Infinity && !this.isClosed) this.expiry = setTimeout(() => this.expire(), Math.min(next - nowMs, 2 ** 31 - 1));
  }

  /** Whether it is news. */
  private take(wire: WireRow): boolean {
    const { last, gone, ...row } = wire;
    const { conversation, version } = row;
    const known = this.known.get(conversation)?.version ?? this.gone.get(conversation) ?? 0;
    if (version < known) return false;
    this.sorted = undefined;
    if (gone) {
      this.known.delete(conversation);
      this.gone.set(conversation, version);
    } else {
      this.known.set(conversation, { ...row, last: last && eventOf({ type: "event", ...last }) });
      this.gone.delete(conversation);
    }
    return true;
  }
}
