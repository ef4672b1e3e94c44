"""The frames of the Quoth protocol, version 1, to bytes and back. Pure: no sockets, no clock.

Written from docs/PROTOCOL.md alone. `encode_frame` makes the bytes of a frame with its length in front, and
`FrameDecoder` takes a stream's bytes, cut anywhere, and gives the frames. Datagrams carry a frame without its length:
`encode_body` and `decode_body`.
"""

from __future__ import annotations

import enum
import unicodedata
from dataclasses import dataclass, fields
from typing import Any, Callable

FRAME_MAX = 66_560
FIRST_FRAME_MAX = 8_192
BODY_MAX = 65_536
DATAGRAM_MAX = 1_100
PAGE_EVENTS_MAX = 1_000
LENGTH_BYTES_MAX = 3

FEATURE_DATAGRAMS = 1
FEATURE_ROSTER = 2


class Code(enum.IntEnum):
    """The codes of section 7; a code that is not here is still an `int` and is judged by its range."""

    CLOSED = 0x000
    CANCELLED = 0x001
    GOING_AWAY = 0x100
    OVERLOADED = 0x101
    INTERNAL = 0x102
    STORE_FAILED = 0x103
    HELLO_TIMEOUT = 0x104
    RATE_LIMITED = 0x105
    TOKEN_EXPIRED = 0x200
    TOKEN_REJECTED = 0x201
    PROTOCOL = 0x300
    UNSUPPORTED_VERSION = 0x301
    FRAME_TOO_LARGE = 0x302
    FORBIDDEN = 0x304
    ALREADY_OPEN = 0x305
    TOO_LARGE = 0x306
    STALE_MESSAGE_ID = 0x307
    CURSOR_AHEAD = 0x308


def code_name(code: int) -> str:
    """The name of a code, or its number in hex when it has none here."""
    try:
        return Code(code).name
    except ValueError:
        return f"{code:#05x}"


class WireError(Exception):
    """The bytes are no frame of this protocol, or a value cannot be put into one."""


class FrameTooLarge(WireError):
    """A frame's length is over the limit in force."""


class UnknownVariant(WireError):
    """The variant number is none of version 1. Carries the number and the bytes that follow it."""

    def __init__(self, number: int, payload: bytes):
        super().__init__(f"variant {number} is unknown")
        self.number = number
        self.payload = payload


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


Start = After | Last | Live
FetchRange = After | Before | Latest


# The kinds of an event.


@dataclass(frozen=True)
class Message:
    body: bytes


@dataclass(frozen=True)
class UnknownKind:
    """An event of a kind that version 1 does not have; it has a seq all the same."""

    number: int
    payload: bytes


# ClientFrame.


@dataclass(frozen=True)
class Hello:
    version: int
    features: int
    token: str
    device: str
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


@dataclass(frozen=True)
class TokenExpiring:
    in_ms: int


@dataclass(frozen=True)
class Opened:
    head: int
    floor: int


@dataclass(frozen=True)
class Event:
    seq: int
    time_ms: int
    sender: str
    origin_time_ms: int | None
    kind: Message | UnknownKind


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


@dataclass(frozen=True)
class Gap:
    first: int
    last: int


@dataclass(frozen=True)
class PageEnd:
    head: int
    floor: int
    more: bool


@dataclass(frozen=True)
class TypingNotice:
    """`Typing` of the server: another user types in a conversation that is open here."""

    conversation: str
    user: str


@dataclass(frozen=True)
class Present:
    user: str
    seen: int


@dataclass(frozen=True)
class Roster:
    """Who reads the stream's conversation at the moment."""

    users: int
    present: tuple[Present, ...]


