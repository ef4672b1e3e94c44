"""Events, and what becomes of messages, of the Quoth protocol (sections 3, 13 and 14 of docs/PROTOCOL.md).

Pure: no sockets, no clock. What happens to members is in `quoth_members`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import quoth_members as members
from quoth_codec import (
    BOOL,
    BYTES,
    CONVERSATION,
    SEQ,
    TEXT,
    U32,
    U64,
    USER,
    Reader,
    Type,
    UnknownVariant,
    list_of,
    option,
    struct,
    variants,
)


@dataclass(frozen=True)
class Message:
    body: bytes
    reply_to: int | None = None
    mentions: tuple[str, ...] = ()
    expires_ms: int = 0


@dataclass(frozen=True)
class Edited:
    seq: int
    body: bytes
    mentions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Revoked:
    seq: int


@dataclass(frozen=True)
class Reacted:
    seq: int
    reaction: str
    on: bool


@dataclass(frozen=True)
class RetentionSet:
    retention: members.Retention


@dataclass(frozen=True)
class Hidden:
    conversation: str
    seq: int


@dataclass(frozen=True)
class InboxSet:
    conversation: str
    archived: bool
    muted_until_ms: int
    pinned: bool


@dataclass(frozen=True)
class UnknownKind:
    """An event of a kind that version 1 does not have; it has a seq all the same."""

    number: int
    payload: bytes


@dataclass(frozen=True)
class Event:
    seq: int
    time_ms: int
    sender: str
    origin_time_ms: int | None
    kind: Any


MENTIONS = list_of(USER)

_KNOWN_KIND = variants(
    (Message, (BYTES, option(SEQ), MENTIONS, U64)),
    *members.KINDS,
    (Edited, (SEQ, BYTES, MENTIONS)),
    (Revoked, (SEQ,)),
    (Reacted, (SEQ, TEXT, BOOL)),
    (RetentionSet, (members.RETENTION,)),
    (Hidden, (CONVERSATION, SEQ)),
    (InboxSet, (CONVERSATION, BOOL, U64, BOOL)),
    skippable=True,
)


def _encode_kind(kind: Any) -> bytes:
    if isinstance(kind, UnknownKind):
        return U32.encode(kind.number) + kind.payload
    return _KNOWN_KIND.encode(kind)


def _decode_kind(reader: Reader) -> Any:
    try:
        return _KNOWN_KIND.decode(reader)
    except UnknownVariant as unknown:
        return UnknownKind(unknown.number, unknown.payload)


KIND = Type(_encode_kind, _decode_kind)
EVENT_FIELDS = (SEQ, U64, USER, option(U64), KIND)
EVENT = struct(Event, *EVENT_FIELDS)
