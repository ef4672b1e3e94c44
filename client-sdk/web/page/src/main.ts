/** The page as the server serves it. */

import { connect, QuothError } from "../../src/index.js";
import { openOutbox, type Outbox } from "../../src/outbox/index.js";
import { boot } from "./boot.js";
import { MemoryOutbox } from "./memory_outbox.js";
import { SignedOut, type Session } from "./session.js";

boot(async (session): Promise<Outbox> => {
  const client = (producer?: bigint) =>
    connect({
      token: async (why) => {
        try {
          return await session.fresh(why === "rejected", why === "expiring");
        } catch (error) {
          throw error instanceof SignedOut ? new QuothError("SIGNED_OUT", error.message, false) : error;
        }
      },
      clientName: "quoth-page",
      ...(producer === undefined ? {} : { producer }),
    });
  try {
    return await openOutbox({ name: outboxName(session), connect: client });
  } catch {
    return new MemoryOutbox(client());
  }
});

/** Messages are never sent as another user or to another server. */
const outboxName = (session: Session): string => `${session.claims.user}@${location.host}`;
