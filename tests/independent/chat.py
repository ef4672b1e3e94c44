"""A chat client that is told what to do line by line, written from docs/PROTOCOL.md alone.

    python chat.py --transport quic|json|postcard --server HOST:PORT --ca ca.pem --token JWT --conversation NAME

Commands come as lines of JSON: `{"send":"text"}`, `{"typing":true}`, `{"seen":SEQ}`, and `{"leave":true}`, which waits
for the acks of all that was sent. Lines of JSON tell what has happened: `opened`, `event`, `ack`, `typing`, `roster`,
`go_away`, and `lost` when the connection is. Then it connects again with backoff, goes on from its last seq, and
repeats what was not acked.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import secrets
import sys
from collections import deque
from typing import Any, Coroutine

import quoth_lanes as lanes
import quoth_wire as wire
from quoth_peer import Peer
from quoth_streams import Closed, Connection, Conversation, Deadline, Ended, Finished, Reset
from quoth_websocket import WebSocketPeer

CODECS = {"json": lanes.JSON, "postcard": lanes.POSTCARD}
BACKOFF_MAX_S = 30.0
BACKOFF_STEP_S = 0.5
# Over QUIC a server that is gone is known by its silence only, of which a busy machine must make none.
IDLE_TIMEOUT_S = 8.0


class Stopped(Exception):
    """Trying again cannot help."""


class Chat:
    """One user's view of one conversation, over one connection after the other."""

    def __init__(self, args: argparse.Namespace):
        self._args = args
        self._producer = secrets.randbelow(1 << 53)
        self._n = 0
        self._cursor = 0
        self._unacked: deque[wire.Publish] = deque()
        self._retry_after_s = 0.0
        self._leaving = False
        self._all_acked = asyncio.Event()
        self._peer: Connection | None = None
        self._stream: Conversation | None = None

    async def run(self) -> None:
        """Chats until `leave`."""
        attempt = 0
        while True:
            try:
                await self._connect()
                attempt = 0
                await self._follow()
                return
            except (Ended, Deadline) as end:
                tell(lost=str(end))
                self._stream = None
                if self._peer:
                    self._peer.abandon()
                    self._peer = None
                self._check_worth_trying(end)
            backoff = random.uniform(0, min(BACKOFF_MAX_S, BACKOFF_STEP_S * 2**attempt))
            await asyncio.sleep(self._retry_after_s + backoff)
            self._retry_after_s = 0.0
            attempt += 1

    def take(self, command: dict[str, Any]) -> None:
        """Does what a line says."""
        match command:
            case {"send": text}:
                self._n += 1
                frame = wire.Publish(self._n, text.encode())
                self._unacked.append(frame)
                self._send(frame)
            case {"typing": True}:
                if self._stream:
                    self._peer.send_typing(self._args.conversation)
            case {"seen": seq}:
                self._send(wire.Seen(seq))
            case {"leave": True}:
                self._leaving = True
                self._note_acks()
            case _:
                raise SystemExit(f"{command} is no command")

    def _send(self, frame: Any) -> None:
        try:
            if self._stream:
                self._stream.send(frame)
        except Ended:
            # `_follow` learns it too, and what is not acked is sent again.
            pass

    async def _connect(self) -> None:
        host, _, port = self._args.server.rpartition(":")
        if self._args.transport == "quic":
            self._peer = await Peer.dial(host, int(port), self._args.ca, IDLE_TIMEOUT_S)
        else:
            self._peer = await WebSocketPeer.dial(host, int(port), self._args.ca, CODECS[self._args.transport])
        self._peer.hello(self._args.token, self._peer.features | wire.FEATURE_ROSTER)
        stream = self._peer.open(self._args.conversation, self._producer, wire.After(self._cursor))
        await self._peer.welcome()
        opened = await stream.opened()
        stream.send(*self._unacked)
        self._stream = stream
        tell(opened={"head": opened.head, "floor": opened.floor})

    async def _follow(self) -> None:
        """Passes on what comes until all is said; raises how the connection was lost."""
        watches = [self._watch_events, self._watch_answers, self._watch_rosters, self._watch_notices, self._watch_typing]
        tasks = [asyncio.create_task(unless_finished(watch())) for watch in watches]
        tasks.append(asyncio.create_task(self._all_acked.wait()))
        done, others = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in others:
            task.cancel()
        for reason in [task.exception() for task in done]:
            if reason:
                raise reason
        self._peer.leave()
        await self._peer.left()

    async def _watch_events(self) -> None:
        while True:
            event = await self._stream.deliveries.wait()
            if isinstance(event, wire.Gap):
                self._cursor = event.last
                tell(gap={"from": event.first, "to": event.last})
                continue
            self._cursor = event.seq
            body = event.kind.body.decode() if isinstance(event.kind, wire.Message) else None
            tell(event={"seq": event.seq, "time_ms": event.time_ms, "sender": event.sender, "body": body})

    async def _watch_answers(self) -> None:
        while True:
            answer = await self._stream.answers.wait()
            if isinstance(answer, wire.Refused):
                raise Stopped(f"message {answer.n} is refused with {wire.code_name(answer.code)}")
            body = next((frame.body.decode() for frame in self._unacked if frame.n == answer.n), None)
            self._unacked = deque(frame for frame in self._unacked if frame.n != answer.n)
            tell(ack={"seq": answer.seq, "time_ms": answer.time_ms, "duplicate": answer.duplicate, "body": body})
            self._note_acks()

    def _note_acks(self) -> None:
        if self._leaving and not self._unacked:
            self._all_acked.set()

    async def _watch_rosters(self) -> None:
        while True:
            roster = await self._stream.rosters.wait()
            tell(roster={"users": roster.users, "present": {one.user: one.seen for one in roster.present}})

    async def _watch_notices(self) -> None:
        while True:
            notice = await self._peer.control.frames.wait()
            if isinstance(notice, wire.GoAway):
                self._retry_after_s = notice.retry_after_ms / 1_000
                tell(go_away={"code": notice.code})

    async def _watch_typing(self) -> None:
        while True:
            typed = await self._peer.typing.wait()
            tell(typing=typed.notice.user)

    def _check_worth_trying(self, end: Ended | Deadline) -> None:
        has_code = isinstance(end, Reset) or isinstance(end, Closed) and end.by_application
        if has_code and not 0x100 <= end.code <= 0x1FF:
            raise Stopped(str(end))


async def unless_finished(watch: Coroutine[Any, Any, None]) -> None:
    """Watches a stream. A server that goes away may finish it before it says so on the control stream, and closes the connection
    when all is said: its end is no news then."""
    try:
        await watch
    except Finished:
        await asyncio.get_running_loop().create_future()


def tell(**what: Any) -> None:
    """One line about what has happened."""
    print(json.dumps(what), flush=True)


async def read_commands(chat: Chat) -> None:
    """Does what each line of the standard input says."""
    lines = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    while line := await lines.readline():
        chat.take(json.loads(line))


async def main() -> None:
    """Chats until it is told to leave, or until trying again cannot help."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--transport", required=True, choices=["quic", *CODECS])
    parser.add_argument("--server", required=True, metavar="HOST:PORT")
    parser.add_argument("--ca", required=True, metavar="PEM")
    parser.add_argument("--token", required=True, metavar="JWT")
    parser.add_argument("--conversation", required=True, metavar="NAME")
    chat = Chat(parser.parse_args())
    commands = asyncio.create_task(read_commands(chat))
    try:
        await chat.run()
    except Stopped as reason:
        sys.exit(f"stopped: {reason}")
    commands.cancel()


if __name__ == "__main__":
    asyncio.run(main())
