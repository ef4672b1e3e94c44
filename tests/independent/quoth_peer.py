"""A client of the Quoth protocol on aioquic, written from docs/PROTOCOL.md alone.

`quoth_streams.py` has what does not depend on QUIC.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Iterable

from aioquic.asyncio import QuicConnectionProtocol
from aioquic.quic import events as quic_events
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection
from aioquic.quic.packet import QuicProtocolVersion

import quoth_wire as wire
from quoth_streams import WAIT_S, Closed, Connection, Deadline, Reset, Typed

ALPN = "quoth/1"
IDLE_TIMEOUT_S = 60.0
KEEP_ALIVES_PER_TIMEOUT = 3


class Peer(QuicConnectionProtocol, Connection):
    """A QUIC connection to a server."""

    features = wire.FEATURE_DATAGRAMS

    def __init__(self, *args: Any, **kwargs: Any):
        QuicConnectionProtocol.__init__(self, *args, **kwargs)
        Connection.__init__(self)
        self._silent = False
        self._keep_alive: asyncio.TimerHandle | None = None
        self._keep_alive_s = IDLE_TIMEOUT_S / KEEP_ALIVES_PER_TIMEOUT

    @classmethod
    async def dial(cls, host: str, port: int, ca_file: str, idle_timeout_s: float = IDLE_TIMEOUT_S) -> Peer:
        """Connects and finishes the handshake. The server's certificate must be of `ca_file` and for `host`."""
        config = QuicConfiguration(
            is_client=True,
            alpn_protocols=[ALPN],
            server_name=host,
            idle_timeout=idle_timeout_s,
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
            raise peer.end or Deadline(f"no handshake with {host}:{port} within {WAIT_S:g} s") from None
        peer._keep_alive_s = idle_timeout_s / KEEP_ALIVES_PER_TIMEOUT
        peer._stay_alive()
        return peer

    def send_typing(self, conversation: str) -> None:
        self._quic.send_datagram_frame(wire.encode_body(wire.CLIENT_FRAME, wire.Typing(conversation)))
        self.transmit()

    def leave(self) -> None:
        self.close(wire.Code.CLOSED, "done")
        self.abandon()

    def abandon(self) -> None:
        self._silent = True
        for timer in (self._timer, self._keep_alive):
            if timer:
                timer.cancel()
        self._socket.close()

    # What streams use of every transport.

    def new_id(self) -> int:
        return self._quic.get_next_available_stream_id()

    def write(self, stream_id: int, data: bytes, fin: bool) -> None:
        self._quic.send_stream_data(stream_id, data, fin)
        self.transmit()

    def write_frames(self, stream_id: int, frames: Iterable[Any], fin: bool) -> None:
        self.write(stream_id, b"".join(wire.encode_frame(wire.CLIENT_FRAME, frame) for frame in frames), fin)

    def refuse(self, stream_id: int, code: int) -> None:
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
                self.streams[stream_id].on_bytes(data, fin)
            case quic_events.StreamReset(error_code=code, stream_id=stream_id):
                self.streams[stream_id].on_end(Reset(code))
            case quic_events.DatagramFrameReceived(data=data):
                self._on_datagram(data)
            case quic_events.ConnectionTerminated(error_code=code, frame_type=frame_type, reason_phrase=reason):
                self.on_closed(Closed(code, reason, by_application=frame_type is None))

    def _on_datagram(self, data: bytes) -> None:
        try:
            frame = wire.decode_body(wire.SERVER_FRAME, data)
        except wire.WireError:
            return
        if isinstance(frame, wire.TypingNotice):
            self.typing.put(Typed(frame, by_datagram=True))

    def _stay_alive(self) -> None:
        if self.end or self._silent:
            return
        self._quic.send_ping(0)
        self.transmit()
        self._keep_alive = self._loop.call_later(self._keep_alive_s, self._stay_alive)
