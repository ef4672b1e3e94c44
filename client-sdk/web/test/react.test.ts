import assert from "node:assert/strict";
import { createElement, StrictMode, useLayoutEffect } from "react";
import { create } from "react-test-renderer";
import type { Client } from "../src/index.js";
import { useConversation, type UseConversation } from "../src/react/index.js";
import { brief, scene, until } from "./support/setup.js";

interface Mounted {
  view(): UseConversation;
  /** Waits until what is shown is so. */
  shows(holds: (view: UseConversation) => boolean): Promise<void>;
  show(name: string): void;
  unmount(): void;
}

async function mount(client: Client, first: string, last: number): Promise<Mounted> {
  let shown: UseConversation | undefined;
  const Room = ({ name }: { name: string }) => {
    const conversation = useConversation(client, name, { last });
    useLayoutEffect(() => {
      shown = conversation;
    });
    return null;
  };
  const element = (name: string) => createElement(StrictMode, null, createElement(Room, { name }));
  const renderer = create(element(first));
  const view = () => shown ?? assert.fail("nothing is shown");
  await until(() => shown !== undefined, "something is shown");
  return {
    view,
    shows: (holds) => until(() => holds(view()), String(holds)),
    show: (name) => renderer.update(element(name)),
    unmount: () => renderer.unmount(),
  };
}

function texts(view: UseConversation): string[] {
  return view.events.map(brief);
}

scene("a component shows what was there, what comes, and what is older", async ({ server, connect }) => {
  for (let i = 1; i <= 10; i++) server.say("general", `m${i}`);
  const client = connect();
  const room = await mount(client, "general", 3);
  await room.shows(({ caughtUp }) => caughtUp);
  assert.deepEqual([texts(room.view()), room.view().hasOlder], [["8 m8", "9 m9", "10 m10"], true]);
  assert.equal(room.view().state.name, "connected");
  await room.view().send("mine");
  await room.shows(({ events }) => events.length === 4);
  await Promise.all([room.view().loadOlder(4), room.view().loadOlder(4)]);
  await room.shows(({ events }) => events.length === 8);
  assert.deepEqual(texts(room.view()), ["4 m4", "5 m5", "6 m6", "7 m7", "8 m8", "9 m9", "10 m10", "11 mine"]);
  assert.equal(room.view().hasOlder, true);
  await room.view().loadOlder();
  await room.shows(({ hasOlder }) => !hasOlder);
  assert.equal(texts(room.view()).length, 11);
  server.kill();
  server.say("general", "later");
  await room.shows(({ events }) => events.length === 12);
  room.unmount();
});

scene("a component shows who types and who reads, and leaves with the last of it", async ({ server, connect }) => {
  const client = connect();
  const room = await mount(client, "general", 10);
  await room.shows(({ roster, caughtUp }) => roster !== undefined && caughtUp);
  assert.deepEqual([room.view().caughtUp, room.view().hasOlder, room.view().roster?.users], [true, false, 1]);
  const [connection] = server.connections;
  connection?.frame(0, { type: "typing", conversation: "general", user: "bob" });
  await room.shows(({ typings }) => typings.length === 1);
  assert.deepEqual(room.view().typings, ["bob"]);
  server.say("other", "o");
  room.show("other");
  await room.shows(({ events }) => events.length === 1);
  assert.deepEqual(texts(room.view()), ["1 o"]);
  await room.shows(({ typings }) => typings.length === 0);
  room.unmount();
  const handle = client.conversation("other");
  await until(() => handle.roster === undefined, "the reader is gone");
});

scene("a component that may not read shows why", async ({ server, connect }) => {
  server.mayRead = () => false;
  const room = await mount(connect(), "general", 10);
  await room.shows(({ error }) => error !== undefined);
  assert.equal(room.view().error?.code, "FORBIDDEN");
  room.unmount();
});
