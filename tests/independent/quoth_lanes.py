"""The messages of the Quoth protocol over WebSocket, to text or bytes and back. Pure: no sockets, no clock.

Written from docs/PROTOCOL.md alone, sections 9 and 10. A message is a lane's number and a part; a part of `Frames` has
frames of `quoth_wire`. `JSON` and `POSTCARD` are the two encodings.
"""

from __future__ import annotations

import base64
import enum
import json
from dataclasses import dataclass
from typing import Any, Callable

import quoth_members as members
import quoth_wire as wire
from quoth_wire import U32, U64, WireError

MESSAGE_MAX = wire.FRAME_MAX + 16
JSON_MESSAGE_MAX = 400_000
CLIENT_CREDIT = 65_536
SERVER_CREDIT = 262_144
STATUS_BASE = 4_000


@dataclass(frozen=True)
class Frames:
    """One or more frames, those of unknown names or variants left out."""

    frames: tuple[Any, ...]


@dataclass(frozen=True)
class Finish:
    pass


@dataclass(frozen=True)
class Reset:
    code: int


@dataclass(frozen=True)
class Credit:
    bytes: int


@dataclass(frozen=True)
class Ping:
    n: int


@dataclass(frozen=True)
class Pong:
    n: int


Part = Frames | Finish | Reset | Credit | Ping | Pong


class Postcard:
    """`quoth.v1.postcard`: binary messages, each of as many frames as fit."""

    subprotocol = "quoth.v1.postcard"
    message_max = MESSAGE_MAX
    _plain = ((Finish, ()), (Reset, (U32,)), (Credit, (U32,)), (Ping, (U64,)), (Pong, (U64,)))

    def encode(self, lane: int, part: Part) -> bytes:
        """A client's message."""
        head = U32.encode(lane)
        if isinstance(part, Frames):
            return head + U32.encode(0) + b"".join(wire.encode_frame(wire.CLIENT_FRAME, one) for one in part.frames)
        for number, (cls, types) in enumerate(self._plain, 1):
            if isinstance(part, cls):
                values = (getattr(part, name) for name in cls.__dataclass_fields__)
                return head + U32.encode(number) + b"".join(t.encode(v) for t, v in zip(types, values))
        raise WireError(f"{part} is no part")

    def decode(self, message: bytes | str) -> tuple[int, Part]:
        """A server's message."""
        if isinstance(message, str):
            raise WireError("a text message in place of a binary one")
        reader = wire.Reader(message)
        lane, number = U32.decode(reader), U32.decode(reader)
        if number > len(self._plain):
            raise WireError(f"part {number} is unknown")
        if number:
            cls, types = self._plain[number - 1]
            part = cls(*(t.decode(reader) for t in types))
            reader.finish()
            return lane, part
        decoder = wire.FrameDecoder(wire.SERVER_FRAME)
        data = reader.rest()
        frames = decoder.feed(data)
        if not data or not decoder.at_frame_end():
            raise WireError("a message does not end where its last frame does")
        return lane, Frames(tuple(frames))


class Json:
    """`quoth.v1.json`: text messages of one frame each."""

    subprotocol = "quoth.v1.json"
    message_max = JSON_MESSAGE_MAX

    def encode(self, lane: int, part: Part) -> str:
        """A client's message."""
        if isinstance(part, Frames):
            (frame,) = part.frames
            return dump({"lane": lane, **client_frame_to_json(frame)})
        return dump({"lane": lane, type(part).__name__.lower(): dict(part.__dict__)})

    def decode(self, message: bytes | str) -> tuple[int, Part]:
        """A server's message."""
        if isinstance(message, bytes):
            raise WireError("a binary message in place of a text")
        try:
            parsed = json.loads(message, object_pairs_hook=unique_members)
        except ValueError as error:
            raise WireError(f"no JSON: {error}") from error
        if not isinstance(parsed, dict) or "lane" not in parsed or len(parsed) != 2:
            raise WireError("a message is an object with lane and one other member")
        lane = unsigned(32)(parsed.pop("lane"))
        ((name, value),) = parsed.items()
        if name in PARTS:
            return lane, read_struct(*PARTS[name])(value)
        if name in SERVER_FRAMES:
            return lane, Frames((read_struct(*SERVER_FRAMES[name])(value),))
        return lane, Frames(())


JSON, POSTCARD = Json(), Postcard()


