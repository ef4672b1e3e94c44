import assert from "node:assert/strict";
import { IDBFactory } from "fake-indexeddb";
import type { Client } from "../src/index.js";
import { type Entry, openOutbox, type Outbox } from "../src/outbox/index.js";
import { Code } from "../src/wire/codes.js";
import { FakeOrigin } from "./support/fake-locks.js";
import { reached, type Scene, scene, seeded, sleep, until } from "./support/setup.js";

/** A browser with one origin, whose tabs have outboxes. */
class Browser {
  private readonly indexedDB = new IDBFactory();
  private readonly origin = new FakeOrigin();

  constructor(private readonly connect: Scene["connect"]) {}

  /** Opens a tab; `crash` ends it as a browser that is killed does: nothing is said or written any more. */
  async tab(): Promise<{ outbox: Outbox; clients: Client[]; crash: () => Promise<void> }> {
    const { locks, gone } = this.origin.tab();
    const clients: Client[] = [];
    const outbox = await openOutbox({
      name: "alice@test",
      indexedDB: this.indexedDB,
      locks,
      connect: (producer) => {
        const client = this.connect({ producer });
        clients.push(client);
        return client;
      },
    });
    const crash = async () => {
      await Promise.all(clients.map((client) => client.close({ timeoutMs: 0 })));
      gone();
    };
    return { outbox, clients, crash };
  }
}

function texts(outbox: Outbox): (string | undefined)[] {
  return outbox.entries.map(({ text }) => text);
}

scene("what is sent is kept first, told when it is stored, and then forgotten", async ({ server, connect }) => {
  const { outbox } = await new Browser(connect).tab();
  const told: string[] = [];
  outbox.onChange((entry) => told.push(`${entry.text} ${entry.state} ${entry.ack?.seq ?? ""}`.trim()));
  const entry = await outbox.send("general", "hello");
  assert.deepEqual([entry.state, entry.text, entry.id.producer], ["waiting", "hello", outbox.client.producer]);
  await until(() => outbox.entries.length === 0);
  assert.deepEqual(told, ["hello waiting", "hello stored 1"]);
  assert.deepEqual(server.texts("general"), ["hello"]);
});

scene("a message that is typed offline survives a reload and is stored once, in order", async ({ server, connect }) => {
  server.userOf = () => Code.OVERLOADED;
  const browser = new Browser(connect);
  const first = await browser.tab();
  for (const text of ["a", "b", "c"]) await first.outbox.send("general", text);
  await first.crash();
  const second = await browser.tab();
  assert.deepEqual(texts(second.outbox), ["a", "b", "c"]);
  assert.equal(second.outbox.client.producer, first.outbox.client.producer, "the numbers are gone on with");
  server.userOf = () => "alice";
  await second.outbox.send("general", "d");
  await until(() => second.outbox.entries.length === 0);
  assert.deepEqual(server.texts("general"), ["a", "b", "c", "d"]);
});

scene("a message whose ack was lost with the tab is not stored twice", async ({ server, connect }) => {
  const browser = new Browser(connect);
  const first = await browser.tab();
  // Once it is stored, nothing leaves the server any more.
  server.cut = (direction) => direction === "out" && server.log("general").head > 0;
  await first.outbox.send("general", "once");
  await until(() => server.log("general").head === 1);
  await first.crash();
  server.cut = () => false;
  const second = await browser.tab();
  const acks: Entry[] = [];
  second.outbox.onChange((entry) => acks.push(entry));
  await until(() => second.outbox.entries.length === 0);
  assert.deepEqual(acks.map(({ ack }) => [ack?.seq, ack?.duplicate]), [[1, true]]);
  assert.deepEqual(server.texts("general"), ["once"]);
});

scene("tabs at the same time have producers of their own; one that comes later takes over those that are gone", async ({
  server,
  connect,
}) => {
  server.userOf = () => Code.OVERLOADED;
  const browser = new Browser(connect);
  const [one, two] = [await browser.tab(), await browser.tab()];
  assert.notEqual(one.outbox.client.producer, two.outbox.client.producer);
  await one.outbox.send("general", "of one");
  await two.outbox.send("general", "of two");
  assert.deepEqual([texts(one.outbox), texts(two.outbox)], [["of one"], ["of two"]]);
  await one.crash();
  await two.crash();
  const three = await browser.tab();
  assert.deepEqual(texts(three.outbox).sort(), ["of one", "of two"]);
  server.userOf = () => "alice";
  await until(() => three.outbox.entries.length === 0);
  assert.deepEqual(server.texts("general").sort(), ["of one", "of two"]);
  // The client that was made for the tab that is gone is closed again.
  const [, other] = three.clients;
  await reached(other ?? assert.fail("there was no second client"), "closed");
  assert.equal(three.outbox.client.state.name, "connected");
});

