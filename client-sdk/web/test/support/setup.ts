/** What behaviour tests share. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { WebSocket } from "ws";
import { connect, type Client, type ConnectOptions, type RoomEvent, type State } from "../../src/index.js";
import { FakeServer } from "./fake-server.js";

export interface Scene {
  server: FakeServer;
  /** Connects to the server; by default as alice. */
  connect(options?: Partial<ConnectOptions>): Client;
}

/** A test with a server and clients, which end with it. The server must have seen nothing that the protocol forbids. */
export function scene(name: string, run: (scene: Scene) => Promise<void>): void {
  test(name, { timeout: 60_000 }, async () => {
    const server = await FakeServer.start();
    const clients: Client[] = [];
    try {
      await run({
        server,
        connect(options = {}) {
          const client = connect(server.url, { token: "alice", WebSocket, ...options });
          clients.push(client);
          return client;
        },
      });
      assert.deepEqual(server.violations, [], "the client broke the protocol");
    } finally {
      await Promise.all(clients.map((client) => client.close({ timeoutMs: 0 })));
      await server.stop();
    }
  });
}

/** Waits for a state. */
export async function reached(client: Client, name: State["name"]): Promise<State> {
  let found = client.state.name === name ? client.state : undefined;
  const stop = client.onState((state) => {
    if (state.name === name) found ??= state;
  });
  await until(() => found !== undefined, `the client is ${name}`);
  stop();
  return found ?? client.state;
}

/** Waits until something holds. */
export async function until(holds: () => boolean, what = String(holds)): Promise<void> {
  const end = Date.now() + 20_000;
  while (!holds()) {
    assert.ok(Date.now() < end, `waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

/** Waits; what has come over sockets by then is taken first, which a late timer would be before. */
export async function sleep(ms: number): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
  await new Promise((resolve) => setImmediate(resolve));
}

/** The next `count` items of a reader. */
export async function take(events: AsyncIterator<RoomEvent>, count: number): Promise<RoomEvent[]> {
  const taken: RoomEvent[] = [];
  while (taken.length < count) {
    const { done, value } = await events.next();
    if (done) throw new Error(`the events ended after ${taken.length}`);
    taken.push(value);
  }
  return taken;
}

/** An event in short: its text, or what it is. */
export function brief(event: RoomEvent): string {
  switch (event.type) {
    case "message":
      return `${event.seq} ${event.text}`;
    case "unknown":
      return `${event.seq} unknown`;
    case "gap":
      return `gap ${event.from}-${event.to}`;
    case "caught_up":
      return `caught up ${event.head}`;
    case "interrupted":
      return `interrupted ${event.reason.code}`;
    default:
      return `${event.seq} ${event.type}`;
  }
}

/** The briefs of the next `count` items. */
export async function briefs(events: AsyncIterator<RoomEvent>, count: number): Promise<string[]> {
  return (await take(events, count)).map(brief);
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