def dump(value: Any) -> str:
    """JSON on one line; characters beyond ASCII as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's members, each of which may come once."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a member comes twice")
    return unique


# Values of JSON, read.

Read = Callable[[Any], Any]


def unsigned(bits: int) -> Read:
    """An unsigned integer of `bits` bits."""

    def read(value: Any) -> int:
        if type(value) is not int or not 0 <= value < 1 << bits:
            raise WireError(f"{value!r} is no unsigned integer of {bits} bits")
        return value

    return read


def read_bool(value: Any) -> bool:
    """`true` or `false`."""
    if not isinstance(value, bool):
        raise WireError(f"{value!r} is neither true nor false")
    return value


def read_text(value: Any) -> str:
    """A text."""
    if not isinstance(value, str):
        raise WireError(f"{value!r} is no text")
    return value


def read_body(value: Any) -> bytes:
    """A body: a text when its bytes are UTF-8, and only then."""
    if isinstance(value, str):
        return value.encode("utf-8")
    if not isinstance(value, dict) or list(value) != ["base64"]:
        raise WireError(f"{value!r} is no body")
    try:
        body = base64.b64decode(value["base64"], validate=True)
    except (ValueError, TypeError) as error:
        raise WireError(f"{value!r} is no base64") from error
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return body
    raise WireError(f"{value!r} is UTF-8 and comes as base64")


def read_enum(cls: type[enum.IntEnum]) -> Read:
    """An enum without fields: its name in lower case."""
    names = {one.name.lower(): one for one in cls}

    def read(value: Any) -> Any:
        if not isinstance(value, str) or value not in names:
            raise WireError(f"{value!r} is no {cls.__name__}")
        return names[value]

    return read


def read_hash(value: Any) -> bytes:
    """16 bytes in hexadecimal."""
    if not isinstance(value, str) or len(value) != 32 or set(value) - set("0123456789abcdef"):
        raise WireError(f"{value!r} is no hash")
    return bytes.fromhex(value)


def read_variant(table: dict[str, Read], value: Any) -> Any:
    """A variant with fields is an object with its name, one without is the name; `KeyError` for an unknown name."""
    if isinstance(value, str):
        return table[value]({})
    if not isinstance(value, dict) or len(value) != 1:
        raise WireError(f"{value!r} is no variant")
    ((name, inner),) = value.items()
    if inner == {}:
        raise WireError(f"{name} without fields is an object")
    return table[name](inner)


def read_kind(value: Any) -> Any:
    """An event's kind; one of an unknown name keeps its text."""
    try:
        return read_variant(KINDS, value)
    except KeyError:
        return wire.UnknownKind(-1, dump(value).encode())


def read_reply(value: Any) -> Any:
    """A reply."""
    try:
        return read_variant(REPLIES, value)
    except KeyError as error:
        raise WireError(f"{value!r} is no reply") from error


def option(inner: Read) -> Read:
    """`null` or a value."""
    return lambda value: None if value is None else inner(value)


