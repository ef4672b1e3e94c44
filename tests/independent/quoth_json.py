"""Frames of the Quoth protocol as JSON (section 10 of docs/PROTOCOL.md): those of servers are read, those of clients written.

Pure: no sockets, no clock.
"""

from __future__ import annotations

import base64
import enum
import json
import re
from typing import Any, Callable

import quoth_events as events
import quoth_members as members
import quoth_messages as messages
import quoth_wire as wire
from quoth_wire import WireError


def dump(value: Any) -> str:
    """JSON on one line; characters beyond ASCII as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


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

RETENTION = read_struct(members.Retention, {"age_s": u64, "count": u64, "bytes": u64})
INFO = read_struct(
    members.ConversationInfo,
    {
        "conversation": read_text,
        "kind": option(read_conversation_kind),
        "title": read_text,
        "open": read_bool,
        "role": option(read_role),
        "permissions": u32,
        "members": u32,
        "muted_until_ms": u64,
        "slow_mode_interval_ms": u32,
        "retention": RETENTION,
        "own_retention": read_bool,
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


def read_kind(value: Any) -> Any:
    """An event's kind; one of an unknown name keeps its text."""
    try:
        return read_variant(KINDS, value)
    except KeyError:
        return wire.UnknownKind(-1, dump(value).encode())


EVENT: dict[str, Read] = {
    "seq": seq,
    "time_ms": u64,
    "sender": read_text,
    "origin_time_ms": option(u64),
    "kind": read_kind,
}
MESSAGE_STATE: dict[str, Read] = {
    "seq": seq,
    "version": seq,
    "edited": option(
        read_struct(
            messages.LatestEdit,
            {"seq": seq, "time_ms": u64, "body": read_body, "mentions": list_of(read_text)},
        )
    ),
    "reactions": list_of(
        read_struct(messages.Reaction, {"reaction": read_text, "count": u32, "mine": read_bool})
    ),
}
RECEIPT: dict[str, Read] = {"user": read_text, "delivered": seq, "read": seq}
INBOX_ROW: dict[str, Read] = {
    "conversation": read_text,
    "kind": option(read_conversation_kind),
    "title": read_text,
    "head": seq,
    "time_ms": u64,
    "last": option(read_struct(wire.Event, EVENT)),
    "unread": u32,
    "mentions": u32,
    "read": seq,
    "archived": read_bool,
    "muted_until_ms": u64,
    "pinned": read_bool,
    "gone": read_bool,
    "version": u64,
    "stale_ms": u64,
}


def json_name(cls: type) -> str:
    """What a variant is called in JSON."""
    words = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).lower()
    return messages.JSON_NAMES.get(cls, words)


def named(*table: tuple[type, dict[str, Read]]) -> dict[str, Read]:
    """Variants by their names."""
    return {json_name(cls): read_struct(cls, fields) for cls, fields in table}


