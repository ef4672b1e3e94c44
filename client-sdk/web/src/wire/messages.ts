/** What becomes of messages, and the inbox (sections 13 and 14). Pages that need none of it do not load it. */
import { kind, kinds, mentions, user } from "./kinds.js";
import { bool, bytes, end, list, number, option, struct, text, u32, variant } from "./schema.js";

const edit = struct({ seq: number, timeMs: number, body: bytes, mentions });
const reaction = struct({ reaction: text, count: u32, mine: bool });
/** What the frame `message_state` holds. */
export const messageState = struct({ seq: number, version: number, edited: option(edit), reactions: list(reaction) });

const event = struct({ seq: number, timeMs: number, sender: user, originTimeMs: option(number), kind: variant(kinds) });
/** What the frame `inbox_row` holds. */
export const inboxRow = struct({
  conversation: text,
  kind: option(kind),
  title: text,
  head: number,
  timeMs: number,
  last: option(event),
  unread: u32,
  mentions: u32,
  read: number,
  archived: bool,
  mutedUntilMs: end,
  pinned: bool,
  gone: bool,
  version: number,
  staleMs: end,
});
export const receipt = struct({ user, delivered: number, read: number });
