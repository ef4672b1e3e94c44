/** A conversation in which messages are said, edited, reacted to and taken back, with the server's rules for what becomes of them. */
import type { LogEvent } from "../../src/index.js";
import type { MessagePage, MessageState } from "../../src/messages/index.js";

const USERS = ["alice", "bob", "carol"];
const REACTIONS = ["👍", "❤", "!"];

interface Said {
  version: number;
  edit: { seq: number; text: string } | undefined;
  /** Who reacts, by the reaction. */
  reactions: Map<string, Set<string>>;
}

export class World {
  private readonly events: LogEvent[] = [];
  private readonly absent = new Set<number>();
  private readonly said = new Map<number, Said>();

  constructor(private readonly random: () => number) {}

  get head(): number {
    return this.events.length;
  }

  /** Something happens, unless it would change nothing. */
  step(): LogEvent | undefined {
    const kind = this.random();
    const of = this.pick([...this.said.keys()]);
    const said = of === undefined ? undefined : this.said.get(of);
    if (kind < 0.4 || of === undefined || !said) {
      const event = this.add({ type: "message", ...this.text(), mentions: [], expiresMs: 0 });
      this.said.set(event.seq, { version: 0, edit: undefined, reactions: new Map() });
      return event;
    }
    if (kind < 0.45) return this.add({ type: "slow_mode", intervalMs: this.head });
    if (kind < 0.65) return this.edit(of, said);
    if (kind < 0.92) return this.react(of, said);
    this.said.delete(of);
    for (const gone of [of, said.edit?.seq]) if (gone !== undefined) this.absent.add(gone);
    return this.add({ type: "revoked", of });
  }

  /** What the server gives of `limit` seqs from one on. */
  page(from: number, limit: number): MessagePage {
    const to = Math.min(this.head, from + limit - 1);
    const events: MessagePage["events"][number][] = [];
    const states: MessageState[] = [];
    for (let seq = from; seq <= to; seq++) {
      const last = events.at(-1);
      if (!this.absent.has(seq)) events.push(this.events[seq - 1] as LogEvent);
      else if (last?.type === "gap") events[events.length - 1] = { ...last, to: seq };
      else events.push({ type: "gap", from: seq, to: seq });
      const state = this.state(seq);
      if (state) states.push(state);
    }
    // The head is told as it was before the states were read.
    const head = Math.floor((to + this.head) / 2);
    return { events, states, head, floor: 1, from, to, moreBefore: from > 1, moreAfter: to < head, complete: events.every(({ type }) => type !== "gap") };
  }

  private state(seq: number): MessageState | undefined {
    const said = this.said.get(seq);
    if (!said?.version) return undefined;
    const { edit } = said;
    const body = new TextEncoder().encode(edit?.text);
    const reactions = [...said.reactions].map(([reaction, users]) => ({ reaction, count: users.size, mine: users.has("alice") }));
    return { seq, version: said.version, edited: edit && { seq: edit.seq, timeMs: edit.seq, body, mentions: [] }, reactions };
  }

  private edit(of: number, said: Said): LogEvent {
    const { text, body } = this.text();
    const event = this.add({ type: "edited", of, text, body, mentions: [] });
    if (said.edit) this.absent.add(said.edit.seq);
    said.edit = { seq: event.seq, text };
    said.version = event.seq;
    return event;
  }

  private react(of: number, said: Said): LogEvent {
    const [sender, reaction] = [this.pick(USERS) as string, this.pick(REACTIONS) as string];
    const users = said.reactions.get(reaction) ?? new Set();
    const on = !users.has(sender);
    if (on) users.add(sender);
    else users.delete(sender);
    if (users.size > 0) said.reactions.set(reaction, users);
    else said.reactions.delete(reaction);
    const event = this.add({ type: "reacted", of, reaction, on }, sender);
    said.version = event.seq;
    return event;
  }

  private text(): { text: string; body: Uint8Array } {
    const text = `text ${this.head + 1}`;
    return { text, body: new TextEncoder().encode(text) };
  }

  private add(what: any, sender = this.pick(USERS)): LogEvent {
    const seq = this.head + 1;
    const event = { seq, timeMs: seq, sender, ...what } as LogEvent;
    this.events.push(event);
    return event;
  }

  private pick<T>(all: readonly T[]): T | undefined {
    return all[Math.floor(this.random() * all.length)];
  }
}
