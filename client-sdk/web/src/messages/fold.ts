/**
 * What messages come to by the events about them, in whatever order these arrive and however often. No IO.
 *
 * Of each message it has a state by all events up to some seq (that of the page that it came with, or its own), and the events
 * behind that which have come. Two that have been told the same events and pages up to the same head are the same.
 */
import type { LogEvent } from "../api.js";
import type { ChangeEvent, Edit, MessagePage, MessageState, Reaction } from "./shapes.js";

/** Events about messages that are not here. Outcome: a page that is older than those that were let go is not taken. */
const EARLY_MAX = 10_000;

type Change = ChangeEvent & { readonly type: "edited" | "reacted" | "revoked" };

interface Known {
  readonly base: MessageState;
  /** `base` is by all events up to here. */
  readonly upTo: number;
  /** The events about it behind that, by their seqs. */
  readonly changes: Map<number, Change>;
}

export class Fold {
  private readonly known = new Map<number, Known>();
  /** Events about messages that are not here, by these. */
  private readonly early = new Map<number, Map<number, Change>>();
  private earlyCount = 0;
  /** Of the events up to here some were let go. */
  private lostUpTo = 0;

  /** `me`: the user whose own reactions are marked. */
  constructor(private readonly me: string) {}

  /** Takes an event that a reader has got, and gives the message that has changed by it, if any. */
  event(event: LogEvent): number | undefined {
    if (event.type === "message") {
      this.take(event.seq, { seq: event.seq, reactions: [] }, event.seq);
      return event.seq;
    }
    if (!isChange(event)) return undefined;
    const known = this.known.get(event.of);
    if (!known) this.keep(event);
    else if (event.seq > known.upTo) known.changes.set(event.seq, event);
    return event.of;
  }

  /**
   * Takes a page. `false`: it is so old that events behind it have been let go, and it is to be fetched anew.
   */
  page(page: MessagePage): boolean {
    if (page.head < this.lostUpTo) return false;
    const states = new Map(page.states.map((state) => [state.seq, state]));
    for (const event of page.events) {
      if (event.type === "message") this.take(event.seq, states.get(event.seq) ?? { seq: event.seq, reactions: [] }, page.head);
    }
    // Of messages that came with earlier pages.
    for (const event of page.events) if (event.type !== "gap" && event.type !== "message") this.event(event);
    return true;
  }

  /** What a message has come to; `undefined` when it is not here. */
  state(seq: number): MessageState | undefined {
    const known = this.known.get(seq);
    if (!known) return undefined;
    let { edited } = known.base;
    const reactions = new Map(known.base.reactions.map((one) => [one.reaction, one]));
    for (const change of [...known.changes.values()].sort((a, b) => a.seq - b.seq)) {
      if (change.type === "edited") edited = editOf(change);
      if (change.type === "reacted") react(reactions, change, this.me);
    }
    const inOrder = [...reactions.values()].filter(({ count }) => count > 0).sort((a, b) => (a.reaction < b.reaction ? -1 : 1));
    return { seq, edited, reactions: inOrder };
  }

  forget(seq: number): void {
    this.known.delete(seq);
  }

  private take(seq: number, base: MessageState, upTo: number): void {
    const known = this.known.get(seq);
    if (known && known.upTo >= upTo) return;
    const early = this.early.get(seq);
    if (early && this.early.delete(seq)) this.earlyCount -= early.size;
    const changes = [...(known?.changes ?? []), ...(early ?? [])].filter(([at]) => at > upTo);
    this.known.set(seq, { base, upTo, changes: new Map(changes) });
  }

  private keep(event: Change): void {
    const early = this.early.get(event.of) ?? new Map<number, Change>();
    if (early.has(event.seq)) return;
    this.early.set(event.of, early.set(event.seq, event));
    if (++this.earlyCount <= EARLY_MAX) return;
    // Those that have waited longest.
    const [oldest, changes] = this.early.entries().next().value as [number, Map<number, Change>];
    this.early.delete(oldest);
    this.earlyCount -= changes.size;
    this.lostUpTo = Math.max(this.lostUpTo, ...changes.keys());
  }
}

const isChange = (event: LogEvent): event is Change =>
  event.type === "edited" || event.type === "reacted" || event.type === "revoked";

const editOf = ({ seq, timeMs, body, mentions }: Change & { type: "edited" }): Edit => ({ seq, timeMs, body, mentions });

/** Of a user, who reacts and does no more by turns, each event counts once. */
function react(reactions: Map<string, Reaction>, { reaction, on, sender }: Change & { type: "reacted" }, me: string): void {
  const { count = 0, mine = false } = reactions.get(reaction) ?? {};
  reactions.set(reaction, { reaction, count: count + (on ? 1 : -1), mine: sender === me ? on : mine });
}
