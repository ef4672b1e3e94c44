/** A client's requests, and who hears what the server tells on the control lane besides answers. What asks or listens shares one. */
import type { Client, Unsubscribe } from "../api.js";
import type { Extension, QuothClient } from "../client.js";
import { QuothError } from "../error.js";
import { Listeners } from "../listeners.js";
import type { ServerFrame } from "../wire/frames.js";
import type { Request } from "../wire/requests.js";
import { RequestError } from "./error.js";
import { Requests } from "./requests.js";

interface Hearer {
  readonly type: ServerFrame["type"];
  hear(frame: ServerFrame, conversation: string): void;
}

/** What servers tell besides answers. */
const KNOWN: readonly ServerFrame["type"][] = ["presence", "inbox_row", "receipt"];

export class Hub implements Extension {
  /** A connection is there. */
  readonly onSignedIn = new Listeners<void>();
  readonly onClosed = new Listeners<void>();
  private readonly hearers = new Set<Hearer>();
  private readonly requests = new Requests();
  private readonly parts = new Map<string, unknown>();

  constructor(readonly client: QuothClient) {}

  /** What there is one of for each client, made when it is first asked for. */
  part<T>(name: string, make: () => T): T {
    if (!this.parts.has(name)) this.parts.set(name, make());
    return this.parts.get(name) as T;
  }

  async ask(request: Request): Promise<any> {
    if (this.client.closedBy) throw new RequestError(this.client.closedBy, "not_sent");
    return this.requests.ask(request, this.client.session);
  }

  /** Hears frames of one type, of the control lane or of a conversation's. A `DecodeError` that it throws ends the connection. */
  on<T extends ServerFrame["type"]>(type: T, hear: (frame: ServerFrame & { type: T }, conversation: string) => void): Unsubscribe {
    const hearer = { type, hear } as unknown as Hearer;
    this.hearers.add(hearer);
    return () => void this.hearers.delete(hearer);
  }

  /** The server's clock in milliseconds since 1970, by the latest sign-in; before the first, this machine's. */
  nowMs(): number {
    const { aheadMs, env } = this.client;
    return aheadMs === undefined ? Date.now() : env.now() + aheadMs;
  }

  // From the client.

  advance(): void {
    this.requests.advance(this.client.session);
  }

  signedIn(): void {
    this.onSignedIn.tell();
  }

  frame(frame: ServerFrame, conversation?: string): string | undefined {
    if (frame.type === "reply") {
      const complaint = this.requests.answered(frame.id, frame.reply);
      this.advance();
      return complaint;
    }
    // What nobody listens to any more may still be on its way.
    if (!KNOWN.includes(frame.type)) return `${frame.type} on the control lane`;
    for (const { type, hear } of [...this.hearers]) if (type === frame.type) hear(frame, conversation ?? "");
    return undefined;
  }

  lost(reason: QuothError): void {
    this.requests.disconnected(reason);
  }

  closed(reason: QuothError): void {
    this.requests.fail(reason);
    this.onClosed.tell();
  }
}

/** The hub of a client that `connect` has made. */
export function hubOf(client: Client): Hub {
  // By what it needs of it, and not by its class, so that pages do not load that twice.
  if (!("extension" in client)) {
    throw new QuothError("BAD_ARGUMENT", "this needs a client that `connect` has made", false);
  }
  const inner = client as QuothClient;
  inner.extension ??= new Hub(inner);
  return inner.extension as Hub;
}
