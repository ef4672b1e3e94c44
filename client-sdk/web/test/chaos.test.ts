/**
 * Connections are cut at random points, lanes are reset, and still: everything that was sent is stored once
 * and in order, and every reader gets every event once and in order. `SEED=7 npm test -- chaos` repeats one
 * run.
 */
import assert from "node:assert/strict";
import type { Client, Conversation, LogEvent } from "../src/index.js";
import { Code } from "../src/wire/codes.js";
import type { FakeServer } from "./support/fake-server.js";
import { scene, seeded, sleep, until } from "./support/setup.js";

const SEEDS = process.env.SEED ? [Number(process.env.SEED)] : [1, 2, 3, 4, 5, 6];
const MESSAGES = 150;
/** Where a reader begins that comes later than the others. */
const LATE = 30;
const CONVERSATIONS = ["one", "two"];

type Random = () => number;

function plant(server: FakeServer, random: Random): () => void {
  server.cut = () => random() < 0.02;
  let isOn = true;
  const disturb = async () => {
    while (isOn) {
      await sleep(random() * 40);
      const [connection] = server.connections;
      const lanes = [...(connection?.lanes.values() ?? [])].filter((lane) => lane.conversation !== undefined);
      const lane = lanes[Math.floor(random() * lanes.length)];
      if (random() < 0.2) connection?.goAway(Code.GOING_AWAY, 0);
      else if (random() < 0.05) lane?.reset(Code.STORE_FAILED);
    }
  };
  void disturb();
  return () => {
    isOn = false;
    server.cut = () => false;
  };
}

async function write(room: Conversation, who: string, random: Random): Promise<void> {
  const sends = [];
  for (let i = 0; i < MESSAGES; i++) {
    const send = room.send(`${who} ${i} ${"x".repeat(random() * 2_000)}`);
    // It is awaited with the others: until then one that fails is nobody's, and would hide what has failed
    // first.
    send.catch(() => {});
    sends.push(send);
    if (random() < 0.3) await sleep(random() * 5);
  }
  await Promise.all(sends);
}

/** Reads until the conversation has all messages; sometimes pauses, sometimes leaves and goes on with a new reader. */
async function read(room: Conversation, from: number, end: number, random: Random): Promise<LogEvent[]> {
  const events: LogEvent[] = [];
  let last = from;
  for (let mayLeave = true; last < end; ) {
    assert.ok(mayLeave, "the events ended by themselves");
    mayLeave = false;
    for await (const event of room.events({ from: { after: last } })) {
      if (event.type !== "message") continue;
      events.push(event);
      last = event.seq;
      if (random() < 0.02) await sleep(random() * 20);
      mayLeave = last === end || random() < 0.005;
      if (mayLeave) break;
    }
  }
  return events;
}

for (const seed of SEEDS) {
  scene(`cut connections lose nothing and repeat nothing, seed ${seed}`, async ({ server, connect }) => {
    const random = seeded(seed);
    server.ackDelayMs = 1;
    const stop = plant(server, random);
    const clients: Client[] = ["alice", "bob"].map((token) => connect({ token }));
    // Without the waits in between, which are tested elsewhere.
    for (const client of clients) client.onState(({ name }) => name === "disconnected" && client.wake());
    const total = MESSAGES * clients.length;
    const writes = clients.flatMap((client, i) => CONVERSATIONS.map((name) => write(client.conversation(name), `w${i}`, random)));
    const reads = clients.flatMap((client) =>
      CONVERSATIONS.flatMap((name) =>
        [0, 0, LATE].map(async (from) => {
          await until(() => server.log(name).head >= from);
          return read(client.conversation(name), from, total, random);
        }),
      ),
    );
    const [pieces] = await Promise.all([Promise.all(reads), Promise.all(writes)]).finally(stop);
    assert.ok(server.accepted > 5, `${server.accepted} connections: too few for this test to mean something`);
    for (const name of CONVERSATIONS) {
      const texts = server.texts(name);
      for (const who of ["w0", "w1"]) {
        const numbers = texts.filter((text) => text.startsWith(who)).map((text) => Number(text.split(" ")[1]));
        assert.deepEqual(numbers, Array.from({ length: MESSAGES }, (_, i) => i), `${who} in ${name}`);
      }
    }
    for (const events of pieces) {
      const first = total - events.length + 1;
      assert.deepEqual(events.map(({ seq }) => seq), events.map((_, i) => first + i));
      assert.ok(first === 1 || first === LATE + 1);
    }
  });
}
