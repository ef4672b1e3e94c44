/** The page as the server serves it. */

import { connect, QuothError, type Client } from "../../src/index.js";
import { membersOf } from "../../src/members/index.js";
import { messagesOf, openInbox } from "../../src/messages/index.js";
import { openOutbox, type Outbox } from "../../src/outbox/index.js";
import { boot } from "./boot.js";
import { freeDevice } from "./device.js";
import { SignedOut, type Session } from "./session.js";

boot(async (session) => {
  let device = await freeDevice();
  const client = (producer?: bigint): Client => {
    const made = connect({
      token: (why) => freshToken(session, why),
      clientName: "quoth-page",
      ...(device !== undefined && { device }),
      ...(producer !== undefined && { producer }),
    });
    // Clients beside the first one send what earlier windows have left.
    device = undefined;
    return made;
  };
  const outbox = await open(`${session.claims.user}@${location.host}`, client);
  const { client: reader } = outbox;
  return { outbox, members: membersOf(reader), messages: messagesOf(reader), inbox: openInbox(reader) };
});

/** Messages are never sent as another user or to another server: `name` has both. */
async function open(name: string, client: (producer?: bigint) => Client): Promise<Outbox> {
  try {
    return await openOutbox({ name, connect: client });
  } catch (error) {
    // No database for this page, as in some private windows: messages then wait for as long as the page
    // lives.
    if (error instanceof QuothError) return new (await import("./extra.js")).MemoryOutbox(client());
    throw error;
  }
}

async function freshToken(session: Session, why: "sign_in" | "expiring" | "rejected"): Promise<string> {
  try {
    return await session.fresh(why === "rejected", why === "expiring");
  } catch (error) {
    throw error instanceof SignedOut ? new QuothError("SIGNED_OUT", error.message, false) : error;
  }
}
