/**
 * Quoth's client for browsers and Node: conversations as durable, gapless logs over WebSocket.
 *
 * ```ts
 * const client = connect("wss://chat.example:4433", { token: () => fetchToken() });
 * const room = client.conversation("general");
 * const { seq } = await room.send("hello");
 * for await (const event of room.events({ from: { last: 50 } })) {
 *   if (event.type === "message") console.log(event.seq, event.sender, event.text);
 * }
 * ```
 */
import type { Client, ConnectOptions } from "./api.js";
import { QuothClient } from "./client.js";
import { realEnv } from "./env.js";
import { QuothError } from "./error.js";
import { webSocketUrl } from "./url.js";

export type * from "./api.js";
export type { ConversationKind, GoneCause, MembershipChange, MembershipEvent, Role, Status } from "./members/shapes.js";
export type { ChangeEvent, MessageChange, Retention } from "./messages/shapes.js";
export { QuothError, SendError, type Outcome } from "./error.js";

/**
 * Makes a client and begins to connect; it does not wait for the connection.
 *
 * `url` is `wss://host:port`, `ws://…`, `https://…`, `http://…` or `host:port`; the path `/v1/ws` is added.
 * In a page it may be left out, which means the page's own host. Throws a `QuothError` when it is none of
 * these, or when there is no WebSocket.
 */
export function connect(url: string, options: ConnectOptions): Client;
export function connect(options: ConnectOptions): Client;
export function connect(first: string | ConnectOptions, second?: ConnectOptions): Client {
  const [url, options] = typeof first === "string" ? [first, second] : [undefined, first];
  if (!options?.token) {
    throw new QuothError("BAD_ARGUMENT", "no token: give a text or a function, `connect(url, { token })`", false);
  }
  const WebSocket = options.WebSocket ?? (globalThis.WebSocket as typeof globalThis.WebSocket | undefined);
  if (!WebSocket) {
    const fix = "give one, `connect(url, { token, WebSocket })`, such as that of the package `ws`";
    throw new QuothError("BAD_ARGUMENT", `there is no WebSocket here; ${fix}`, false);
  }
  return new QuothClient(webSocketUrl(url, globalThis.location), WebSocket, options, realEnv);
}
