"""The frames of the Quoth protocol, version 1, to bytes and back. Pure: no sockets, no clock.

Written from docs/PROTOCOL.md alone. `encode_frame` makes the bytes of a frame with its length in front, and
`FrameDecoder` takes a stream's bytes, cut anywhere, and gives the frames. Datagrams carry a frame without its length:
`encode_body` and `decode_body`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any

from quoth_codec import (
    BOOL,
    BYTES,
    CONVERSATION,
    DEVICE,
    SEQ,
    TEXT,
    U16,
    U32,
    U64,
    USER,
    FrameTooLarge,
    Reader,
    Type,
    UnknownVariant,
    WireError,
    decode_varint,
    encode_varint,
    list_of,
    numbers,
    option,
    struct,
    variants,
)
from quoth_events import EVENT_FIELDS, MENTIONS, Event, Message, UnknownKind
from quoth_members import STATUS, Status
from quoth_messages import (
    INBOX_ROW,
    MESSAGE_STATE_FIELDS,
    RECEIPT_FIELDS,
    REPLY,
    REQUEST,
    MessageState,
    Receipt,
    InboxRowTold,
)

FRAME_MAX = 73_728
FIRST_FRAME_MAX = 8_192
BODY_MAX = 65_536
DATAGRAM_MAX = 1_100
PAGE_EVENTS_MAX = 1_000
LENGTH_BYTES_MAX = 3

FEATURE_DATAGRAMS = 1
FEATURE_ROSTER = 2
FEATURE_MEMBERSHIP = 4
FEATURE_MESSAGES = 8

MENTIONS_MAX = 50


class Code(enum.IntEnum):
    """The codes of section 7; a code that is not here is still an `int` and is judged by its range."""

    CLOSED = 0x000
    CANCELLED = 0x001
    REPLACED = 0x002
    GOING_AWAY = 0x100
    OVERLOADED = 0x101
    INTERNAL = 0x102
    STORE_FAILED = 0x103
    HELLO_TIMEOUT = 0x104
    RATE_LIMITED = 0x105
    SLOW_MODE = 0x106
    UNAVAILABLE = 0x107
    STORAGE_FULL = 0x108
    TIMED_OUT = 0x109
    TOKEN_EXPIRED = 0x200
    TOKEN_REJECTED = 0x201
    TOKEN_REVOKED = 0x202
    PROTOCOL = 0x300
    UNSUPPORTED_VERSION = 0x301
    FRAME_TOO_LARGE = 0x302
    FORBIDDEN = 0x304
    ALREADY_OPEN = 0x305
    TOO_LARGE = 0x306
    STALE_MESSAGE_ID = 0x307
    CURSOR_AHEAD = 0x308
    KICKED = 0x309
    MUTED = 0x30A
    ALREADY_EXISTS = 0x30B
    INVALID_REQUEST = 0x30C
    LAST_OWNER = 0x30D
    TOO_MANY = 0x30E
    DENIED = 0x30F
    NOT_FOUND_MESSAGE = 0x310
    TOO_OLD = 0x311


def code_name(code: int) -> str:
    """The name of a code, or its number in hex when it has none here."""
    try:
        return Code(code).name
    except ValueError:
        return f"{code:#05x}"


class Durability(enum.IntEnum):
    """What an ack and an event promise."""

    MEMORY = 0
    STORED = 1


# Start and FetchRange: where a reader or a page begins.


@dataclass(frozen=True)
class After:
    seq: int


@dataclass(frozen=True)
class Last:
    count: int


@dataclass(frozen=True)
class Live:
    pass


@dataclass(frozen=True)
class Before:
    seq: int


@dataclass(frozen=True)
class Latest:
    pass


@dataclass(frozen=True)
class Around:
    seq: int


@dataclass(frozen=True)
class AfterTime:
    time_ms: int


@dataclass(frozen=True)
class BeforeTime:
    time_ms: int


@dataclass(frozen=True)
class AroundTime:
    time_ms: int


Start = After | Last | Live
FetchRange = After | Before | Latest | Around | AfterTime | BeforeTime | AroundTime


# ClientFrame.


@dataclass(frozen=True)
class Hello:
    version: int
    features: int
    token: str
    device: str
    generation: int
    platform: str
    client: str


@dataclass(frozen=True)
class Refresh:
    token: str


@dataclass(frozen=True)
class Open:
    conversation: str
    producer: int
    start: Start | None


@dataclass(frozen=True)
class Read:
    start: Start | None


@dataclass(frozen=True)
class Publish:
    n: int
    body: bytes
    publish_as: str | None = None
    origin_time_ms: int | None = None
    reply_to: int | None = None
    mentions: tuple[str, ...] = ()
    expires_in_ms: int = 0


@dataclass(frozen=True)
class Fetch:
    conversation: str
    range: FetchRange
    limit: int


@dataclass(frozen=True)
class Typing:
    conversation: str


@dataclass(frozen=True)
class Seen:
    seq: int


@dataclass(frozen=True)
class Request:
    """`request` is one of `quoth_members` or `quoth_messages`."""

    id: int
    request: Any


@dataclass(frozen=True)
class StatusNotice:
    """`Status` of the client."""

    away: bool


# ServerFrame.


@dataclass(frozen=True)
class Welcome:
    version: int
    features: int
    user: str
    durability: Durability
    time_ms: int
    open_conversations_max: int
    server: str


@dataclass(frozen=True)
class GoAway:
    code: int
    retry_after_ms: int
    reason: str


@dataclass(frozen=True)
class TokenExpiring:
    in_ms: int


@dataclass(frozen=True)
class Opened:
    head: int
    floor: int
    store: int


@dataclass(frozen=True)
class Ack:
    n: int
    seq: int
    time_ms: int
    duplicate: bool


@dataclass(frozen=True)
class Refused:
    n: int
    code: int
    retry_after_ms: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Gap:
    first: int
    last: int


@dataclass(frozen=True)
class PageEnd:
    head: int
    floor: int
    first: int
    last: int
    more_before: bool
    more_after: bool


@dataclass(frozen=True)
class TypingNotice:
    """`Typing` of the server: another user types in a conversation that is open here."""

    conversation: str
    user: str


@dataclass(frozen=True)
class Present:
    user: str
    seen: int
    status: Status = Status.ONLINE


@dataclass(frozen=True)
class Roster:
    """Who reads the stream's conversation at the moment."""

    users: int
    present: tuple[Present, ...]


