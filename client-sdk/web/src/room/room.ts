/**
 * One conversation: its lane, its outbox, its readers. No IO: it is told what happens and acts on the lane
 * and on its timers.
 *
 * Everything that can be done is done by `advance`, which is called after whatever happens.
 */
import type { Ack, Roster } from "../api.js";
import { Backoff } from "../backoff.js";
import type { Env } from "../env.js";
import { errorOfCode, type QuothError } from "../error.js";
import type { Lane, LaneUser } from "../link/lane.js";
import { Listeners } from "../listeners.js";
import { Code, actionOf } from "../wire/codes.js";
import type { ClientFrame, Publish, ServerFrame } from "../wire/frames.js";
import { Outbox } from "./outbox.js";
import { Reading } from "./reading.js";
import { Typings } from "./typings.js";

/** A conversation that nobody uses is closed on the server after this. */
const IDLE_MS = 5_000;
/** How long the server may take to finish a lane that this side has finished. Outcome: the lane is reset. */
const FINISH_TIMEOUT_MS = 5_000;
/** At most so often it is said how far the user has read. */
const SEEN_INTERVAL_MS = 100;
/** At most so often it is said that the user is typing; a notice holds for 5 s. */
const TYPING_INTERVAL_MS = 3_000;

/** A connection as a conversation sees it. */
export interface RoomSession {
  readonly isSignedIn: boolean;
  /** The server is about to close: nothing new is begun. */
  readonly isLeaving: boolean;
  readonly hasRoster: boolean;
  /** Opens a lane for a conversation, unless there are too many. */
  openConversation(user: LaneUser): Lane | undefined;
  sendControl(frame: ClientFrame): void;
}

/** Where a conversation gets its connection from. */
export interface RoomLink {
  readonly session: RoomSession | undefined;
  readonly producer: bigint;
  /** Nothing of a conversation waits for an ack any longer. */
  outboxEmptied(): void;
  /** How far somebody has come in a conversation. */
  receipt(conversation: string, frame: ServerFrame): void;
}

/** Who waits for the answer to a send. */
export interface Waiter {
  stored(ack: Omit<Ack, "id">): void;
  refused(code: number, retryAfterMs: number, reason: string): void;
  /** Nothing more will be heard of it. `attempted`: it may be stored. */
  failed(reason: QuothError, attempted: boolean): void;
}

export class Room implements LaneUser {
  readonly outbox = new Outbox<Waiter>();
  readonly reading: Reading;
  readonly typings: Typings;
  readonly onTypings = new Listeners<readonly string[]>();
  readonly onRoster = new Listeners<Roster | undefined>();
  roster: Roster | undefined;
  private open: { lane: Lane; openedAtMs: number | undefined; isFinishing: boolean } | undefined;
  private readonly backoff = new Backoff();
  /** Set while a lane that the server has just ended may not be opened again. */
  private cancelRetry: (() => void) | undefined;
  private cancelIdle: (() => void) | undefined;
  private seenSeq = 0;
  private seenTold = 0;
  private cancelSeen: (() => void) | undefined;
  private lastTypingMs = -Infinity;

  constructor(
    readonly name: string,
    private readonly link: RoomLink,
    private readonly env: Env,
  ) {
    this.typings = new Typings(env, (users) => this.onTypings.tell(users));
    this.reading = new Reading(() => this.advance(), (user) => this.typings.stop(user));
  }

  publish(publish: Publish & { n: number }, waiter: Waiter): void {
    // A message ends the notice at those who read it: what is typed behind it is said at once.
    this.lastTypingMs = -Infinity;
    this.outbox.push(publish, waiter);
    this.advance();
  }

  /** Somebody waits no longer for an answer. */
  giveUp(waiter: Waiter, reason: QuothError): void {
    const attempted = this.outbox.giveUp(waiter);
    if (attempted === undefined) return;
    waiter.failed(reason, attempted);
    if (this.outbox.isEmpty) this.link.outboxEmptied();
    this.advance();
  }

