/** The page as the server serves it. */

import { connect, QuothError, type Client } from "../../src/index.js";
import { openOutbox, type Outbox } from "../../src/outbox/index.js";
import { boot } from "./boot.js";
import { MemoryOutbox } from "./memory_outbox.js";
import { SignedOut, type Session } from "./session.js";

boot((session) => {
  const client = (producer?: bigint): Client =>
    connect({
      token: (why) => freshToken(session, why),
      clientName: "quoth-page",
      ...(producer === undefined ? {} : { producer }),
    });
  return open(`${session.claims.user}@${location.host}`, client);
});

/** Messages are never sent as another user or to another server: `name` has both. */
async function open(name: string, client: (producer?: bigint) => Client): Promise<Outbox> {
  try {
    return await openOutbox({ name, connect: client });
  } catch (error) {
    // No database for this page, as in some private windows: messages then wait for as long as the page lives.
    if (error instanceof QuothError) return new MemoryOutbox(client());
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
