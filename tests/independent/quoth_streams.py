"""What a connection's streams are to this client, whatever carries them: written from docs/PROTOCOL.md alone.

It adds nothing to the protocol: no reconnects, no queue, no waiting between frames. Every wait ends after
`WAIT_S` seconds.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Iterable

import quoth_wire as wire

# A bound of a hang: on a busy machine a client of low priority gets little done.
WAIT_S = 30.0
_devices = itertools.count()
_generation = 0


class Ended(Exception):
    """What was waited for cannot come any more."""


class Finished(Ended):
    """The server has finished the stream."""

    def __str__(self) -> str:
        return "the server finished the stream"


class Reset(Ended):
    """The server has reset the stream with `code`."""

    def __init__(self, code: int):
        super().__init__(f"the server reset the stream with {wire.code_name(code)}")
        self.code = code


class Closed(Ended):
    """The connection is closed. `by_application` tells the protocol's codes from the transport's own."""

    def __init__(self, code: int, reason: str, by_application: bool):
        kind = wire.code_name(code) if by_application else f"the transport's {code:#x}"
        super().__init__(f"the connection is closed with {kind}: {reason!r}")
        self.code = code
        self.reason = reason
        self.by_application = by_application


class ServerFault(Ended):
    """The server has sent what the protocol does not allow."""


class Deadline(Exception):
    """Nothing came within `WAIT_S` seconds."""


class Inbox:
    """What has arrived of one sort, in order, and then how it ended."""

    def __init__(self, what: str):
        self._what = what
        self._items: deque[Any] = deque()
        self._end: Ended | None = None
        self._changed = asyncio.Event()

    def put(self, item: Any) -> None:
        """Adds what has arrived."""
        self._items.append(item)
        self._changed.set()

    def end(self, reason: Ended) -> None:
        """Nothing more will arrive. What has arrived can still be taken."""
        self._end = self._end or reason
        self._changed.set()

    def waiting(self) -> int:
        """How many items have arrived and are not taken."""
        return len(self._items)

    async def get(self) -> Any:
        """The next item; `Ended` when none will come, `Deadline` when none has come in time."""
        try:
            return await asyncio.wait_for(self.wait(), WAIT_S)
        except asyncio.TimeoutError:
            raise Deadline(f"no {self._what} within {WAIT_S:g} s") from None

    async def ended(self) -> Ended:
        """How it ended, once everything that arrived before is taken or thrown away."""
        while True:
            try:
                await self.get()
            except Ended as end:
                return end

    async def wait(self) -> Any:
        """The next item, however long it takes; `Ended` when none will come."""
        while not self._items:
            if self._end:
                raise self._end
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()


class Stream:
    """A stream that this client opened, with the frames that the server sent on it."""

    def __init__(self, connection: Connection, *first: Any, fin: bool = False):
        """Opens the stream with its first frames, or with bytes that need not be frames."""
        self._connection = connection
        self._decoder = wire.FrameDecoder(wire.SERVER_FRAME)
        self._end: Ended | None = None
        self.frames = Inbox("frame")
        self.id = connection.adopt(self)
        if first and isinstance(first[0], bytes):
            connection.write(self.id, b"".join(first), fin)
        else:
            connection.write_frames(self.id, first, fin)

    def send(self, *frames: Any) -> None:
        """Sends frames right behind what was sent before."""
        if self._end:
            raise self._end
        self._connection.write_frames(self.id, frames, fin=False)

    def send_bytes(self, data: bytes) -> None:
        """Sends bytes as they are, which need not be frames. Raises how the stream ended when it has."""
        if self._end:
            raise self._end
        self._connection.write(self.id, data, fin=False)

    async def send_bytewise(self, data: bytes) -> None:
        """Sends bytes, each in a QUIC packet of its own."""
        for byte in data:
            self.send_bytes(bytes([byte]))
            await asyncio.sleep(0.001)

    def finish(self) -> None:
        """Says that this side sends no more."""
        if self._end:
            raise self._end
        self._connection.write(self.id, b"", fin=True)

    def on_frame(self, frame: Any) -> None:
        """Takes a frame of the server. Streams of one purpose sort theirs here."""
        self.frames.put(frame)

    def on_end(self, reason: Ended) -> None:
        """Takes the end of the server's side."""
        self._end = self._end or reason
        self.frames.end(reason)

    def on_bytes(self, data: bytes, fin: bool) -> None:
        """Takes bytes of the server, and answers what is no frame with PROTOCOL."""
        self.on_frames(self._decoder.feed(data))
        if fin and not self._end:
            self.on_end(Finished() if self.is_at_frame_end() else ServerFault("the server finished within a frame"))

    def on_frames(self, frames: Iterable[Any]) -> None:
        """Takes frames of the server, and answers what is none with PROTOCOL."""
        if self._end:
            return
        try:
            for frame in frames:
                self.on_frame(frame)
        except (wire.WireError, ServerFault) as error:
            self._connection.refuse(self.id, wire.Code.PROTOCOL)
            self.on_end(ServerFault(str(error)))

    def is_at_frame_end(self) -> bool:
        """Whether the bytes that came so far are whole frames."""
        return self._decoder.at_frame_end()


