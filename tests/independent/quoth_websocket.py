"""A client of the Quoth protocol over WebSocket, on `websockets`, written from docs/PROTOCOL.md alone.

`quoth_streams.py` has what does not depend on WebSocket, `quoth_lanes.py` the messages. Sends what a lane has no credit
for when it gets some, and gives credit back for all that has come, except on lanes that are held.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Coroutine, Iterable

import websockets
from websockets.asyncio.client import ClientConnection, connect

import quoth_lanes as lanes
import quoth_wire as wire
from quoth_streams import WAIT_S, Closed, Connection, Deadline, Finished, Inbox, Reset, ServerFault, Stream
from quoth_wire import Code

PATH = "/v1/ws"
CREDIT_STEP = 32_768
PACKED_MAX = 4_096
STATUSES = {
    1000: Code.CLOSED,
    1001: Code.CLOSED,
    1002: Code.PROTOCOL,
    1003: Code.PROTOCOL,
    1007: Code.PROTOCOL,
    1009: Code.FRAME_TOO_LARGE,
}

TASKS: set[asyncio.Task[None]] = set()


@dataclass
class Lane:
    """The credit of a lane in both directions, what waits for it, and what is owed for."""

    send_credit: int = lanes.CLIENT_CREDIT
    receive_credit: int = lanes.SERVER_CREDIT
    received: int = 0
    owed: int = 0
    held: bool = False
    over: bool = False
    waiting: deque[lanes.Part] = field(default_factory=deque)


def tls(ca_file: str) -> ssl.SSLContext:
    """The server's certificate must be of `ca_file`, and for its address."""
    return ssl.create_default_context(cafile=ca_file)


