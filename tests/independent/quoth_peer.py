"""A client of the Quoth protocol on aioquic, written from docs/PROTOCOL.md alone.

It adds nothing to the protocol: no reconnects, no queue, no waiting between frames. Every wait ends after
`WAIT_S` seconds.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aioquic.asyncio import QuicConnectionProtocol
from aioquic.quic import events as quic_events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion

import quoth_wire as wire

ALPN = "quoth/1"
WAIT_S = 5.0
IDLE_TIMEOUT_S = 60.0
KEEP_ALIVE_S = 20.0


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
    """The connection is closed. `by_application` tells the protocol's codes from QUIC's own."""

    def __init__(self, code: int, reason: str, by_application: bool):
        kind = wire.code_name(code) if by_application else f"QUIC error {code:#x}"
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
            return await asyncio.wait_for(self._next(), WAIT_S)
        except asyncio.TimeoutError:
            raise Deadline(f"no {self._what} within {WAIT_S:g} s") from None

    async def ended(self) -> Ended:
        """How it ended, once everything that arrived before is taken or thrown away."""
        while True:
            try:
                await self.get()
            except Ended as end:
                return end

    async def _next(self) -> Any:
        while not self._items:
            if self._end:
                raise self._end
            self._changed.clear()
            await self._changed.wait()
        return self._items.popleft()


class Stream:
    """A stream that this client opened, with the frames that the server sent on it."""

    def __init__(self, peer: Peer, first: bytes = b"", fin: bool = False):
        self._peer = peer
        self._decoder = wire.FrameDecoder(wire.SERVER_FRAME)
        self._end: Ended | None = None
        self.frames = Inbox("frame")
        self.id = peer.adopt(self, first, fin)

    def send(self, *frames: Any) -> None:
        """Sends frames right behind what was sent before."""
        self.send_bytes(b"".join(wire.encode_frame(wire.CLIENT_FRAME, frame) for frame in frames))

    def send_bytes(self, data: bytes) -> None:
        """Sends bytes as they are, which need not be frames. Raises how the stream ended when it has."""
        if self._end:
            raise self._end
        self._peer.write(self.id, data, fin=False)

    async def send_bytewise(self, data: bytes) -> None:
        """Sends bytes, each in a QUIC packet of its own."""
        for byte in data:
            self.send_bytes(bytes([byte]))
            await asyncio.sleep(0.001)

    def finish(self) -> None:
        """Says that this side sends no more."""
        if self._end:
            raise self._end
        self._peer.write(self.id, b"", fin=True)

    def on_frame(self, frame: Any) -> None:
        """Takes a frame of the server. Streams of one purpose sort theirs here."""
        self.frames.put(frame)

    def on_end(self, reason: Ended) -> None:
        """Takes the end of the server's side."""
        self._end = self._end or reason
        self.frames.end(reason)

    def on_bytes(self, data: bytes, fin: bool) -> None:
        """Takes bytes of the server, and answers what is no frame with PROTOCOL."""
        if self._end:
            return
        try:
            for frame in self._decoder.feed(data):
                self.on_frame(frame)
        except (wire.WireError, ServerFault) as error:
            self._peer.refuse(self.id, wire.Code.PROTOCOL)
            self.on_end(ServerFault(str(error)))
            return
        if fin:
            whole = self._decoder.at_frame_end()
            self.on_end(Finished() if whole else ServerFault("the server finished the stream within a frame"))


class ControlStream(Stream):
    """The connection's first stream: Welcome and what else concerns the whole connection."""

    def on_frame(self, frame: Any) -> None:
        if isinstance(frame, wire.TypingNotice):
            self._peer.typing.put(Typed(frame, by_datagram=False))
        elif isinstance(frame, (wire.Welcome, wire.GoAway, wire.TokenExpiring)):
            self.frames.put(frame)
        else:
            raise ServerFault(f"{type(frame).__name__} on the control stream")


class Conversation(Stream):
    """A conversation stream. `deliveries` has its events and gaps, `answers` the acks and refusals."""

    def __init__(self, peer: Peer, first: bytes = b""):
        self.deliveries = Inbox("event")
        self.answers = Inbox("ack")
        super().__init__(peer, first)

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
        else:
            raise ServerFault(f"{type(frame).__name__} on a conversation stream")

    def on_end(self, reason: Ended) -> None:
        super().on_end(reason)
        self.deliveries.end(reason)
        self.answers.end(reason)


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


