"""The messages of the Quoth protocol over WebSocket, to text or bytes and back. Pure: no sockets, no clock.

Written from docs/PROTOCOL.md alone, sections 9 and 10. A message is a lane's number and a part; a part of `Frames` has
frames of `quoth_wire`. `JSON` and `POSTCARD` are the two encodings.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import quoth_wire as wire
from quoth_json import SERVER_FRAMES, Read, client_frame_to_json, dump, read_struct, u32, u64
from quoth_wire import U32, U64, WireError

MESSAGE_MAX = wire.FRAME_MAX + 16
JSON_MESSAGE_MAX = 420_000
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


PARTS: dict[str, tuple[type, dict[str, Read]]] = {
    "finish": (Finish, {}),
    "reset": (Reset, {"code": u32}),
    "credit": (Credit, {"bytes": u32}),
    "ping": (Ping, {"n": u64}),
    "pong": (Pong, {"n": u64}),
}


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
        lane = u32(parsed.pop("lane"))
        ((name, value),) = parsed.items()
        if name in PARTS:
            return lane, read_struct(*PARTS[name])(value)
        if name in SERVER_FRAMES:
            return lane, Frames((read_struct(*SERVER_FRAMES[name])(value),))
        return lane, Frames(())


JSON, POSTCARD = Json(), Postcard()


def unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's members, each of which may come once."""
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("a member comes twice")
    return unique
