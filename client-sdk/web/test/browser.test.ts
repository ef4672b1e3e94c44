/** What a browser tells a page: here by events on stand-ins for its window and document. */
import assert from "node:assert/strict";
import type { Client } from "../src/index.js";
import { briefs, reached, scene, sleep, until } from "./support/setup.js";

const page = new EventTarget();
const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
Object.assign(globalThis, {
  document,
  addEventListener: page.addEventListener.bind(page),
  removeEventListener: page.removeEventListener.bind(page),
});

const state = (client: Client) => client.state.name;
const fire = (target: EventTarget, type: string, more = {}) => target.dispatchEvent(Object.assign(new Event(type), more));

scene("a page that is put away holds no connection, and goes on where it was when it is taken out", async ({ server, connect }) => {
  const client = connect();
  const events = client.conversation("general").events();
  await briefs(events, 1);
  fire(page, "pagehide", { persisted: false });
  assert.equal(state(client), "connected", "such a page is gone, and is left alone");
  const ways = [
    [() => fire(page, "pagehide", { persisted: true }), () => fire(page, "pageshow")],
    [() => fire(document, "freeze"), () => fire(document, "resume")],
  ] as const;
  for (const [away, back] of ways) {
    away();
    assert.equal(state(client), "disconnected");
    await until(() => server.connections.size === 0, "the server has seen the end");
    const { accepted } = server;
    // The first wait is over after 500 ms at the latest, the second one after a second.
    await sleep(1_100);
    assert.deepEqual([state(client), server.accepted], ["disconnected", accepted]);
    const seq = server.say("general", "meanwhile");
    back();
    assert.equal(state(client), "connecting");
    assert.deepEqual(await briefs(events, 1), [`${seq} meanwhile`]);
  }
});

scene("a page that is seen again, or is online again, connects at once", async ({ server, connect }) => {
  const client = connect();
  for (const comesBack of [() => fire(page, "online"), () => fire(document, "visibilitychange")]) {
    await reached(client, "connected");
    server.kill();
    await reached(client, "disconnected");
    fire(page, "offline");
    document.visibilityState = "hidden";
    fire(document, "visibilitychange");
    assert.equal(state(client), "disconnected");
    document.visibilityState = "visible";
    comesBack();
    assert.equal(state(client), "connecting");
  }
  await client.close();
  fire(page, "online");
  assert.equal(state(client), "closed");
});