class Peer(QuicConnectionProtocol):
    """A connection to a server. `control` exists from `hello` on."""

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._streams: dict[int, Stream] = {}
        self._end: Closed | None = None
        self._silent = False
        self._keep_alive: asyncio.TimerHandle | None = None
        self.typing = Inbox("typing notice")
        self.ends = Inbox("close of the connection")
        self.control: ControlStream | None = None

    @classmethod
    async def dial(cls, host: str, port: int, ca_file: str) -> Peer:
        """Connects and finishes the handshake. The server's certificate must be of `ca_file` and for `host`."""
        config = QuicConfiguration(
            is_client=True,
            alpn_protocols=[ALPN],
            server_name=host,
            idle_timeout=IDLE_TIMEOUT_S,
            max_datagram_frame_size=65_535,
            supported_versions=[QuicProtocolVersion.VERSION_1],
        )
        config.load_verify_locations(cafile=ca_file)
        loop = asyncio.get_running_loop()
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM)
        address = min(found, key=lambda info: info[0] != socket.AF_INET)[4]
        transport, peer = await loop.create_datagram_endpoint(
            lambda: cls(QuicConnection(configuration=config)), remote_addr=address[:2]
        )
        peer._socket = transport
        peer.connect(transport.get_extra_info("peername"))
        try:
            await asyncio.wait_for(peer.wait_connected(), WAIT_S)
        except (asyncio.TimeoutError, ConnectionError):
            peer.abandon()
            raise peer._end or Deadline(f"no handshake with {host}:{port} within {WAIT_S:g} s") from None
        peer._stay_alive()
        return peer

    def hello(self, token: str, features: int = wire.FEATURE_DATAGRAMS, version: int = 1) -> None:
        """Opens the control stream with `Hello`. Other streams may be opened right behind it."""
        frame = hello_frame(token, features, version)
        self.control = ControlStream(self, wire.encode_frame(wire.CLIENT_FRAME, frame))

    async def welcome(self) -> wire.Welcome:
        """The answer to `Hello`."""
        return await self.control.frames.get()

    def open(self, conversation: str, producer: int, start: wire.Start | None) -> Conversation:
        """Opens a conversation stream, without waiting for `Opened`."""
        frame = wire.Open(conversation, producer, start)
        return Conversation(self, wire.encode_frame(wire.CLIENT_FRAME, frame))

    def start_fetch(self, conversation: str, range_: wire.FetchRange, limit: int) -> Stream:
        """Opens a fetch stream; `read_page` takes the answer."""
        frame = wire.Fetch(conversation, range_, limit)
        return Stream(self, wire.encode_frame(wire.CLIENT_FRAME, frame), fin=True)

    async def fetch(self, conversation: str, range_: wire.FetchRange, limit: int) -> Page:
        """One page of history."""
        return await read_page(self.start_fetch(conversation, range_, limit))

    def send_typing(self, conversation: str) -> None:
        """Says by datagram that the user types."""
        self._quic.send_datagram_frame(wire.encode_body(wire.CLIENT_FRAME, wire.Typing(conversation)))
        self.transmit()

    def leave(self) -> None:
        """Closes with CLOSED."""
        self.close(wire.Code.CLOSED, "done")
        self.abandon()

    def abandon(self) -> None:
        """Falls silent without closing, like a device that has lost its network."""
        self._silent = True
        for timer in (self._timer, self._keep_alive):
            if timer:
                timer.cancel()
        self._socket.close()

    # What streams use.

    def adopt(self, stream: Stream, first: bytes, fin: bool) -> int:
        """Gives a stream its id, and sends its first bytes."""
        if self._end:
            raise self._end
        stream_id = self._quic.get_next_available_stream_id()
        self._streams[stream_id] = stream
        self.write(stream_id, first, fin)
        return stream_id

    def write(self, stream_id: int, data: bytes, fin: bool) -> None:
        """Sends bytes on a stream now."""
        self._quic.send_stream_data(stream_id, data, fin)
        self.transmit()

    def refuse(self, stream_id: int, code: int) -> None:
        """Answers what is no frame: closes the connection for the control stream, else stops the stream."""
        if self.control is not None and stream_id == self.control.id:
            self.close(code, "a frame does not decode or has no place on the control stream")
        else:
            self._quic.stop_stream(stream_id, code)
            self.transmit()

    # What aioquic calls.

    def transmit(self) -> None:
        if not self._silent:
            super().transmit()

    def quic_event_received(self, event: quic_events.QuicEvent) -> None:
        match event:
            case quic_events.StreamDataReceived(data=data, end_stream=fin, stream_id=stream_id):
                self._streams[stream_id].on_bytes(data, fin)
            case quic_events.StreamReset(error_code=code, stream_id=stream_id):
                self._streams[stream_id].on_end(Reset(code))
            case quic_events.DatagramFrameReceived(data=data):
                self._on_datagram(data)
            case quic_events.ConnectionTerminated(error_code=code, frame_type=frame_type, reason_phrase=reason):
                self._on_closed(Closed(code, reason, by_application=frame_type is None))

    def _on_datagram(self, data: bytes) -> None:
        try:
            frame = wire.decode_body(wire.SERVER_FRAME, data)
        except wire.WireError:
            return
        if isinstance(frame, wire.TypingNotice):
            self.typing.put(Typed(frame, by_datagram=True))

    def _on_closed(self, end: Closed) -> None:
        self._end = end
        for stream in self._streams.values():
            stream.on_end(end)
        self.typing.end(end)
        self.ends.end(end)

    def _stay_alive(self) -> None:
        if self._end or self._silent:
            return
        self._quic.send_ping(0)
        self.transmit()
        self._keep_alive = self._loop.call_later(KEEP_ALIVE_S, self._stay_alive)


def hello_frame(token: str, features: int = wire.FEATURE_DATAGRAMS, version: int = 1) -> wire.Hello:
    """The Hello of this client."""
    return wire.Hello(version, features, token, "independent", "python", "quoth-independent/1")


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