  /** Does what can be done: opens a lane if one is needed, tells the server what to deliver, sends what waits. */
  advance(): void {
    const { session } = this.link;
    if (!session) return;
    this.reading.update(!this.outbox.isEmpty);
    if (!this.open) return this.begin(session);
    if (this.open.isFinishing) return;
    const { lane } = this.open;
    const question = this.reading.ask();
    if (question) lane.send(question);
    if (!this.reading.isDelivering) this.setRoster(undefined);
    // Before Welcome nothing new goes out: should the server refuse the sign-in, it is known that it was not
    // sent.
    if (session.isSignedIn && !session.isLeaving) {
      while (lane.hasRoom) {
        const publish = this.outbox.takeNext();
        if (!publish) break;
        lane.send(publish);
      }
      this.tellSeen(session);
    }
    lane.hold(this.reading.heldBytes);
    this.watchIdle();
  }

  seen(seq: number): void {
    this.seenSeq = Math.max(this.seenSeq, seq);
    this.cancelSeen ??= this.env.after(SEEN_INTERVAL_MS, () => {
      this.cancelSeen = undefined;
      this.advance();
    });
  }

  typing(): void {
    const { session } = this.link;
    const now = this.env.now();
    const isOpen = session?.isSignedIn && this.open?.openedAtMs !== undefined;
    if (!isOpen || now - this.lastTypingMs < TYPING_INTERVAL_MS) return;
    this.lastTypingMs = now;
    session.sendControl({ type: "typing", conversation: this.name });
  }

  /** Ends all readers. They are told why, unless it was the application's own will. */
  endReading(reason: QuothError): void {
    this.reading.end(reason.code === "CLOSED" || reason.code === "REPLACED" ? undefined : reason);
    this.advance();
  }

  /** The client has ended. */
  close(reason: QuothError): void {
    this.endReading(reason);
    this.failSends(reason);
    this.forgetLane();
    for (const cancel of [this.cancelRetry, this.cancelSeen]) cancel?.();
  }

  /** Rejects all sends. */
  failSends(reason: QuothError): void {
    for (const { waiters, attempted } of this.outbox.fail()) {
      for (const waiter of waiters) waiter.failed(reason, attempted);
    }
  }

  // What the lane tells.

  frame(frame: ServerFrame, size: number): void {
    switch (frame.type) {
      case "opened":
        if (this.open) this.open.openedAtMs ??= this.env.now();
        this.seenTold = 0;
        this.reading.serves(frame.store);
        this.reading.opened(frame.head, frame.floor);
        break;
      case "event":
      case "gap": {
        const complaint = this.reading.take(frame, size);
        if (complaint) return this.broken(complaint);
        break;
      }
      case "ack":
        this.answered(frame.n, (waiter) => waiter.stored(frame));
        break;
      case "refused":
        this.answered(frame.n, (waiter) => waiter.refused(frame.code, frame.retryAfterMs, frame.reason));
        break;
      case "roster":
        if (this.reading.isDelivering) this.setRoster({ users: frame.users, present: frame.present });
        break;
      case "receipt":
        this.link.receipt(this.name, frame);
        break;
      default:
        return this.broken(`${frame.type} has no place in a conversation`);
    }
    this.advance();
  }

  writable(): void {
    this.advance();
  }

  finished(): void {
    const wasMeant = this.open?.isFinishing;
    this.forgetLane();
    if (!wasMeant) this.retryLater();
    this.advance();
  }

  lost(): void {
    this.forgetLane();
  }

  broken(text: string): void {
    this.open?.lane.reset(Code.PROTOCOL);
    const error = errorOfCode(Code.PROTOCOL, `the server broke the protocol in ${this.name}`, text);
    if (this.reading.hasReaders) this.reading.end(error);
    else this.failSends(error);
    this.forgetLane();
    this.retryLater();
    this.advance();
  }

