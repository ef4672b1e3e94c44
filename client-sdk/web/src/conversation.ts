/** A conversation as the application sees it: checks what it is given and turns calls into what the room understands. */
import type {
  Ack,
  Conversation,
  Cursor,
  Events,
  HistoryOptions,
  MessageId,
  Page,
  Roster,
  SendOptions,
  Start,
  Unsubscribe,
} from "./api.js";
import { onAbort } from "./abort.js";
import { errorOfCode, QuothError, SendError } from "./error.js";
import { checkCount } from "./ids.js";
import type { Room, Waiter } from "./room/room.js";
import { encodeText } from "./wire/bytes.js";
import type { FetchRange } from "./wire/frames.js";
import { BODY_BYTES_MAX, LAST_EVENTS_MAX } from "./wire/limits.js";

/** Events of a page of which nobody says how long it should be. */
const PAGE_EVENTS = 100;

/** What a conversation needs of its client. */
export interface ConversationOwner {
  readonly producer: bigint;
  /** Whether the application numbers its messages. */
  readonly isNumbered: boolean;
  /** The client takes nothing more. */
  readonly closedBy: QuothError | undefined;
  nextNumber(): number;
  usedNumber(n: number): void;
  page(conversation: string, range: FetchRange, limit: number, signal: AbortSignal | undefined): Promise<Page>;
}

export class ConversationHandle implements Conversation {
  constructor(
    private readonly room: Room,
    private readonly owner: ConversationOwner,
  ) {}

  get name(): string {
    return this.room.name;
  }

  events({ from = "live", signal }: { from?: Start | Cursor; signal?: AbortSignal } = {}): Events {
    const [start, store] = startOf(from);
    checkStart(start);
    const reader = this.room.reading.read(start, signal, store);
    if (this.owner.closedBy) this.room.endReading(this.owner.closedBy);
    return reader;
  }

  async send(body: string | Uint8Array, options: SendOptions = {}): Promise<Ack> {
    const bytes = typeof body === "string" ? encodeText(body) : body.slice();
    const { signal, publishAs, originTimeMs, replyTo, mentions, expiresInMs } = options;
    const fail = (code: string, text: string, retryable = false) => {
      throw new SendError(code, `the message was not sent: ${text}`, retryable, "not_sent", options.id);
    };
    if (bytes.length > BODY_BYTES_MAX) {
      fail("TOO_LARGE", `a body of ${bytes.length} bytes is over the limit of ${BODY_BYTES_MAX}; send a reference to it instead`);
    }
    if (originTimeMs !== undefined && publishAs === undefined) {
      fail("BAD_ARGUMENT", "`originTimeMs` needs `publishAs`: only who may publish for others may say when a message was said");
    }
    if (!options.id && this.owner.isNumbered) {
      fail("BAD_ARGUMENT", "a client with a producer of its own must give an `id`: a number that it picked might be used already");
    }
    if (options.id && options.id.producer !== this.owner.producer) {
      fail("BAD_ARGUMENT", "the id is of another producer; connect with `producer: id.producer` to send it again");
    }
    if (signal?.aborted) fail("ABORTED", "the signal was aborted", true);
    if (this.owner.closedBy) fail("CLOSED", this.owner.closedBy.message);
    if (this.room.outbox.isFull) fail("OVERLOADED", "too many messages wait for their acks", true);
    const id = options.id ?? this.newId();
    this.owner.usedNumber(id.n);
    let stop = () => {};
    const ack = new Promise<Ack>((resolve, reject) => {
      const waiter = sendWaiter(id, resolve, reject);
      stop = onAbort(signal, (cause) => {
        this.room.giveUp(waiter, new QuothError("ABORTED", "the signal was aborted", true, { cause }));
      });
      const publish = { type: "publish", n: id.n, body: bytes, publishAs, originTimeMs, replyTo, mentions, expiresInMs } as const;
      this.room.publish(publish, waiter);
    });
    return ack.finally(stop);
  }

  newId(): MessageId {
    if (this.owner.isNumbered) {
      throw new QuothError("BAD_ARGUMENT", "a client with a producer of its own numbers its messages itself", false);
    }
    return { producer: this.owner.producer, n: this.owner.nextNumber() };
  }

  async history({ before, after, limit = PAGE_EVENTS, signal }: HistoryOptions = {}): Promise<Page> {
    if (before !== undefined && after !== undefined) {
      throw new QuothError("BAD_ARGUMENT", "a page is `before` a seq or `after` one, not both", false);
    }
    for (const [what, value] of Object.entries({ before, after, limit })) if (value !== undefined) checkCount(what, value);
    const range = before !== undefined ? { before } : after !== undefined ? { after } : "latest";
    return this.owner.page(this.name, range, limit, signal);
  }

  typing(): void {
    this.room.typing();
  }

  get typings(): readonly string[] {
    return this.room.typings.users;
  }

  onTypings(listener: (users: readonly string[]) => void): Unsubscribe {
    return this.room.onTypings.add(listener);
  }

  seen(seq: number): void {
    checkCount("seq", seq);
    this.room.seen(seq);
  }

  get roster(): Roster | undefined {
    return this.room.roster;
  }

  onRoster(listener: (roster: Roster | undefined) => void): Unsubscribe {
    return this.room.onRoster.add(listener);
  }
}

function startOf(from: Start | Cursor): [Start, store?: number] {
  return from !== "live" && "seq" in from ? [{ after: from.seq }, from.store] : [from];
}

function checkStart(from: Start): void {
  if (from === "live") return;
  if ("after" in from) return checkCount("after", from.after);
  checkCount("last", from.last);
  if (from.last > LAST_EVENTS_MAX) {
    throw new QuothError("BAD_ARGUMENT", `reading begins with at most ${LAST_EVENTS_MAX} events; read older ones by \`history\``, false);
  }
}

/** What becomes of a message, told as the promise of its send. */
function sendWaiter(id: MessageId, resolve: (ack: Ack) => void, reject: (error: SendError) => void): Waiter {
  return {
    stored: ({ seq, timeMs, duplicate }) => resolve({ seq, timeMs, duplicate, id }),
    refused(code, retryAfterMs, reason) {
      const error = errorOfCode(code, `the server refused message ${id.n}`, reason, retryAfterMs);
      reject(new SendError(error.code, error.message, error.retryable, "refused", id, error));
    },
    failed({ code, message, cause }, attempted) {
      const outcome = attempted ? "unknown" : "not_sent";
      const text = attempted
        ? `it is unknown whether message ${id.n} is stored: ${message}; it is safe to send it again under the same id`
        : `message ${id.n} was not sent: ${message}`;
      reject(new SendError(code, text, true, outcome, id, { cause }));
    },
  };
}