@dataclass(frozen=True)
class Reply:
    """`reply` is one of `quoth_members` or `quoth_messages`."""

    id: int
    reply: Any


@dataclass(frozen=True)
class Presence:
    conversation: str
    user: str
    status: Status
    last_seen_ms: int


DURABILITY = numbers(Durability)
START = variants((After, (SEQ,)), (Last, (U32,)), (Live, ()))
FETCH_RANGE = variants(
    (After, (SEQ,)),
    (Before, (SEQ,)),
    (Latest, ()),
    (Around, (SEQ,)),
    (AfterTime, (U64,)),
    (BeforeTime, (U64,)),
    (AroundTime, (U64,)),
)

CLIENT_FRAME = variants(
    (Hello, (U16, U64, TEXT, DEVICE, U64, TEXT, TEXT)),
    (Refresh, (TEXT,)),
    (Open, (CONVERSATION, U64, option(START))),
    (Read, (option(START),)),
    (Publish, (U64, BYTES, option(USER), option(U64), option(SEQ), MENTIONS, U64)),
    (Fetch, (CONVERSATION, FETCH_RANGE, U32)),
    (Typing, (CONVERSATION,)),
    (Seen, (SEQ,)),
    (Request, (U32, REQUEST)),
    (StatusNotice, (BOOL,)),
    skippable=True,
)
SERVER_FRAME = variants(
    (Welcome, (U16, U64, USER, DURABILITY, U64, U32, TEXT)),
    (GoAway, (U32, U32, TEXT)),
    (TokenExpiring, (U32,)),
    (Opened, (SEQ, SEQ, U64)),
    (Event, EVENT_FIELDS),
    (Ack, (U64, SEQ, U64, BOOL)),
    (Refused, (U64, U32, U32, TEXT)),
    (Gap, (SEQ, SEQ)),
    (PageEnd, (SEQ, SEQ, SEQ, SEQ, BOOL, BOOL)),
    (TypingNotice, (CONVERSATION, USER)),
    (Roster, (U32, list_of(struct(Present, USER, SEQ, STATUS)))),
    (Reply, (U32, REPLY)),
    (Presence, (CONVERSATION, USER, STATUS, U64)),
    (MessageState, MESSAGE_STATE_FIELDS),
    (Receipt, RECEIPT_FIELDS),
    (InboxRowTold, (U64, INBOX_ROW)),
    skippable=True,
)


def encode_body(side: Type, frame: Any) -> bytes:
    """A frame of `CLIENT_FRAME` or `SERVER_FRAME` without its length, as datagrams carry it."""
    return side.encode(frame)


def decode_body(side: Type, body: bytes) -> Any:
    """The frame in `body`, which must end where the frame does. `UnknownVariant` is for the caller to skip."""
    reader = Reader(body)
    frame = side.decode(reader)
    reader.finish()
    return frame


def encode_length(length: int) -> bytes:
    """The length in front of a frame."""
    return encode_varint(length, 7 * LENGTH_BYTES_MAX)


def encode_frame(side: Type, frame: Any) -> bytes:
    """A frame with its length in front, as streams carry it."""
    body = encode_body(side, frame)
    return encode_length(len(body)) + body


class FrameDecoder:
    """Cuts a stream's bytes into frames. The bytes may come in pieces of any size."""

    def __init__(self, side: Type, first_frame_max: int = FRAME_MAX):
        self._side = side
        self._limit = first_frame_max
        self._pending = bytearray()

    def feed(self, data: bytes) -> list[Any]:
        """The frames that `data` completes, in order. Frames of unknown variants are left out.

        `FrameTooLarge` as soon as a length is over the limit, `WireError` for a frame that does not decode; the
        stream cannot be read on after either.
        """
        self._pending += data
        frames = []
        while (body := self._next_body()) is not None:
            try:
                frames.append(decode_body(self._side, body))
            except UnknownVariant:
                continue
        return frames

    def at_frame_end(self) -> bool:
        """Whether the bytes so far end with a whole frame: a stream may finish only there."""
        return not self._pending

    def _next_body(self) -> bytes | None:
        prefix = bytes(self._pending[:LENGTH_BYTES_MAX])
        ends = [place for place, byte in enumerate(prefix) if not byte & 0x80]
        if not ends and len(prefix) < LENGTH_BYTES_MAX:
            return None
        reader = Reader(prefix)
        length = decode_varint(reader, 7 * LENGTH_BYTES_MAX)
        if length > self._limit:
            raise FrameTooLarge(f"a frame of {length} bytes is over the limit of {self._limit}")
        start = len(prefix) - len(reader.rest())
        if len(self._pending) < start + length:
            return None
        body = bytes(self._pending[start : start + length])
        del self._pending[: start + length]
        self._limit = FRAME_MAX
        return body