KINDS = named(
    (
        wire.Message,
        {"body": read_body, "reply_to": option(seq), "mentions": list_of(read_text), "expires_ms": u64},
    ),
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
    (events.Edited, {"seq": seq, "body": read_body, "mentions": list_of(read_text)}),
    (events.Revoked, {"seq": seq}),
    (events.Reacted, {"seq": seq, "reaction": read_text, "on": read_bool}),
    (events.RetentionSet, {"retention": RETENTION}),
    (events.Hidden, {"conversation": read_text, "seq": seq}),
    (
        events.InboxSet,
        {"conversation": read_text, "archived": read_bool, "muted_until_ms": u64, "pinned": read_bool},
    ),
)
REPLIES = named(
    (members.Done, {"conversation": read_text, "seq": seq, "time_ms": u64}),
    (members.RefusedRequest, {"code": u32, "retry_after_ms": u32, "reason": read_text}),
    (members.Invitation, {"invitation": read_text}),
    (members.MemberPage, {"members": list_of(MEMBER), "more": read_bool}),
    (members.Users, {"users": list_of(read_text)}),
    (members.SessionList, {"sessions": list_of(SESSION)}),
    (members.ConversationPage, {"conversations": list_of(INFO), "more": read_bool}),
    (
        messages.ReceiptList,
        {"delivered": u32, "read": u32, "users": list_of(read_struct(messages.Receipt, RECEIPT))},
    ),
    (
        messages.InboxPage,
        {
            "rows": list_of(read_struct(messages.InboxRow, INBOX_ROW)),
            "next": option(read_text),
            "version": u64,
        },
    ),
    (messages.Watching, {"version": u64, "complete": read_bool}),
    (
        messages.MessageList,
        {
            "states": list_of(read_struct(messages.MessageState, MESSAGE_STATE)),
            "absent": list_of(seq),
            "more": read_bool,
        },
    ),
    (
        messages.Retained,
        {
            "conversation": read_text,
            "seq": seq,
            "time_ms": u64,
            "retention": RETENTION,
            "events": u64,
            "bytes": u64,
        },
    ),
)
REPLIES["conversation"] = lambda value: members.Conversation(INFO(value))

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
    "opened": (wire.Opened, {"head": seq, "floor": seq, "store": u64}),
    "event": (wire.Event, EVENT),
    "ack": (wire.Ack, {"n": u64, "seq": seq, "time_ms": u64, "duplicate": read_bool}),
    "refused": (wire.Refused, {"n": u64, "code": u32, "retry_after_ms": u32, "reason": read_text}),
    "gap": (wire.Gap, {"from": seq, "to": seq}),
    "page_end": (
        wire.PageEnd,
        {"head": seq, "floor": seq, "from": seq, "to": seq, "more_before": read_bool, "more_after": read_bool},
    ),
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
    "message_state": (messages.MessageState, MESSAGE_STATE),
    "receipt": (messages.Receipt, RECEIPT),
    "inbox_row": (messages.InboxRowTold, {"known": u64, "row": read_struct(messages.InboxRow, INBOX_ROW)}),
}

# Values of JSON, written.


def body_to_json(body: bytes) -> Any:
    """A text where that is possible."""
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(body).decode("ascii")}


def value_to_json(value: Any) -> Any:
    """What a request is made of."""
    if isinstance(value, enum.IntEnum):
        return value.name.lower()
    if isinstance(value, bytes):
        return body_to_json(value)
    if isinstance(value, tuple):
        return [value_to_json(one) for one in value]
    if hasattr(value, "__dataclass_fields__"):
        return {name: value_to_json(getattr(value, name)) for name in value.__dataclass_fields__}
    return value


def request_to_json(request: Any) -> Any:
    """One with fields is an object with its name, one without is the name."""
    name, fields = json_name(type(request)), value_to_json(request)
    return {name: fields} if fields else name


def place_to_json(place: wire.Start | wire.FetchRange | None) -> Any:
    """Where a reader or a page begins."""
    if place is None:
        return None
    name, fields = json_name(type(place)), tuple(place.__dict__.values())
    return {name: fields[0]} if fields else name


def client_frame_to_json(frame: Any) -> dict[str, Any]:
    """A frame as the one member that has its name."""
    match frame:
        case wire.Hello() | wire.Refresh() | wire.Typing() | wire.Seen():
            fields = dict(frame.__dict__)
        case wire.StatusNotice(away):
            return {"status": {"away": away}}
        case wire.Request(id_, request):
            fields = {"id": id_, "request": request_to_json(request)}
        case wire.Open(conversation, producer, start):
            fields = {"conversation": conversation, "producer": producer, "from": place_to_json(start)}
        case wire.Read(start):
            fields = {"from": place_to_json(start)}
        case wire.Publish():
            # An option that is none may be left out, as well as what says nothing: but not a number or a body.
            fields = {
                name: value
                for name, value in value_to_json(frame).items()
                if name in ("n", "body") or value not in (None, [], 0)
            }
        case wire.Fetch(conversation, range_, limit):
            fields = {"conversation": conversation, "range": place_to_json(range_), "limit": limit}
        case _:
            raise WireError(f"{frame} is no frame of clients")
    return {type(frame).__name__.lower(): fields}
