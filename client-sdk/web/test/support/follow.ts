import { QuothError, type Conversation, type Cursor, type RoomEvent } from "../../src/index.js";

/** Shows a conversation, and goes on where it was when it is called again; `show` says whether it goes on. */
export async function follow(room: Conversation, storage: Pick<Storage, "getItem" | "setItem">, show: (event: RoomEvent) => boolean) {
  const key = `cursor of ${room.name}`;
  let from: Cursor | { after: number } = JSON.parse(storage.getItem(key) ?? '{"after":0}');
  for (;;) {
    const events = room.events({ from });
    try {
      for await (const event of events) {
        const goesOn = show(event);
        // Behind what was shown, so that it is shown again rather than never.
        if (events.cursor) storage.setItem(key, JSON.stringify(events.cursor));
        if (!goesOn) return;
      }
      return;
    } catch (error) {
      if (!(error instanceof QuothError && error.code === "CURSOR_AHEAD")) throw error;
      from = { after: 0 }; // The server was restored from a backup: what was shown before is not what it has.
    }
  }
}
