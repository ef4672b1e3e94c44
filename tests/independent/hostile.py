"""QUIC peers that break or wear out a server: each attack is a signed-in connection that sends frames which aioquic itself would not.

Prints a JSON object for each attack: how many frames it sent over how many connections, and how those were closed.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from typing import Callable, Iterator

from aioquic.buffer import encode_uint_var
from aioquic.quic.packet import QuicFrameType, QuicPacketType
from aioquic.quic.packet_builder import QuicPacketBuilder
from aioquic.tls import Epoch

import quoth_wire as wire
from hostile_run import Run
from quoth_peer import Peer
from quoth_streams import Deadline, Ended

Frame = tuple[int, bytes]
VARINT_MAX = 2**62 - 1
PACKETS_AT_ONCE = 16


def varints(*values: int) -> bytes:
    return b"".join(encode_uint_var(value) for value in values)


class Attacker(Peer):
    """A connection that sends what it likes. What it sends past aioquic is not repeated when it is lost."""

    acks = True

    def transmit(self) -> None:
        if not self.acks:
            for space in self._quic._spaces.values():
                space.ack_at = None
        super().transmit()

    def goes_past(self) -> None:
        """From now on aioquic does not know of all streams, and must not mind what the server says on them."""
        quic = self._quic
        quic._stream_is_discarded = lambda stream_id: stream_id % 4 == 0 and stream_id not in quic._streams

    def send_frames(self, frames: Iterator[Frame | None]) -> int:
        """Fills some packets, whatever congestion control says. `None` is for nothing at the moment."""
        quic = self._quic
        builder = QuicPacketBuilder(
            host_cid=quic.host_cid,
            peer_cid=quic._peer_cid.cid,
            version=quic._version,
            is_client=True,
            max_datagram_size=quic._max_datagram_size,
            packet_number=quic._packet_number,
        )
        sent = packets = 0
        while packets < PACKETS_AT_ONCE and (frame := next(frames)) is not None:
            frame_type, payload = frame
            if packets == 0 or builder.remaining_buffer_space < len(payload) + 8:
                builder.start_packet(QuicPacketType.ONE_RTT, quic._cryptos[Epoch.ONE_RTT])
                packets += 1
            builder.start_frame(frame_type, capacity=len(payload) + 8).push_bytes(payload)
            sent += 1
        datagrams, _ = builder.flush()
        quic._packet_number = builder.packet_number
        for datagram in datagrams:
            self._socket.sendto(datagram)
        return sent


STREAM_OFF_LEN = QuicFrameType.STREAM_BASE | 0x04 | 0x02


def stream(id_: int, offset: int, data: bytes) -> Frame:
    return STREAM_OFF_LEN, varints(id_, offset, len(data)) + data


def forever(frame: Frame) -> Iterator[Frame]:
    return itertools.repeat(frame)


# Each gives frames for a connection that has the conversation stream `open_id` open; `new_id` is that of its next stream.


def gaps(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """Every other byte of a stream."""
    return (stream(new_id, offset, b"x") for offset in itertools.cycle(range(1, 120_000, 2)))


def gaps_of_many(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """Some bytes of each of many streams, with gaps between."""
    ids = [new_id + 4 * n for n in range(40)]
    return (stream(id_, offset, b"x") for offset in itertools.cycle(range(1, 12_000, 2)) for id_ in ids)


def tiny(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """Frames of a stream that have nothing."""
    return forever(stream(open_id, 0, b""))


def repeats(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """The first bytes of a stream again and again, overlapping."""
    return (stream(new_id, offset, b"x" * 200) for offset in itertools.cycle(range(1, 200)))


def connection_ids(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """New ids that retire those before; what the server says of it is not acknowledged."""
    peer.acks = False
    for n in itertools.count(8):
        yield QuicFrameType.NEW_CONNECTION_ID, varints(n, n) + b"\x08" + os.urandom(8) + os.urandom(16)


def retired_ids(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """The server's ids are retired as fast as it can make new ones."""
    peer.acks = False
    return ((QuicFrameType.RETIRE_CONNECTION_ID, varints(n)) for n in itertools.count(1))


