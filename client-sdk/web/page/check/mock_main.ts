/** The page on the mock: `window.mock` is the client, for whoever drives the browser. */

import { boot } from "../src/boot.js";
import { MemoryOutbox } from "../src/memory_outbox.js";
import { MockClient } from "./mock.js";

declare global {
  interface Window {
    mock: MockClient;
    prepare?: (mock: MockClient) => void;
  }
}

boot(async (session) => {
  const client = new MockClient(session.claims.user);
  window.mock = client;
  window.prepare?.(client);
  return new MemoryOutbox(client);
});