scene("a refused message stays until it is sent again or discarded, over reloads", async ({ server, connect }) => {
  const browser = new Browser(connect);
  const first = await browser.tab();
  server.mayWrite = () => false;
  const kept = await first.outbox.send("general", "no");
  await first.outbox.send("general", "never");
  await until(() => first.outbox.entries.every(({ state }) => state === "refused"));
  await first.crash();
  const { outbox } = await browser.tab();
  const [entry, never] = outbox.entries;
  assert.deepEqual([entry?.state, entry?.error?.code, entry?.id], ["refused", "FORBIDDEN", kept.id]);
  await outbox.discard(never?.id ?? assert.fail());
  await assert.rejects(outbox.discard(never?.id ?? assert.fail()), { code: "BAD_ARGUMENT" });
  server.mayWrite = () => true;
  assert.equal((await outbox.retry(kept.id)).state, "waiting");
  await until(() => outbox.entries.length === 0);
  assert.deepEqual(server.texts("general"), ["no"]);
});

scene("a message that was refused before a later one was stored goes on under a new id", async ({ server, connect }) => {
  const { outbox } = await new Browser(connect).tab();
  server.mayWrite = () => false;
  const refused = await outbox.send("general", "first");
  await until(() => outbox.entries[0]?.state === "refused");
  server.mayWrite = () => true;
  await outbox.send("general", "second");
  await until(() => outbox.entries.length === 1);
  const told: string[] = [];
  outbox.onChange(({ id, state }) => told.push(`${id.n - refused.id.n} ${state}`));
  await outbox.retry(refused.id);
  await until(() => outbox.entries.length === 0);
  assert.deepEqual(server.texts("general"), ["second", "first"]);
  assert.deepEqual(told, ["0 waiting", "2 waiting", "0 discarded", "2 stored"]);
});

scene("what cannot be kept is refused at once", async ({ connect }) => {
  const { outbox } = await new Browser(connect).tab();
  await assert.rejects(outbox.send("general", "x".repeat(65_537)), { code: "TOO_LARGE" });
  await assert.rejects(outbox.send("", "x"), { code: "BAD_ARGUMENT" });
  await assert.rejects(openOutbox({ name: "x", connect: () => outbox.client }), { code: "BAD_ARGUMENT", message: /IndexedDB/ });
});

for (const seed of [1, 2, 3]) {
  scene(`tabs that crash at any time lose nothing and repeat nothing, seed ${seed}`, async ({ server, connect }) => {
    const random = seeded(seed);
    const browser = new Browser(connect);
    server.ackDelayMs = 2;
    server.cut = () => random() < 0.02;
    const kept: string[] = [];
    const write = async (outbox: Outbox, tab: number) => {
      for (let i = 0; i < 10; i++) {
        const text = `tab ${tab} message ${i}`;
        await outbox.send("general", text);
        kept.push(text);
        if (random() < 0.5) await sleep(random() * 4);
      }
    };
    for (let tab = 0; tab < 12; tab += 2) {
      const tabs = [await browser.tab(), await browser.tab()];
      for (const { clients } of tabs) {
        for (const client of clients) client.onState(({ name }) => name === "disconnected" && client.wake());
      }
      await Promise.all(tabs.map(({ outbox }, i) => write(outbox, tab + i)));
      await Promise.all(tabs.map(({ crash }) => crash()));
    }
    server.cut = () => false;
    const { outbox } = await browser.tab();
    await until(() => outbox.entries.length === 0);
    assert.deepEqual([...server.texts("general")].sort(), [...kept].sort());
    for (let tab = 0; tab < 12; tab++) {
      const own = server.texts("general").filter((text) => text.startsWith(`tab ${tab} `));
      assert.deepEqual(own, [...own].sort(), `the order of tab ${tab}`);
    }
  });
}

scene("what a message answers and whom it mentions is kept with it", async ({ server, connect }) => {
  const browser = new Browser(connect);
  server.isSilent = true;
  const first = await browser.tab();
  await first.outbox.send("general", "@bob yes", { replyTo: 7, mentions: ["bob"], expiresInMs: 60_000 });
  await first.crash();
  server.isSilent = false;
  const second = await browser.tab();
  const [kept] = second.outbox.entries;
  assert.deepEqual([kept?.replyTo, kept?.mentions], [7, ["bob"]]);
  await until(() => server.publishes.length === 1);
  const { replyTo, mentions, expiresInMs } = server.publishes[0] ?? {};
  assert.deepEqual([replyTo, mentions, expiresInMs], [7, ["bob"], 60_000]);
  await second.crash();
});
