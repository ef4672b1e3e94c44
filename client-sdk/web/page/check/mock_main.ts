/** The page on the mock: `window.mock` is the client, for whoever drives the browser. */

import { boot } from "../src/boot.js";
import { MemoryOutbox } from "../src/memory_outbox.js";
import { MockClient } from "./mock.js";
import { MockMembers } from "./mock_members.js";
import { MockInbox, MockMessages } from "./mock_messages.js";

declare global {
  interface Window {
    mock: MockClient;
    members: MockMembers;
    messages: MockMessages;
    inbox: MockInbox;
    prepare?: (mock: MockClient, members: MockMembers) => void;
  }
}

boot(async (session) => {
  const client = new MockClient(session.claims.user);
  const members = new MockMembers(client);
  const [messages, inbox] = [new MockMessages(client, members), new MockInbox(client, members)];
  Object.assign(window, { mock: client, members, messages, inbox });
  window.prepare?.(client, members);
  return { outbox: new MemoryOutbox(client), members, messages, inbox };
});
