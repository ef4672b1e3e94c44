/**
 * A small server that speaks lanes over WebSocket, strict about everything that the protocol asks of clients:
 * what a client does wrong is kept in `violations`. Faults are planted by its fields and methods.
 */
import type { AddressInfo } from "node:net";
import { WebSocketServer } from "ws";
import type { FetchRange, Publish } from "../../src/wire/frames.js";
import { FakeConnection } from "./fake-connection.js";
import { FakeRequests } from "./fake-requests.js";
import { Log } from "./store.js";

export class FakeServer {
  readonly violations: string[] = [];
  readonly connections = new Set<FakeConnection>();
  readonly logs = new Map<string, Log>();
  /** Every token that came with a Hello or a Refresh. */
  readonly tokens: string[] = [];
  /** Every typing notice, as user and conversation. */
  readonly typings: string[] = [];
  readonly requests = new FakeRequests();
  /** Every message as it came. */
  readonly publishes: Publish[] = [];
  /** Every page that was asked for. */
  readonly fetched: FetchRange[] = [];
  /** Every Hello's generation. */
  readonly generations: number[] = [];
  /** How many connections there have been. */
  accepted = 0;

  // What may be changed by a test.
  /** The user of a token, or the code with which it is not accepted. */
  userOf: (token: string) => string | number = (token) => token.split(":")[0] ?? token;
  mayRead: (user: string, conversation: string) => boolean = () => true;
  mayWrite: (user: string, conversation: string) => boolean = () => true;
  features = 2 | 4 | 8;
  /** Which store it is; another one is that of a backup. */
  store = 1;
  /** What pages say of their messages, encoded. */
  pageStates: Uint8Array[] = [];
  openConversationsMax = 48;
  /** Acks and events of publishes wait for this. */
  ackDelayMs = 0;
  /** The next publish is refused with this code for so many milliseconds. */
  refuseOnce: { code: number; retryAfterMs: number; reason: string } | undefined;
  /** Pages are not answered. */
  withholdsPages = false;
  /** Clients get no credit back. */
  withholdsCredit = false;
  /** Answers neither lanes nor pings: a network that is dead. */
  isSilent = false;
  /** Ends the first frame of every conversation lane with this code. */
  openCode: number | undefined;
  /** Answers every Hello with a GoAway that asks for so long a wait. */
  goAwayFirst: number | undefined;
  /** Called for every message in either direction; `true` cuts the connection before it is handled. */
  cut: (direction: "in" | "out") => boolean = () => false;

  private constructor(private readonly sockets: WebSocketServer) {
    sockets.on("connection", (socket) => {
      this.accepted += 1;
      const connection = new FakeConnection(this, socket);
      this.connections.add(connection);
      socket.on("close", () => this.connections.delete(connection));
    });
  }

  static async start(port = 0): Promise<FakeServer> {
    const sockets = new WebSocketServer({
      host: "127.0.0.1",
      port,
      path: "/v1/ws",
      perMessageDeflate: false,
      handleProtocols: (offered) => (offered.has("quoth.v1.postcard") ? "quoth.v1.postcard" : false),
    });
    await new Promise((resolve) => sockets.once("listening", resolve));
    return new FakeServer(sockets);
  }

  get port(): number {
    return (this.sockets.address() as AddressInfo).port;
  }

  get url(): string {
    return `ws://127.0.0.1:${this.port}`;
  }

  log(name: string): Log {
    let log = this.logs.get(name);
    if (!log) this.logs.set(name, (log = new Log()));
    return log;
  }

  /** Stores a message of somebody else. */
  say(conversation: string, text: string, sender = "bob"): number {
    const { seq } = this.log(conversation).append(sender, new TextEncoder().encode(text));
    this.deliver();
    return seq;
  }

  /** Stores an event of an unknown kind. */
  sayUnknown(conversation: string): void {
    this.log(conversation).append("bob", undefined);
    this.deliver();
  }

  /** Lets all lanes go on. */
  deliver(): void {
    for (const connection of this.connections) connection.deliver();
  }

  /** Cuts all connections without a word. */
  kill(): void {
    for (const connection of this.connections) connection.cut();
  }

  texts(conversation: string): string[] {
    return this.log(conversation).events.map(({ kind }) => new TextDecoder().decode(kind?.type === "message" ? kind.body : undefined));
  }

  async stop(): Promise<void> {
    this.kill();
    await new Promise((resolve) => this.sockets.close(resolve));
  }
}
