/** The page on the mock: `window.mock` is the client, for whoever drives the browser. */

import { boot } from "../src/boot.js";
import { MemoryOutbox } from "../src/memory_outbox.js";
import { MockClient } from "./mock.js";
import { MockMembers } from "./mock_members.js";

declare global {
  interface Window {
    mock: MockClient;
    members: MockMembers;
    prepare?: (mock: MockClient, members: MockMembers) => void;
  }
}

boot(async (session) => {
  const client = new MockClient(session.claims.user);
  const members = new MockMembers(client);
  [window.mock, window.members] = [client, members];
  window.prepare?.(client, members);
  return { outbox: new MemoryOutbox(client), members };
});