  reset(code: number): void {
    const wasOpened = this.open?.openedAtMs !== undefined;
    if (code === Code.GOING_AWAY || code === Code.ALREADY_OPEN) {
      // The server drains, or has not yet seen the end of the lane before this one.
    } else if (actionOf(code) !== "stop") {
      this.reading.failed(errorOfCode(code, `the server failed to read ${this.name}`));
    } else if (!this.reading.refused(code, errorOfCode(code, `the server refused to read ${this.name}`))) {
      this.refuseSends(code, wasOpened);
    }
    this.forgetLane();
    this.retryLater();
    this.advance();
  }

  private answered(n: number, tell: (waiter: Waiter) => void): void {
    for (const waiter of this.outbox.answered(n)) tell(waiter);
    if (this.outbox.isEmpty) this.link.outboxEmptied();
  }

  /** The server refuses the lane for good, and not for what was to be read on it. */
  private refuseSends(code: number, wasOpened: boolean): void {
    const reason = errorOfCode(code, `the server refused ${this.name}`);
    if (wasOpened) return this.failSends(reason);
    for (const { waiters, attempted } of this.outbox.refuse()) {
      for (const waiter of waiters) attempted ? waiter.failed(reason, true) : waiter.refused(code, 0, "");
    }
  }

  private begin(session: RoomSession): void {
    const wanted = this.reading.wantsDelivery || !this.outbox.isEmpty;
    if (!wanted || this.cancelRetry || session.isLeaving) return;
    const lane = session.openConversation(this);
    if (!lane) return;
    this.open = { lane, openedAtMs: undefined, isFinishing: false };
    lane.send({
      type: "open",
      conversation: this.name,
      producer: this.link.producer,
      from: this.reading.begin(),
    });
    this.advance();
  }

  /** The lane is gone: what has no answer is sent again on the next one. */
  private forgetLane(): void {
    const openedAtMs = this.open?.openedAtMs;
    if (openedAtMs !== undefined) this.backoff.heldFor(this.env.now() - openedAtMs);
    this.open = undefined;
    this.cancelIdle?.();
    this.cancelIdle = undefined;
    this.outbox.disconnected();
    this.reading.disconnected();
    this.typings.clear();
    this.setRoster(undefined);
  }

  /** The server has ended the lane on a connection that holds. */
  private retryLater(): void {
    if (!this.link.session || this.link.session.isLeaving) return;
    this.cancelRetry?.();
    const delayMs = this.backoff.nextDelayMs(this.env.random);
    this.cancelRetry = this.env.after(delayMs, () => {
      this.cancelRetry = undefined;
      this.advance();
    });
  }

  private watchIdle(): void {
    if (this.reading.hasReaders || !this.outbox.isEmpty) {
      this.cancelIdle?.();
      this.cancelIdle = undefined;
      return;
    }
    this.cancelIdle ??= this.env.after(IDLE_MS, () => this.finish());
  }

  /** Ends the lane in agreement with the server, so that the conversation may be opened again on the connection. */
  private finish(): void {
    if (!this.open) return;
    this.open.isFinishing = true;
    const { lane } = this.open;
    lane.finish();
    this.cancelIdle = this.env.after(FINISH_TIMEOUT_MS, () => {
      lane.reset(Code.CANCELLED);
      this.forgetLane();
      this.advance();
    });
  }

  private tellSeen(session: RoomSession): void {
    if (!session.hasRoster || !this.reading.isReading || this.cancelSeen || this.seenSeq <= this.seenTold) return;
    this.seenTold = this.seenSeq;
    this.open?.lane.send({ type: "seen", seq: this.seenSeq });
  }

  private setRoster(roster: Roster | undefined): void {
    if (this.roster === roster) return;
    this.roster = roster;
    this.onRoster.tell(roster);
  }
}