class WebSocketPeer(Connection):
    """A WebSocket to a server."""

    def __init__(self, socket: ClientConnection, codec: lanes.Json | lanes.Postcard):
        super().__init__()
        self._socket = socket
        self._codec = codec
        self._lanes: dict[int, Lane] = {}
        self._outgoing: asyncio.Queue[str | bytes | None] = asyncio.Queue()
        self._tasks = [kept(self._write()), kept(self._read())]
        self._closing: list[asyncio.Task[None]] = []
        self.pongs = Inbox("pong")

    @classmethod
    async def dial(
        cls, host: str, port: int, ca_file: str | None, codec: lanes.Json | lanes.Postcard = lanes.JSON
    ) -> WebSocketPeer:
        """Connects and finishes the handshake. Without `ca_file` there is no TLS."""
        try:
            socket = await asyncio.wait_for(
                connect(
                    f"{'wss' if ca_file else 'ws'}://{host}:{port}{PATH}",
                    subprotocols=[websockets.Subprotocol(codec.subprotocol)],
                    ssl=tls(ca_file) if ca_file else None,
                    compression=None,
                    ping_interval=None,
                    max_size=codec.message_max,
                    proxy=None,
                ),
                WAIT_S,
            )
        except asyncio.TimeoutError:
            raise Deadline(f"no handshake with {host}:{port} within {WAIT_S:g} s") from None
        except (OSError, websockets.InvalidHandshake) as error:
            raise Closed(0, str(error), by_application=False) from error
        if socket.subprotocol != codec.subprotocol:
            raise ServerFault(f"the server took subprotocol {socket.subprotocol}")
        return cls(socket, codec)

    def ping(self, n: int) -> None:
        """Asks whether the server is there; `pongs` has the answers."""
        self.send_part(0, lanes.Ping(n))

    def send_part(self, lane: int, part: lanes.Part) -> None:
        """Sends a part whatever the lane's credit is."""
        self.send_message(self._codec.encode(lane, part))

    def send_message(self, message: str | bytes) -> None:
        """Sends a message as it is, which need not be one of the protocol."""
        self._outgoing.put_nowait(message)

    def hold(self, stream: Stream) -> None:
        """Gives no more credit for what comes on `stream`."""
        self._lanes[stream.id].held = True

    def release(self, stream: Stream) -> None:
        """Gives the credit that `hold` has held back."""
        lane = self._lanes[stream.id]
        lane.held = False
        self._give_credit(stream.id, lane, step=1)

    def received(self, stream: Stream) -> int:
        """How many bytes have come on `stream`, as credit counts them."""
        return self._lanes[stream.id].received

    def unsent(self, stream: Stream) -> int:
        """How many messages of `stream` wait for credit."""
        return len(self._lanes[stream.id].waiting)

    def reset(self, stream: Stream, code: int) -> None:
        """Ends a lane in both directions."""
        self._over(stream.id)
        self.send_part(stream.id, lanes.Reset(code))

    def send_typing(self, conversation: str) -> None:
        self.control.send(wire.Typing(conversation))

    def leave(self) -> None:
        self._close(Code.CLOSED, "done")

    async def left(self) -> None:
        await asyncio.gather(*self._closing)

    def abandon(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._socket.transport.abort()

    # What streams use of every transport.

    def new_id(self) -> int:
        self._lanes[len(self._lanes)] = Lane()
        return len(self._lanes) - 1

    def write_frames(self, stream_id: int, frames: Iterable[Any], fin: bool) -> None:
        lane = self._lanes[stream_id]
        lane.waiting.extend(lanes.Frames(tuple(some)) for some in self._packed(list(frames)))
        if fin:
            lane.waiting.append(lanes.Finish())
        self._send_waiting(stream_id, lane)

    def write(self, stream_id: int, data: bytes, fin: bool) -> None:
        assert not data, "frames are encoded by the lane's codec"
        self.write_frames(stream_id, (), fin)

    def refuse(self, stream_id: int, code: int) -> None:
        if stream_id == 0:
            self._close(code, "a frame has no place on the control stream")
        else:
            self._over(stream_id)
            self.send_part(stream_id, lanes.Reset(code))

    def _packed(self, frames: list[Any]) -> Iterable[list[Any]]:
        """The frames as messages: one in each with JSON, as many small ones as fit otherwise."""
        packed, size = [], 0
        for frame in frames:
            frame_size = len(wire.encode_frame(wire.CLIENT_FRAME, frame))
            if packed and (self._codec is lanes.JSON or size + frame_size > PACKED_MAX):
                yield packed
                packed, size = [], 0
            packed.append(frame)
            size += frame_size
        if packed:
            yield packed

    def _send_waiting(self, number: int, lane: Lane) -> None:
        while lane.waiting and not lane.over:
            if isinstance(lane.waiting[0], lanes.Frames) and lane.send_credit <= 0:
                return
            part = lane.waiting.popleft()
            message = self._codec.encode(number, part)
            if isinstance(part, lanes.Frames):
                lane.send_credit -= size_of(message)
            self.send_message(message)

    def _give_credit(self, number: int, lane: Lane, step: int) -> None:
        if lane.owed >= step and not lane.held and not lane.over:
            self.send_part(number, lanes.Credit(lane.owed))
            lane.receive_credit += lane.owed
            lane.owed = 0

    def _over(self, number: int) -> None:
        lane = self._lanes[number]
        lane.over = True
        lane.waiting.clear()

    def _close(self, code: int, reason: str) -> None:
        self._closing.append(kept(self._socket.close(lanes.STATUS_BASE + code, reason)))

    async def _write(self) -> None:
        try:
            while True:
                await self._socket.send(await self._outgoing.get())
        except websockets.ConnectionClosed:
            return

    async def _read(self) -> None:
        try:
            while True:
                message = await self._socket.recv()
                self._on_message(message)
        except websockets.ConnectionClosed as closed:
            self._on_close_frame(closed)
        except (wire.WireError, ServerFault) as error:
            self.on_closed(ServerFault(str(error)))
            self.pongs.end(self.end)
            self._close(Code.PROTOCOL, "the server's message has no place here")
        self._tasks[0].cancel()

    def _on_close_frame(self, closed: websockets.ConnectionClosed) -> None:
        status, reason = (closed.rcvd.code, closed.rcvd.reason) if closed.rcvd else (1006, "no close frame")
        if status >= lanes.STATUS_BASE:
            self.on_closed(Closed(status - lanes.STATUS_BASE, reason, by_application=True))
        elif status in STATUSES:
            self.on_closed(Closed(STATUSES[status], reason, by_application=True))
        else:
            self.on_closed(Closed(status, reason, by_application=False))
        self.pongs.end(self.end)

    def _on_message(self, message: str | bytes) -> None:
        number, part = self._codec.decode(message)
        match part:
            case lanes.Ping() | lanes.Pong() if number != 0:
                raise ServerFault(f"{part} on lane {number}")
            case lanes.Ping(n):
                self.send_part(0, lanes.Pong(n))
            case lanes.Pong(n):
                self.pongs.put(n)
            case _ if number not in self._lanes:
                raise ServerFault(f"a message on lane {number}, which was never opened")
            case _:
                self._on_lane_message(number, self._lanes[number], part, size_of(message))

    def _on_lane_message(self, number: int, lane: Lane, part: lanes.Part, size: int) -> None:
        match part:
            case lanes.Credit(count):
                lane.send_credit += count
                self._send_waiting(number, lane)
            case lanes.Frames(frames):
                if lane.receive_credit <= 0:
                    raise ServerFault(f"frames on lane {number} without credit")
                lane.receive_credit -= size
                lane.received += size
                lane.owed += size
                self.streams[number].on_frames(frames)
                self._give_credit(number, lane, CREDIT_STEP)
            case lanes.Finish():
                self.streams[number].on_end(Finished())
            case lanes.Reset(code):
                self._over(number)
                self.streams[number].on_end(Reset(code))


def kept(work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """A task that lives until it is done, whoever forgets it."""
    task = asyncio.create_task(work)
    TASKS.add(task)
    task.add_done_callback(TASKS.discard)
    return task


def size_of(message: str | bytes) -> int:
    """The length of a message as credit counts it."""
    return len(message.encode("utf-8")) if isinstance(message, str) else len(message)