def path_challenges(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    peer.acks = False
    while True:
        yield QuicFrameType.PATH_CHALLENGE, os.urandom(8)


def resets(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame | None]:
    """Streams that are opened and reset as fast as there is credit."""
    for id_ in itertools.count(new_id, 4):
        while id_ // 4 >= peer._quic._remote_max_streams_bidi:
            yield None
        yield QuicFrameType.RESET_STREAM, varints(id_, 1, 0)


def stops(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """A conversation of which nothing more is wanted, again and again."""
    return forever((QuicFrameType.STOP_SENDING, varints(open_id, 1)))


def bogus_acks(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """Packets are acknowledged that were never sent."""
    return forever((QuicFrameType.ACK, varints(2**40, 0, 0, 2**40 - 1)))


def old_acks(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """All that can have come is acknowledged again and again."""
    largest = peer._quic._spaces[Epoch.ONE_RTT].largest_received_packet
    return forever((QuicFrameType.ACK, varints(largest, 0, 0, largest)))


def blocked(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    while True:
        yield QuicFrameType.STREAM_DATA_BLOCKED, varints(open_id, 1)
        yield QuicFrameType.DATA_BLOCKED, varints(1)
        yield QuicFrameType.STREAMS_BLOCKED_BIDI, varints(1)


def credit(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    for n in itertools.count(10_000_000):
        yield QuicFrameType.MAX_DATA, varints(n)
        yield QuicFrameType.MAX_STREAM_DATA, varints(open_id, n)


def pings(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    return forever((QuicFrameType.PING, b""))


def crypto_gaps(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """Every other byte of what a handshake would have."""
    return ((QuicFrameType.CRYPTO, varints(offset, 1) + b"x") for offset in itertools.cycle(range(1, 16_000, 2)))


def crypto_far(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    return forever((QuicFrameType.CRYPTO, varints(2**40, 1) + b"x"))


def datagrams(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    notice = wire.encode_body(wire.CLIENT_FRAME, wire.Typing("independent-hostile"))
    return forever((QuicFrameType.DATAGRAM_WITH_LENGTH, varints(len(notice)) + notice))


def long_lengths(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """A stream's frame that says to be longer than anything."""
    return forever((STREAM_OFF_LEN, varints(open_id, 0, VARINT_MAX) + b"x"))


def long_offsets(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    return forever((STREAM_OFF_LEN, varints(new_id, VARINT_MAX, 1) + b"x"))


def long_ends(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    return forever((QuicFrameType.RESET_STREAM, varints(new_id, 1, VARINT_MAX)))


def many_streams(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    """A stream that is far beyond what is granted."""
    return forever(stream(4 * 2**50, 0, b"x"))


def unknown_frames(peer: Attacker, open_id: int, new_id: int) -> Iterator[Frame]:
    return forever((0x3FFF_FFFF, b"x" * 8))


ATTACKS: dict[str, Callable[[Attacker, int, int], Iterator[Frame | None]]] = {
    attack.__name__: attack
    for attack in (
        gaps,
        gaps_of_many,
        tiny,
        repeats,
        connection_ids,
        retired_ids,
        path_challenges,
        resets,
        stops,
        bogus_acks,
        old_acks,
        blocked,
        credit,
        pings,
        crypto_gaps,
        crypto_far,
        datagrams,
        long_lengths,
        long_offsets,
        long_ends,
        many_streams,
        unknown_frames,
    )
}


async def connection(run: Run) -> str:
    """One connection's worth of an attack, and how it ended."""
    args = run.args
    host, port = args.server.rsplit(":", 1)
    peer = await Attacker.dial(host, int(port), args.ca)
    try:
        peer.hello(args.token)
        await peer.welcome()
        room = peer.open("independent-hostile", 1, None)
        await room.opened()
        frames = ATTACKS[args.attack](peer, room.id, peer.new_id())
        peer.goes_past()
        while run.goes_on() and peer.end is None:
            count = peer.send_frames(frames)
            run.has_sent(count)
            # What comes is read, and time passes if nothing may be sent.
            await asyncio.sleep(0 if count else 0.002)
        # A close may be on its way.
        await asyncio.sleep(0.1)
        return "still open" if peer.end is None else str(peer.end)
    finally:
        peer.abandon()


async def main() -> None:
    run = Run(__doc__, ATTACKS)
    while run.goes_on():
        try:
            run.has_ended(await connection(run))
        except (Ended, Deadline) as error:
            run.has_ended(f"before the attack: {error}")
    run.report()


if __name__ == "__main__":
    asyncio.run(main())