class Reader:
    """The bytes of one frame, read from front to back."""

    def __init__(self, data: bytes):
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes; `WireError` when there are fewer."""
        end = self._at + count
        if end > len(self._data):
            raise WireError(f"the frame ends {end - len(self._data)} bytes too early")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(len(self._data) - self._at)

    def finish(self) -> None:
        """`WireError` when bytes are left."""
        left = len(self._data) - self._at
        if left:
            raise WireError(f"{left} bytes too many behind the frame's last field")


@dataclass(frozen=True)
class Type:
    """How values of one type are written and read."""

    encode: Callable[[Any], bytes]
    decode: Callable[[Reader], Any]


def encode_varint(value: int, bits: int) -> bytes:
    """The shortest varint of an unsigned integer of `bits` bits."""
    if not 0 <= value < 1 << bits:
        raise WireError(f"{value} does not fit into {bits} bits")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(reader: Reader, bits: int) -> int:
    """A varint in its shortest form whose value fits into `bits` bits."""
    value = 0
    for place in range(-(-bits // 7)):
        byte = reader.take(1)[0]
        value |= (byte & 0x7F) << 7 * place
        if byte & 0x80:
            continue
        if place and not byte:
            raise WireError("a varint is not in its shortest form")
        if value >> bits:
            raise WireError(f"a varint does not fit into {bits} bits")
        return value
    raise WireError(f"a varint of {bits} bits has too many bytes")


def unsigned(bits: int) -> Type:
    """An unsigned integer of `bits` bits."""
    return Type(lambda value: encode_varint(value, bits), lambda reader: decode_varint(reader, bits))


U16, U32, U64 = unsigned(16), unsigned(32), unsigned(64)
SEQ = U64


def _decode_flag(reader: Reader) -> bool:
    byte = reader.take(1)[0]
    if byte > 1:
        raise WireError(f"{byte} is neither 0 nor 1")
    return byte == 1


BOOL = Type(lambda value: b"\x01" if value else b"\x00", _decode_flag)
BYTES = Type(
    lambda value: U64.encode(len(value)) + value,
    lambda reader: reader.take(U64.decode(reader)),
)


def _decode_text(reader: Reader) -> str:
    try:
        return BYTES.decode(reader).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError(f"a text is not UTF-8: {error}") from error


TEXT = Type(lambda value: BYTES.encode(value.encode("utf-8")), _decode_text)


def identifier(bytes_max: int) -> Type:
    """A text of 1 to `bytes_max` bytes without control characters."""

    def checked(value: str) -> str:
        if not 1 <= len(value.encode("utf-8")) <= bytes_max:
            raise WireError(f"an identifier must have 1 to {bytes_max} bytes")
        if any(unicodedata.category(char) == "Cc" for char in value):
            raise WireError("an identifier has a control character")
        return value

    return Type(lambda value: TEXT.encode(checked(value)), lambda reader: checked(TEXT.decode(reader)))


CONVERSATION, USER, DEVICE = identifier(128), identifier(64), identifier(64)


def option(inner: Type) -> Type:
    """A value or `None`."""
    return Type(
        lambda value: b"\x00" if value is None else b"\x01" + inner.encode(value),
        lambda reader: inner.decode(reader) if BOOL.decode(reader) else None,
    )


def struct(cls: type, *types: Type) -> Type:
    """A dataclass, its fields one after the other."""
    assert len(fields(cls)) == len(types), cls
    return Type(
        lambda value: b"".join(t.encode(getattr(value, f.name)) for f, t in zip(fields(value), types)),
        lambda reader: cls(*(t.decode(reader) for t in types)),
    )


def list_of(inner: Type) -> Type:
    """Any number of values."""
    return Type(
        lambda values: U64.encode(len(values)) + b"".join(map(inner.encode, values)),
        lambda reader: tuple(inner.decode(reader) for _ in range(U64.decode(reader))),
    )


def variants(*table: tuple[type, tuple[Type, ...]], skippable: bool = False) -> Type:
    """An enum whose variants are dataclasses, numbered from 0.

    A number beyond the table is `UnknownVariant` when `skippable`, for enums that fill the rest of their frame and may
    grow; otherwise it is a `WireError` like any other.
    """
    numbers = {cls: number for number, (cls, _) in enumerate(table)}
    for cls, types in table:
        assert len(fields(cls)) == len(types), cls

    def encode(value: Any) -> bytes:
        number = numbers[type(value)]
        values = (getattr(value, field.name) for field in fields(value))
        return U32.encode(number) + b"".join(t.encode(v) for t, v in zip(table[number][1], values))

    def decode(reader: Reader) -> Any:
        number = U32.decode(reader)
        if number >= len(table):
            raise UnknownVariant(number, reader.rest()) if skippable else WireError(f"variant {number} is unknown")
        cls, types = table[number]
        return cls(*(t.decode(reader) for t in types))

    return Type(encode, decode)


def _decode_durability(reader: Reader) -> Durability:
    number = U32.decode(reader)
    try:
        return Durability(number)
    except ValueError as error:
        raise WireError(f"durability {number} is unknown") from error


_KNOWN_KIND = variants((Message, (BYTES,)), skippable=True)


def _encode_kind(kind: Message | UnknownKind) -> bytes:
    if isinstance(kind, UnknownKind):
        return U32.encode(kind.number) + kind.payload
    return _KNOWN_KIND.encode(kind)


def _decode_kind(reader: Reader) -> Message | UnknownKind:
    try:
        return _KNOWN_KIND.decode(reader)
    except UnknownVariant as unknown:
        return UnknownKind(unknown.number, unknown.payload)


DURABILITY = Type(U32.encode, _decode_durability)
KIND = Type(_encode_kind, _decode_kind)
START = variants((After, (SEQ,)), (Last, (U32,)), (Live, ()))
FETCH_RANGE = variants((After, (SEQ,)), (Before, (SEQ,)), (Latest, ()))

CLIENT_FRAME = variants(
    (Hello, (U16, U64, TEXT, DEVICE, TEXT, TEXT)),
    (Refresh, (TEXT,)),
    (Open, (CONVERSATION, U64, option(START))),
    (Read, (option(START),)),
    (Publish, (U64, BYTES, option(USER), option(U64))),
    (Fetch, (CONVERSATION, FETCH_RANGE, U32)),
    (Typing, (CONVERSATION,)),
    (Seen, (SEQ,)),
    skippable=True,
)
SERVER_FRAME = variants(
    (Welcome, (U16, U64, USER, DURABILITY, U64, U32, TEXT)),
    (GoAway, (U32, U32)),
    (TokenExpiring, (U32,)),
    (Opened, (SEQ, SEQ)),
    (Event, (SEQ, U64, USER, option(U64), KIND)),
    (Ack, (U64, SEQ, U64, BOOL)),
    (Refused, (U64, U32)),
    (Gap, (SEQ, SEQ)),
    (PageEnd, (SEQ, SEQ, BOOL)),
    (TypingNotice, (CONVERSATION, USER)),
    (Roster, (U32, list_of(struct(Present, USER, SEQ)))),
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
