"""WebSockets that break or wear out a server, on bare sockets. Prints a JSON object: what was sent, and how connections were closed."""

from __future__ import annotations

import argparse
import base64
import itertools
import os
import select
import socket
from typing import Iterator

import quoth_wire as wire
from hostile_run import Run
from quoth_streams import WAIT_S, hello_frame

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
FIN = 0x80
FRAMES_AT_ONCE = 200


def frame(first: int, payload: bytes) -> bytes:
    """A client's frame, with a mask of zeros."""
    size = len(payload)
    length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126, size >> 8, size & 0xFF])
    return bytes([first]) + length + bytes(4) + payload


def repeated(what: bytes) -> Iterator[bytes]:
    while True:
        yield what


def fragments() -> Iterator[bytes]:
    """A message in fragments of one byte, without end."""
    yield frame(BINARY, b"\0")
    yield from repeated(frame(0, b"\0"))


def nothings() -> Iterator[bytes]:
    """The same with fragments of nothing."""
    yield frame(BINARY, b"")
    yield from repeated(frame(0, b""))


def pings() -> Iterator[bytes]:
    return repeated(frame(FIN | PING, b"x" * 125))


def pongs() -> Iterator[bytes]:
    return repeated(frame(FIN | PONG, b""))


def lane_pings() -> Iterator[bytes]:
    """Pings of Quoth's own, on lane 0."""
    return repeated(frame(FIN | BINARY, b"\0\x04\x01"))


def lane_credit() -> Iterator[bytes]:
    """Credit for lane 0, a byte at a time."""
    return repeated(frame(FIN | BINARY, b"\0\x03\x01"))


def lanes_reset() -> Iterator[bytes]:
    """Lane after lane, each opened with a frame and reset behind it."""
    for lane in itertools.count(1):
        number = wire.U32.encode(lane)
        yield frame(FIN | BINARY, number + b"\0\x01\0") + frame(FIN | BINARY, number + b"\x02\x01")


ATTACKS = {
    attack.__name__: attack
    for attack in (fragments, nothings, pings, pongs, lane_pings, lane_credit, lanes_reset)
}


def connected(args: argparse.Namespace) -> socket.socket:
    """A WebSocket that is signed in."""
    host, port = args.server.rsplit(":", 1)
    sock = socket.create_connection((host, int(port)), timeout=WAIT_S)
    key = base64.b64encode(os.urandom(16)).decode()
    sock.sendall(
        f"GET /v1/ws HTTP/1.1\r\nHost: {args.server}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Protocol: quoth.v1.postcard\r\n\r\n".encode()
    )
    hello = wire.encode_frame(wire.CLIENT_FRAME, hello_frame(args.token, 0))
    sock.sendall(frame(FIN | BINARY, b"\0\0" + hello))
    came = b""
    while b"quoth-server/" not in came:
        some = sock.recv(4096)
        if not some:
            raise ConnectionError(f"no Welcome: {came!r}")
        came += some
    return sock


def closed_with(came: bytes) -> str | None:
    """The status of the close at the end of what has come."""
    at = came.rfind(bytes([FIN | CLOSE]))
    return None if at < 0 or len(came) < at + 4 else str(int.from_bytes(came[at + 2 : at + 4]))


def connection(run: Run) -> str:
    """One connection's worth of the attack, and how it ended."""
    sock = connected(run.args)
    sock.setblocking(False)
    frames, came, rest = ATTACKS[run.args.attack](), b"", b""
    end = "still open"
    while run.goes_on():
        readable, writable, _ = select.select([sock], [sock], [], 0.1)
        try:
            if readable:
                some = sock.recv(65_536)
                came = (came + some)[-200:]
                if not some:
                    end = "closed"
                    break
            if writable:
                if not rest:
                    rest = b"".join(next(frames) for _ in range(FRAMES_AT_ONCE))
                    run.has_sent(FRAMES_AT_ONCE)
                rest = rest[sock.send(rest) :]
        except OSError:
            end = "closed"
            break
    sock.close()
    return closed_with(came) or end


def main() -> None:
    run = Run(__doc__, ATTACKS)
    while run.goes_on():
        run.has_ended(connection(run))
    run.report()


if __name__ == "__main__":
    main()
