"""What the scenarios share: where the server is, what was sent so far, checks, and how the steps are run."""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import secrets
import time
from dataclasses import dataclass
from typing import Any, Awaitable, Callable

import quoth_wire as wire
from quoth_peer import Peer
from quoth_streams import Closed, Connection, Conversation, Deadline, Ended, Inbox, Reset, Stream
from quoth_wire import Code

TOTAL_S = 300.0
N_STEP = 10


class CheckFailed(Exception):
    """A check that the rest of its step needs has failed."""


@dataclass(frozen=True)
class Sent:
    """A message that was acked."""

    n: int
    body: bytes
    seq: int
    time_ms: int


class Run:
    """What the steps share: where the server is, what was sent so far, and the result."""

    def __init__(self, args: argparse.Namespace):
        host, _, port = args.server.rpartition(":")
        self.host, self.port, self.ca = host.strip("[]"), int(port), args.ca
        self.token, self.name, self.forbidden = args.token, args.conversation, args.forbidden
        self.claims = claims_of(args.token)
        self.second_token = args.second_token
        self.second_user = claims_of(args.second_token)["sub"]
        self.producer = secrets.randbits(64)
        self.n = 0
        self.sent: list[Sent] = []
        self.failed = 0
        self.passed = 0
        self.last_check = "the start"

    def check(self, what: str, good: bool, detail: Any = "") -> None:
        """Prints one line, and ends the step when the check has failed."""
        self.last_check = what
        print(f"{'ok  ' if good else 'FAIL'} {what}" + ("" if good else f": {detail}"), flush=True)
        if not good:
            self.failed += 1
            raise CheckFailed(what)
        self.passed += 1

    async def connect(self) -> Connection:
        """A connection without a Hello."""
        return await Peer.dial(self.host, self.port, self.ca)

    async def login(self, features: int | None = None) -> Connection:
        """A connection that has its Welcome."""
        peer = await self.connect()
        peer.hello(self.token, features)
        await peer.welcome()
        return peer

    async def open(self, peer: Connection, start: wire.Start | None) -> tuple[Conversation, wire.Opened]:
        """The conversation, opened on `peer`."""
        stream = peer.open(self.name, self.producer, start)
        return stream, await stream.opened()

    def messages(self, bodies: list[bytes]) -> list[wire.Publish]:
        """New messages with ids that leave gaps."""
        first = self.n + N_STEP
        self.n += N_STEP * len(bodies)
        return [wire.Publish(first + N_STEP * place, body) for place, body in enumerate(bodies)]

    async def publish(self, stream: Conversation, *bodies: bytes) -> list[Sent]:
        """Publishes new messages and waits for their acks."""
        frames = self.messages(list(bodies))
        stream.send(*frames)
        return self.record(frames, [await stream.answers.get() for _ in frames])

    def record(self, frames: list[wire.Publish], answers: list[Any]) -> list[Sent]:
        """Notes messages that were acked as new, in the order in which they were sent."""
        if [(type(one), one.n) for one in answers] != [(wire.Ack, frame.n) for frame in frames]:
            self.check("new messages are acked in order", False, answers)
        sent = [Sent(frame.n, frame.body, ack.seq, ack.time_ms) for frame, ack in zip(frames, answers)]
        self.sent += sent
        return sent

    def check_events(self, what: str, events: list[Any], sent: list[Sent]) -> None:
        """`events` are exactly the messages `sent`, byte for byte."""
        user = self.claims["sub"]
        expected = [wire.Event(one.seq, one.time_ms, user, None, wire.Message(one.body)) for one in sent]
        self.check(what, events == expected, first_difference(events, expected))


async def check_reset(run: Run, what: str, stream: Stream, code: Code) -> None:
    """The server resets the stream with `code`."""
    end = await end_or_deadline(stream.frames)
    run.check(f"{what} with {code.name}", isinstance(end, Reset) and end.code == code, end)


async def check_closed(run: Run, what: str, peer: Connection, code: Code) -> None:
    """The server closes the connection with `code` and a short text."""
    end = await end_or_deadline(peer.ends)
    good = isinstance(end, Closed) and end.by_application and end.code == code and len(end.reason.encode()) <= 256
    run.check(f"{what} with {code.name}", good, end)
    peer.abandon()


async def end_or_deadline(inbox: Inbox) -> Ended | Deadline:
    """How an inbox ended, or that it did not in time."""
    try:
        return await inbox.ended()
    except Deadline as late:
        return late


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a JSON Web Token, whose signature is the server's business."""
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def first_difference(got: list[Any], expected: list[Any]) -> str:
    """Where two lists begin to differ, in a line of bearable length."""
    for place, (one, other) in enumerate(zip(got, expected)):
        if one != other:
            return f"at {place}: got {str(one)[:200]}, expected {str(other)[:200]}"
    return f"got {len(got)} instead of {len(expected)}"


async def run_steps(run: Run, steps: list[Callable[[Any], Awaitable[None]]]) -> None:
    """Runs the steps in order, also behind one that has failed, unless there is no signing in at all."""
    for step in steps:
        try:
            await step(run)
        except CheckFailed:
            continue
        except (Ended, Deadline, IndexError) as error:
            run.failed += 1
            print(f"FAIL {step.__name__}, behind '{run.last_check}': {error or type(error).__name__}", flush=True)
            if step is steps[0]:
                return


def parser(description: str) -> argparse.ArgumentParser:
    """What every scenario must be told."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--server", required=True, metavar="HOST:PORT")
    made.add_argument("--ca", required=True, metavar="PEM", help="file with the certificate that signed the server's")
    made.add_argument("--token", required=True, metavar="JWT")
    made.add_argument("--second-token", required=True, metavar="JWT", help="of another user")
    made.add_argument("--conversation", required=True, metavar="NAME")
    made.add_argument("--forbidden", metavar="NAME", help="a conversation that the token does not allow")
    return made


async def run_all(run: Run, steps: list[Callable[[Any], Awaitable[None]]]) -> int:
    """Runs everything within `TOTAL_S` seconds, and gives the exit code."""
    started = time.monotonic()
    try:
        await asyncio.wait_for(run_steps(run, steps), TOTAL_S)
    except asyncio.TimeoutError:
        run.failed += 1
        print(f"FAIL the whole scenario takes more than {TOTAL_S:g} s", flush=True)
    print(f"{run.passed} passed, {run.failed} failed in {time.monotonic() - started:.1f} s")
    return 1 if run.failed or not run.passed else 0