def list_of(inner: Read) -> Read:
    """Any number of values."""

    def read(value: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise WireError(f"{value!r} is no list")
        return tuple(map(inner, value))

    return read


def read_struct(cls: type, fields: dict[str, Read]) -> Read:
    """An object with exactly these members, in the order of the dataclass's fields."""

    def read(value: Any) -> Any:
        if not isinstance(value, dict) or set(value) != set(fields):
            raise WireError(f"{cls.__name__} has {list(fields)}, not {value!r}"[:500])
        return cls(*(read_member(value[name]) for name, read_member in fields.items()))

    return read


u16, u32, u64 = unsigned(16), unsigned(32), unsigned(64)
seq = u64
read_status, read_role = read_enum(members.Status), read_enum(members.Role)
read_conversation_kind, read_cause = read_enum(members.ConversationKind), read_enum(members.Cause)

INFO = read_struct(
    members.ConversationInfo,
    {
        "conversation": read_text,
        "kind": read_conversation_kind,
        "title": read_text,
        "open": read_bool,
        "role": option(read_role),
        "permissions": u32,
        "members": u32,
        "muted_until_ms": u64,
        "slow_mode_interval_ms": u32,
        "version": seq,
    },
)
MEMBER = read_struct(
    members.MemberInfo,
    {
        "user": read_text,
        "role": read_role,
        "permissions": u32,
        "muted_until_ms": u64,
        "status": read_status,
        "last_seen_ms": u64,
    },
)
SESSION = read_struct(
    members.SessionInfo,
    {
        "device": read_text,
        "platform": read_text,
        "generation": u64,
        "status": read_status,
        "connected_ms": u64,
        "last_seen_ms": u64,
    },
)


def named(*table: tuple[type, dict[str, Read]]) -> dict[str, Read]:
    """Variants by their names."""
    return {members.json_name(cls): read_struct(cls, fields) for cls, fields in table}


KINDS = named(
    (wire.Message, {"body": read_body}),
    (members.Created, {"kind": read_conversation_kind, "title": read_text, "open": read_bool}),
    (members.Renamed, {"title": read_text}),
    (
        members.MemberSet,
        {
            "user": read_text,
            "role": read_role,
            "permissions": u32,
            "previous": option(read_role),
            "invitation": option(read_hash),
        },
    ),
    (members.MemberGone, {"user": read_text, "cause": read_cause}),
    (members.Muted, {"user": option(read_text), "until_ms": u64}),
    (members.Banned, {"user": read_text, "until_ms": u64}),
    (members.SlowModeSet, {"interval_ms": u32}),
    (members.InvitationMade, {"hash": read_hash, "role": read_role, "expires_ms": u64, "uses_max": u32}),
    (members.InvitationsRevoked, {}),
    (
        members.Belongs,
        {"conversation": read_text, "kind": read_conversation_kind, "title": read_text, "role": read_role},
    ),
    (members.BelongsNoMore, {"conversation": read_text, "cause": read_cause}),
    (members.BlockedUser, {"user": read_text, "blocked": read_bool}),
)
REPLIES = named(
    (members.Done, {"conversation": read_text, "seq": seq, "time_ms": u64}),
    (members.RefusedRequest, {"code": u32, "retry_after_ms": u32, "reason": read_text}),
    (members.Invitation, {"invitation": read_text}),
    (members.MemberPage, {"members": list_of(MEMBER), "more": read_bool}),
    (members.Users, {"users": list_of(read_text)}),
    (members.SessionList, {"sessions": list_of(SESSION)}),
    (members.ConversationPage, {"conversations": list_of(INFO), "more": read_bool}),
)
REPLIES["conversation"] = lambda value: members.Conversation(INFO(value))

PARTS: dict[str, tuple[type, dict[str, Read]]] = {
    "finish": (Finish, {}),
    "reset": (Reset, {"code": u32}),
    "credit": (Credit, {"bytes": u32}),
    "ping": (Ping, {"n": u64}),
    "pong": (Pong, {"n": u64}),
}

SERVER_FRAMES: dict[str, tuple[type, dict[str, Read]]] = {
    "welcome": (
        wire.Welcome,
        {
            "version": u16,
            "features": u64,
            "user": read_text,
            "durability": read_enum(wire.Durability),
            "time_ms": u64,
            "open_conversations_max": u32,
            "server": read_text,
        },
    ),
    "go_away": (wire.GoAway, {"code": u32, "retry_after_ms": u32, "reason": read_text}),
    "token_expiring": (wire.TokenExpiring, {"in_ms": u32}),
    "opened": (wire.Opened, {"head": seq, "floor": seq}),
    "event": (
        wire.Event,
        {"seq": seq, "time_ms": u64, "sender": read_text, "origin_time_ms": option(u64), "kind": read_kind},
    ),
    "ack": (wire.Ack, {"n": u64, "seq": seq, "time_ms": u64, "duplicate": read_bool}),
    "refused": (wire.Refused, {"n": u64, "code": u32, "retry_after_ms": u32, "reason": read_text}),
    "gap": (wire.Gap, {"from": seq, "to": seq}),
    "page_end": (wire.PageEnd, {"head": seq, "floor": seq, "more": read_bool}),
    "typing": (wire.TypingNotice, {"conversation": read_text, "user": read_text}),
    "roster": (
        wire.Roster,
        {
            "users": u32,
            "present": list_of(
                read_struct(wire.Present, {"user": read_text, "seen": seq, "status": read_status})
            ),
        },
    ),
    "reply": (wire.Reply, {"id": u32, "reply": read_reply}),
    "presence": (
        wire.Presence,
        {"conversation": read_text, "user": read_text, "status": read_status, "last_seen_ms": u64},
    ),
}

# Values of JSON, written.


def body_to_json(body: bytes) -> Any:
    """A text where that is possible."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode("ascii")}


def place_to_json(place: wire.Start | wire.FetchRange | None) -> Any:
    """Where a reader or a page begins."""
    match place:
        case None:
            return None
        case wire.Live() | wire.Latest():
            return type(place).__name__.lower()
        case wire.After(value) | wire.Before(value) | wire.Last(value):
            return {type(place).__name__.lower(): value}


def client_frame_to_json(frame: Any) -> dict[str, Any]:
    """A frame as the one member that has its name."""
    match frame:
        case wire.Hello() | wire.Refresh() | wire.Typing() | wire.Seen():
            fields = dict(frame.__dict__)
        case wire.StatusNotice(away):
            return {"status": {"away": away}}
        case wire.Request(id_, request):
            fields = {"id": id_, "request": members.to_json(request)}
        case wire.Open(conversation, producer, start):
            fields = {"conversation": conversation, "producer": producer, "from": place_to_json(start)}
        case wire.Read(start):
            fields = {"from": place_to_json(start)}
        case wire.Publish(n, body, publish_as, origin_time_ms):
            fields = {"n": n, "body": body_to_json(body), "publish_as": publish_as, "origin_time_ms": origin_time_ms}
            # An option that is none may be left out.
            fields = {name: value for name, value in fields.items() if value is not None}
        case wire.Fetch(conversation, range_, limit):
            fields = {"conversation": conversation, "range": place_to_json(range_), "limit": limit}
        case _:
            raise WireError(f"{frame} is no frame of clients")
    return {type(frame).__name__.lower(): fields}