class ControlStream(Stream):
    """The connection's first stream: Welcome and what else concerns the whole connection. `replies` has the answers to
    requests, `presences` who comes and goes."""

    def __init__(self, connection: Connection, *first: Any):
        self.replies = Inbox("reply")
        self.presences = Inbox("presence")
        self._last_request = 0
        super().__init__(connection, *first)

    async def ask(self, request: Any) -> Any:
        """The reply to a request, none of which may wait for its answer already."""
        self._last_request += 1
        self.send(wire.Request(self._last_request, request))
        reply = await self.replies.get()
        if reply.id != self._last_request:
            raise ServerFault(f"a reply to request {reply.id} and not to {self._last_request}")
        return reply.reply

    def on_frame(self, frame: Any) -> None:
        if isinstance(frame, wire.TypingNotice):
            self._connection.typing.put(Typed(frame, by_datagram=False))
        elif isinstance(frame, wire.Reply):
            self.replies.put(frame)
        elif isinstance(frame, wire.Presence):
            self.presences.put(frame)
        elif isinstance(frame, (wire.Welcome, wire.GoAway, wire.TokenExpiring)):
            self.frames.put(frame)
        else:
            raise ServerFault(f"{type(frame).__name__} on the control stream")

    def on_end(self, reason: Ended) -> None:
        super().on_end(reason)
        self.replies.end(reason)
        self.presences.end(reason)


class Conversation(Stream):
    """A conversation stream. `deliveries` has its events and gaps, `answers` the acks and refusals, and `rosters` who
    reads it."""

    def __init__(self, connection: Connection, *first: Any):
        self.deliveries = Inbox("event")
        self.answers = Inbox("ack")
        self.rosters = Inbox("roster")
        super().__init__(connection, *first)

    async def opened(self) -> wire.Opened:
        """The answer to `Open`."""
        return await self.frames.get()

    def on_frame(self, frame: Any) -> None:
        if isinstance(frame, wire.Opened):
            self.frames.put(frame)
        elif isinstance(frame, (wire.Event, wire.Gap)):
            self.deliveries.put(frame)
        elif isinstance(frame, (wire.Ack, wire.Refused)):
            self.answers.put(frame)
        elif isinstance(frame, wire.Roster):
            self.rosters.put(frame)
        else:
            raise ServerFault(f"{type(frame).__name__} on a conversation stream")

    def on_end(self, reason: Ended) -> None:
        super().on_end(reason)
        self.deliveries.end(reason)
        self.answers.end(reason)
        self.rosters.end(reason)


@dataclass(frozen=True)
class Typed:
    """A typing notice and the way it came."""

    notice: wire.TypingNotice
    by_datagram: bool


