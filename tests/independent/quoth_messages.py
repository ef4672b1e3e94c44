"""Requests and replies of the Quoth protocol (sections 12 to 14 of docs/PROTOCOL.md): those about messages and the inbox here,
those about members in `quoth_members`.

Pure: no sockets, no clock. A class is named as in the protocol, but for those whose name another one has there.
"""

from __future__ import annotations

from dataclasses import dataclass

import quoth_members as members
from quoth_codec import BOOL, BYTES, CONVERSATION, SEQ, TEXT, U32, U64, USER, list_of, option, struct, variants
from quoth_events import EVENT, MENTIONS, Event
from quoth_members import RETENTION, Retention

# Request.


@dataclass(frozen=True)
class Edit:
    conversation: str
    seq: int
    body: bytes
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Revoke:
    conversation: str
    seq: int


@dataclass(frozen=True)
class React:
    conversation: str
    seq: int
    reaction: str
    on: bool


@dataclass(frozen=True)
class Hide:
    conversation: str
    seq: int


@dataclass(frozen=True)
class SetRetention:
    conversation: str
    retention: Retention | None
    dry_run: bool


@dataclass(frozen=True)
class Mark:
    conversation: str
    delivered: int
    read: int


@dataclass(frozen=True)
class Receipts:
    conversation: str
    seq: int


@dataclass(frozen=True)
class Inbox:
    after: str | None
    limit: int


@dataclass(frozen=True)
class HeldRow:
    conversation: str
    stale_ms: int


@dataclass(frozen=True)
class WatchInbox:
    since: int | None
    watch: bool
    held: tuple[HeldRow, ...]


@dataclass(frozen=True)
class SetInbox:
    conversation: str
    archived: bool
    muted_until_ms: int
    pinned: bool


@dataclass(frozen=True)
class Messages:
    conversation: str
    seqs: tuple[int, ...]


# Frames, which are parts of replies as well.


@dataclass(frozen=True)
class LatestEdit:
    """`Edit` of the frames."""

    seq: int
    time_ms: int
    body: bytes
    mentions: tuple[str, ...]


@dataclass(frozen=True)
class Reaction:
    reaction: str
    count: int
    mine: bool


@dataclass(frozen=True)
class MessageState:
    seq: int
    version: int
    edited: LatestEdit | None
    reactions: tuple[Reaction, ...]


@dataclass(frozen=True)
class Receipt:
    """A frame, and `ReceiptInfo`."""

    user: str
    delivered: int
    read: int


@dataclass(frozen=True)
class InboxRow:
    conversation: str
    kind: members.ConversationKind | None
    title: str
    head: int
    time_ms: int
    last: Event | None
    unread: int
    mentions: int
    read: int
    archived: bool
    muted_until_ms: int
    pinned: bool
    gone: bool
    version: int
    stale_ms: int


@dataclass(frozen=True)
class InboxRowTold:
    """The frame `InboxRow`."""

    known: int
    row: InboxRow


# Reply.


@dataclass(frozen=True)
class ReceiptList:
    """`Receipts` of the replies."""

    delivered: int
    read: int
    users: tuple[Receipt, ...]


@dataclass(frozen=True)
class InboxPage:
    """`Inbox` of the replies."""

    rows: tuple[InboxRow, ...]
    next: str | None
    version: int


@dataclass(frozen=True)
class Watching:
    version: int
    complete: bool


@dataclass(frozen=True)
class MessageList:
    """`Messages` of the replies."""

    states: tuple[MessageState, ...]
    absent: tuple[int, ...]
    more: bool


@dataclass(frozen=True)
class Retained:
    conversation: str
    seq: int
    time_ms: int
    retention: Retention
    events: int
    bytes: int


EDIT = struct(LatestEdit, SEQ, U64, BYTES, MENTIONS)
REACTION = struct(Reaction, TEXT, U32, BOOL)
MESSAGE_STATE_FIELDS = (SEQ, SEQ, option(EDIT), list_of(REACTION))
MESSAGE_STATE = struct(MessageState, *MESSAGE_STATE_FIELDS)
RECEIPT_FIELDS = (USER, SEQ, SEQ)
RECEIPT = struct(Receipt, *RECEIPT_FIELDS)
INBOX_ROW_FIELDS = (
    CONVERSATION,
    option(members.KIND),
    TEXT,
    SEQ,
    U64,
    option(EVENT),
    U32,
    U32,
    SEQ,
    BOOL,
    U64,
    BOOL,
    BOOL,
    U64,
    U64,
)
INBOX_ROW = struct(InboxRow, *INBOX_ROW_FIELDS)
HELD_ROW = struct(HeldRow, CONVERSATION, U64)

REQUEST = variants(
    *members.REQUESTS,
    (Edit, (CONVERSATION, SEQ, BYTES, MENTIONS)),
    (Revoke, (CONVERSATION, SEQ)),
    (React, (CONVERSATION, SEQ, TEXT, BOOL)),
    (Hide, (CONVERSATION, SEQ)),
    (SetRetention, (CONVERSATION, option(RETENTION), BOOL)),
    (Mark, (CONVERSATION, SEQ, SEQ)),
    (Receipts, (CONVERSATION, SEQ)),
    (Inbox, (option(TEXT), U32)),
    (WatchInbox, (option(U64), BOOL, list_of(HELD_ROW))),
    (SetInbox, (CONVERSATION, BOOL, U64, BOOL)),
    (Messages, (CONVERSATION, list_of(SEQ))),
)
REPLY = variants(
    *members.REPLIES,
    (ReceiptList, (U32, U32, list_of(RECEIPT))),
    (InboxPage, (list_of(INBOX_ROW), option(TEXT), U64)),
    (Watching, (U64, BOOL)),
    (MessageList, (list_of(MESSAGE_STATE), list_of(SEQ), BOOL)),
    (Retained, (CONVERSATION, SEQ, U64, RETENTION, U64, U64)),
)

# Names in JSON (section 10) of classes that are not called as in the protocol.
JSON_NAMES: dict[type, str] = {
    **members.JSON_NAMES,
    ReceiptList: "receipts",
    InboxPage: "inbox",
    MessageList: "messages",
}
