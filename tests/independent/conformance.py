"""Runs the Autobahn cases of RFC 6455 with `kosoku` as their judge: one line per finding, exit code 0 or 1.

    python conformance.py known
    python conformance.py echo --server HOST:PORT
    python conformance.py session --server HOST:PORT --ca ca.pem --subprotocol quoth.v1.json

`known` judges an echo on `websockets`, which conforms but for what `KNOWN` has: so it is known what a finding is worth.
`echo` judges any echo, which must conform in every case. `session` judges a Quoth server over TLS. It sends no echoes,
and closes what is no message of its protocol; the cases that go without must pass all the same.

Groups 12 and 13 are about compression, which Quoth never negotiates.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from typing import Any

import kosoku
from websockets.asyncio.server import ServerConnection, serve

import quoth_lanes as lanes
from quoth_websocket import PATH, kept, tls
from quoth_wire import Code

PARALLEL = 8
HEAD_MAX = 8_192

# Framing, pings, reserved bits, opcodes, fragments, UTF-8, closes, sizes around the 16 bits of a length.
RULES = [f"{group}.*" for group in (1, 2, 3, 4, 5, 6, 7, 10)]
# Of the cases with large messages those whose messages are within the 420,000 bytes of JSON, and 1,000 round trips each.
LARGE = ["9.1.1", "9.1.2", "9.2.1", "9.2.2", "9.7.*", "9.8.*"]
# 1 MiB, which is over every limit.
TOO_LARGE = ["9.1.3", "9.2.3"]

# What `websockets` does otherwise than the cases want, and why that is no fault of the judge.
KNOWN = {
    "7.1.5": "answers a close between fragments with 1002, though RFC 6455, 5.4, lets control frames come there",
}

# Cases, by the beginnings of their names, that send a whole message before anything else happens. For a session it is none of its
# protocol, so it is closed there.
WITH_MESSAGE = (
    "1.", "3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.3", "5.4", "5.5", "5.6", "5.7", "5.8",
    "5.15", "5.19", "5.20", "6.1.", "6.2.", "6.5.", "6.6.2", "6.6.5", "6.6.7", "6.6.9", "6.6.11", "6.7.", "6.9.", "6.11.1",
    "6.11.2", "6.11.3", "6.11.4", "6.22.", "6.23.", "7.1.1", "9.", "10.",
)  # fmt: skip
# Of these the ones whose message is larger than one may be before Welcome.
WITH_LARGE_MESSAGE = ("1.1.6", "1.1.7", "1.1.8", "1.2.6", "1.2.7", "1.2.8", "9.", "10.")
CLOSES = (lanes.STATUS_BASE + Code.PROTOCOL,)
CLOSES_LARGE = (1009, lanes.STATUS_BASE + Code.FRAME_TOO_LARGE)

async def echo(socket: ServerConnection) -> None:
    """Sends back what comes."""
    async for message in socket:
        await socket.send(message)


async def judge(address: str, cases: list[str]) -> list[Any]:
    """The results of cases, whatever they are."""
    try:
        return await kosoku.run_fuzzingclient(address, cases, None, concurrency=PARALLEL)
    except kosoku.FailureError as failure:
        return failure.results


def told(result: Any) -> str:
    """A result on one line."""
    return (
        f"{result.case_id}: {result.behavior.value}, close {result.behavior_close.value}"
        f" with {result.remote_close_code}: {result.result} {result.result_close}"
    )


async def judge_known() -> list[str]:
    """The findings in an echo on `websockets` that are not known."""
    async with serve(echo, "127.0.0.1", 0, compression=None, ping_interval=None, max_size=None) as server:
        port = server.sockets[0].getsockname()[1]
        results = await judge(f"ws://127.0.0.1:{port}", RULES + LARGE)
    failed = {result.case_id: told(result) for result in results if not result.passed}
    print(f"{len(results)} cases, of which {len(failed)} fail as is known")
    return [failed.get(case, f"{case} passes, though it is known to fail") for case in failed.keys() ^ KNOWN.keys()]


async def judge_echo(server: str) -> list[str]:
    """The findings in an echo."""
    results = await judge(f"ws://{server}", RULES + LARGE)
    too_large = await judge(f"ws://{server}", TOO_LARGE)
    print(f"{len(results)} cases with an echo behind the socket, and {len(too_large)} with messages that are too large")
    findings = [result for result in results if not result.passed]
    return [told(result) for result in findings + [one for one in too_large if one.remote_close_code not in CLOSES_LARGE]]


class Relay:
    """Between the judge, which knows no subprotocols, and a server that wants one: puts it into the request and takes
    it out of the answer, and passes all else on as it is."""

    def __init__(self, args: argparse.Namespace):
        host, _, port = args.server.rpartition(":")
        self._host, self._port, self._tls = host.strip("[]"), int(port), tls(args.ca)
        self._header = f"Sec-WebSocket-Protocol: {args.subprotocol}\r\n".encode()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Relays one connection until both sides have ended."""
        server_reader, server_writer = await asyncio.open_connection(self._host, self._port, ssl=self._tls)
        head = await reader.readuntil(b"\r\n\r\n")
        server_writer.write(head[:-2] + self._header + b"\r\n")
        answer = await server_reader.readuntil(b"\r\n\r\n")
        lines = answer.splitlines(keepends=True)
        writer.write(b"".join(line for line in lines if line.lower() != self._header.lower()))
        ends = await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer), return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception) and not isinstance(end, OSError):
                raise end


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Passes on what comes, and its end."""
    try:
        while data := await reader.read(HEAD_MAX):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


async def judge_session(args: argparse.Namespace) -> list[str]:
    """The findings in a server whose sessions send no echoes."""
    relay = Relay(args)
    listener = await asyncio.start_server(lambda *streams: kept(relay.serve(*streams)), "127.0.0.1", 0)
    async with listener:
        port = listener.sockets[0].getsockname()[1]
        results = await judge(f"ws://127.0.0.1:{port}{PATH}", RULES + TOO_LARGE)
    closed, passing = [], []
    for result in results:
        (closed if any(map(result.case_id.startswith, WITH_MESSAGE)) else passing).append(result)
    print(f"{len(passing)} cases without a message, {len(closed)} with one that is none of {args.subprotocol}")
    findings = [told(result) for result in passing if not result.passed]
    for result in closed:
        statuses = CLOSES_LARGE if any(map(result.case_id.startswith, WITH_LARGE_MESSAGE)) else CLOSES
        if result.remote_close_code not in statuses or any(event[0] == "message" for event in result.received):
            findings.append(f"{told(result)}; it should be closed with one of {statuses}")
    return findings


async def main() -> int:
    """Judges what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    modes = parser.add_subparsers(dest="mode", required=True)
    modes.add_parser("known")
    modes.add_parser("echo").add_argument("--server", required=True, metavar="HOST:PORT")
    session = modes.add_parser("session")
    session.add_argument("--server", required=True, metavar="HOST:PORT")
    session.add_argument("--ca", required=True, metavar="PEM")
    session.add_argument("--subprotocol", required=True, choices=[lanes.JSON.subprotocol, lanes.POSTCARD.subprotocol])
    args = parser.parse_args()
    # Clients that break the rules are what this is about.
    logging.getLogger("websockets").setLevel(logging.CRITICAL)
    match args.mode:
        case "known":
            findings = await judge_known()
        case "echo":
            findings = await judge_echo(args.server)
        case _:
            findings = await judge_session(args)
    for finding in findings:
        print(f"FAIL {finding}")
    return 1 if findings else 0


if __name__ == "__main__":
    EXIT_CODE = asyncio.run(main())
    sys.stdout.flush()
    # The judge's own threads abort the interpreter's orderly end every now and then, when all is said.
    os._exit(EXIT_CODE)