@dataclass(frozen=True)
class Page:
    """One page of history."""

    events: list[wire.Event] = field(repr=False)
    end: wire.PageEnd


class Connection:
    """What streams stand on. `control` exists from `hello` on. Each transport has `new_id`, `write`, `write_frames`
    and `refuse` of its own."""

    features = 0

    def __init__(self) -> None:
        self.streams: dict[int, Stream] = {}
        self.end: Closed | ServerFault | None = None
        self.typing = Inbox("typing notice")
        self.ends = Inbox("close of the connection")
        self.control: ControlStream | None = None

    def hello(
        self, token: str, features: int | None = None, version: int = 1, device: str | None = None
    ) -> None:
        """Opens the control stream with `Hello`. Other streams may be opened right behind it."""
        offered = self.features if features is None else features
        self.control = ControlStream(self, hello_frame(token, offered, version, device))

    async def welcome(self) -> wire.Welcome:
        """The answer to `Hello`."""
        return await self.control.frames.get()

    def open(self, conversation: str, producer: int, start: wire.Start | None) -> Conversation:
        """Opens a conversation stream, without waiting for `Opened`."""
        return Conversation(self, wire.Open(conversation, producer, start))

    def start_fetch(self, conversation: str, range_: wire.FetchRange, limit: int) -> Stream:
        """Opens a fetch stream; `read_page` takes the answer."""
        return Stream(self, wire.Fetch(conversation, range_, limit), fin=True)

    async def fetch(self, conversation: str, range_: wire.FetchRange, limit: int) -> Page:
        """One page of history."""
        return await read_page(self.start_fetch(conversation, range_, limit))

    def adopt(self, stream: Stream) -> int:
        """Gives a stream its id."""
        if self.end:
            raise self.end
        stream_id = self.new_id()
        self.streams[stream_id] = stream
        return stream_id

    def on_closed(self, end: Closed | ServerFault) -> None:
        """Nothing more comes on any stream."""
        self.end = self.end or end
        for stream in self.streams.values():
            stream.on_end(end)
        self.typing.end(end)
        self.ends.end(end)

    def leave(self) -> None:
        """Closes with CLOSED."""
        raise NotImplementedError

    async def left(self) -> None:
        """Waits until what `leave` has to say is said."""

    def abandon(self) -> None:
        """Falls silent without closing, like a device that has lost its network."""
        raise NotImplementedError

    def send_typing(self, conversation: str) -> None:
        """Says that the user types."""
        raise NotImplementedError

    def new_id(self) -> int:
        """The id of the next stream."""
        raise NotImplementedError

    def write(self, stream_id: int, data: bytes, fin: bool) -> None:
        """Sends bytes on a stream now, which need not be frames."""
        raise NotImplementedError

    def write_frames(self, stream_id: int, frames: Iterable[Any], fin: bool) -> None:
        """Sends frames on a stream."""
        raise NotImplementedError

    def refuse(self, stream_id: int, code: int) -> None:
        """Answers what is no frame: closes the connection for the control stream, else resets the stream."""
        raise NotImplementedError


def hello_frame(token: str, features: int, version: int = 1, device: str | None = None) -> wire.Hello:
    """The Hello of this client, by default of a device of its own: a second one of the same would take the first one's
    place."""
    global _generation
    _generation = max(time.time_ns() // 1_000_000, _generation + 1)
    device = device or f"independent-{next(_devices)}-{os.getpid()}"
    return wire.Hello(version, features, token, device, _generation, "python", "quoth-independent/1")


async def read_page(stream: Stream) -> Page:
    """The page that a fetch stream answers with, up to the end of the stream."""
    events = []
    while isinstance(frame := await stream.frames.get(), wire.Event):
        events.append(frame)
    if not isinstance(frame, wire.PageEnd):
        raise ServerFault(f"{type(frame).__name__} on a fetch stream")
    try:
        extra = await stream.frames.get()
    except Finished:
        return Page(events, frame)
    raise ServerFault(f"{type(extra).__name__} behind PageEnd")
