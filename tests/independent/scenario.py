"""Runs an independent client through the protocol against a real server: one line per check, exit code 0 or 1.

    python scenario.py --server HOST:PORT --ca ca.pem --token JWT --conversation NAME [--forbidden NAME]

The token must allow reading and publishing in NAME, and neither in the forbidden conversation. Nobody else may
publish in NAME meanwhile; events that it has already are no hindrance.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import secrets
import sys
import time
from dataclasses import dataclass
from typing import Any, Awaitable, Callable

import quoth_wire as wire
from quoth_peer import Peer
from quoth_streams import Closed, Connection, Conversation, Deadline, Ended, Finished, Inbox, Reset, Stream, read_page
from quoth_wire import Code

TOTAL_S = 60.0
MESSAGES = 100
N_STEP = 10
SIZES = [0, 65_536, 1, 127, 128, 300, 1_100, 4_096, 16_383, 16_384, 65_535]
UNKNOWN_VARIANT = wire.encode_length(2) + b"\x63\x00"


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


async def step_login(run: Run) -> None:
    """1: sign-in, and how it is refused."""
    peer = await run.connect()
    peer.hello(run.token)
    welcome = await peer.welcome()
    run.check("1 Welcome speaks version 1", welcome.version == 1, welcome)
    run.check("1 Welcome has the token's user", welcome.user == run.claims["sub"], welcome)
    run.check("1 Welcome has features that were offered", welcome.features & ~wire.FEATURE_DATAGRAMS == 0, welcome)
    most = 224 if run.claims.get("publish_as") else 48
    run.check("1 Welcome has the limit of open conversations", welcome.open_conversations_max == most, welcome)
    near = abs(welcome.time_ms - time.time() * 1000) < 300_000
    run.check("1 Welcome has the time in milliseconds since 1970", near, welcome)
    peer.control.send(wire.Refresh(run.token))
    await peer.fetch(run.name, wire.Latest(), 1)
    run.check("1 a Refresh with a good token is taken without an answer", peer.control.frames.waiting() == 0)
    peer.control.send(wire.Refresh("no token"))
    await check_closed(run, "1 a Refresh with a bad token closes", peer, Code.TOKEN_REJECTED)

    header, payload, signature = run.token.split(".")
    other = "A" if signature[0] != "A" else "B"
    forged = ".".join((header, payload, other + signature[1:]))
    for what, token, version, code in (
        ("a forged signature", forged, 1, Code.TOKEN_REJECTED),
        ("a token that is none", "no token", 1, Code.TOKEN_REJECTED),
        ("version 2", run.token, 2, Code.UNSUPPORTED_VERSION),
    ):
        peer = await run.connect()
        peer.hello(token, version=version)
        await check_closed(run, f"1 {what} closes", peer, code)


async def step_publish(run: Run) -> None:
    """2: pipelined messages of all sizes, acked and received on one stream."""
    peer = await run.login()
    stream, opened = await run.open(peer, wire.Live())
    source = random.Random(1)
    sizes = SIZES + [source.randrange(2_000) for _ in range(MESSAGES - len(SIZES))]
    sent = await run.publish(stream, *(source.randbytes(size) for size in sizes))
    seqs = [one.seq for one in sent]
    expected = list(range(opened.head + 1, opened.head + 1 + MESSAGES))
    run.check(f"2 {MESSAGES} messages are acked with contiguous seqs behind the head", seqs == expected, seqs)
    events = [await stream.deliveries.get() for _ in sent]
    run.check_events("2 they come as events on the same stream, byte for byte", events, sent)
    peer.leave()


async def step_repeat(run: Run) -> None:
    """3: repeated and stale message ids."""
    peer = await run.login()
    stream, opened = await run.open(peer, wire.Live())
    run.check("3 the head is the last acked seq", opened.head == run.sent[-1].seq, opened)
    repeated = [run.sent[-1], run.sent[0], run.sent[40], run.sent[0]]
    stream.send(*(wire.Publish(one.n, one.body) for one in repeated))
    acks = sorted([await stream.answers.get() for _ in repeated], key=lambda ack: ack.n)
    expected = [wire.Ack(one.n, one.seq, one.time_ms, True) for one in sorted(repeated, key=lambda one: one.n)]
    run.check("3 repeated ids are acked as duplicates with the first seq and time", acks == expected, acks)
    stale = run.sent[50].n + 1
    stream.send(wire.Publish(stale, b"a message whose id is never stored"))
    answer = await stream.answers.get()
    refused = wire.Refused(stale, Code.STALE_MESSAGE_ID)
    run.check("3 a lower n that was never stored is stale", answer == refused, answer)
    before = run.sent[-1].seq
    sent = await run.publish(stream, b"new after repeats")
    run.check("3 a new id has the next seq", sent[0].seq == before + 1, sent)
    run.check_events("3 neither repeats nor stale ids made an event", [await stream.deliveries.get()], sent)
    peer.leave()


async def step_reconnect(run: Run) -> None:
    """4: a lost connection, what was in flight on it, and catching up from a cursor."""
    lost = await run.login()
    stream, _ = await run.open(lost, wire.Live())
    in_flight = run.messages([f"in flight {number}".encode() for number in range(20)])
    stream.send(*in_flight)
    lost.abandon()

    peer = await run.login()
    middle = run.sent[len(run.sent) // 2]
    reader, _ = await run.open(peer, wire.After(middle.seq))
    reader.send(*in_flight)
    acks = sorted([await reader.answers.get() for _ in in_flight], key=lambda ack: ack.n)
    seqs = [ack.seq for ack in acks if isinstance(ack, wire.Ack)]
    first = run.sent[-1].seq + 1
    run.check(
        "4 messages in flight on a lost connection are stored once and in order when they are repeated",
        seqs == list(range(first, first + len(in_flight))),
        acks,
    )
    run.record(in_flight, acks)
    rest = [one for one in run.sent if one.seq > middle.seq]
    events = [await reader.deliveries.get() for _ in rest]
    run.check_events("4 After(cursor in the middle) gives exactly the rest, in order", events, rest)

    other = await run.login()
    writer, _ = await run.open(other, None)
    sent = await run.publish(writer, b"live 1", b"", b"live 2")
    events = [await reader.deliveries.get() for _ in sent]
    run.check_events("4 then come live events of another connection", events, sent)
    run.check("4 a stream that was opened without from gets no events", writer.deliveries.waiting() == 0)
    peer.leave()
    other.leave()


async def step_history(run: Run) -> None:
    """5a: history by pages in both directions."""
    peer = await run.login()
    head, last = run.sent[-1].seq, len(run.sent)
    pages = [await peer.fetch(run.name, wire.After(0), 37)]
    while pages[-1].end.more_after:
        pages.append(await peer.fetch(run.name, wire.After(pages[-1].end.last), 37))
    forward = [event for page in pages for event in page.events]
    floor = pages[0].end.floor
    run.check("5 every page has the head", all(page.end.head == head for page in pages), pages)
    run.check("5 forward pages have at most the limit", all(len(page.events) <= 37 for page in pages))
    seqs = [event.seq for event in forward]
    run.check("5 forward pages give everything from floor to head", seqs == list(range(floor, head + 1)), seqs)
    run.check_events("5 they end with what was sent", forward[-last:], run.sent)

    pages = [await peer.fetch(run.name, wire.Latest(), 23)]
    while pages[-1].end.more_before:
        pages.append(await peer.fetch(run.name, wire.Before(pages[-1].end.first), 23))
    backward = [event for page in reversed(pages) for event in page.events]
    run.check("5 backward pages give the same", backward == forward, first_difference(backward, forward))
    run.check("5 backward pages have at most the limit", all(len(page.events) <= 23 for page in pages))

    for what, range_, limit, events, ends in (
        ("the page that ends with the head", wire.After(head - 3), 3, forward[-3:], (head - 2, head, True, False)),
        ("the page that begins with the floor", wire.Before(floor + 2), 2, forward[:2], (floor, floor + 1, False, True)),
        ("the page after the head", wire.After(head), 5, [], (head + 1, head, True, False)),
        ("the page before the floor", wire.Before(floor), 5, [], (floor, floor - 1, False, True)),
    ):
        page = await peer.fetch(run.name, range_, limit)
        end = wire.PageEnd(head, floor, *ends)
        run.check(f"5 {what} is whole and says where it ends", (page.events, page.end) == (events, end), page)
    page = await peer.fetch(run.name, wire.Latest(), 0)
    run.check("5 a limit of 0 gives PageEnd alone", not page.events and page.end.head == head, page)
    page = await peer.fetch(run.name, wire.After(0), 100_000)
    run.check("5 a limit over 1,000 is taken for 1,000", 0 < len(page.events) <= wire.PAGE_EVENTS_MAX, page)
    peer.leave()


async def step_starts(run: Run) -> None:
    """5b: where a reader can begin, stop and begin again."""
    peer = await run.login()
    stream, _ = await run.open(peer, wire.Last(5))
    events = [await stream.deliveries.get() for _ in range(5)]
    run.check_events("5 Last(5) gives the last five", events, run.sent[-5:])
    sent = await run.publish(stream, b"behind the last five")
    run.check_events("5 and then live events", [await stream.deliveries.get()], sent)
    stream.finish()
    end = await stream.frames.ended()
    run.check("5 a finished stream is finished by the server", isinstance(end, Finished), end)

    stream, opened = await run.open(peer, wire.Live())
    run.check("5 the conversation can be opened again then", opened.head == run.sent[-1].seq, opened)
    sent = await run.publish(stream, b"live")
    run.check_events("5 Live begins with what is stored from now on", [await stream.deliveries.get()], sent)
    stream.send(wire.Read(None))
    stopped = await run.publish(stream, b"while delivery is stopped")
    page = await peer.fetch(run.name, wire.Latest(), 1)
    run.check_events("5 an event that is not delivered can be fetched", page.events, stopped)
    run.check("5 Read without from stops delivery", stream.deliveries.waiting() == 0)
    stream.send(wire.Read(wire.After(sent[0].seq)))
    run.check_events("5 Read goes on from the last seq", [await stream.deliveries.get()], stopped)
    sent = await run.publish(stream, b"live again")
    run.check_events("5 and delivers live again", [await stream.deliveries.get()], sent)
    stream.send(wire.Read(wire.Last(2)))
    events = [await stream.deliveries.get() for _ in range(2)]
    run.check_events("5 Read moves the cursor back", events, run.sent[-2:])
    peer.leave()


async def step_refusals(run: Run) -> None:
    """6a: what is refused on streams, while the connection lives on."""
    peer = await run.login()
    stream, opened = await run.open(peer, wire.Live())
    second = peer.open(run.name, run.producer, wire.Live())
    await check_reset(run, "6 a second Open of the same conversation is reset", second, Code.ALREADY_OPEN)
    await check_forbidden(run, peer)

    stream.send(*run.messages([bytes(wire.BODY_MAX + 1)]))
    answer = await stream.answers.get()
    run.check("6 a body of 65,537 bytes is refused", answer == wire.Refused(run.n, Code.TOO_LARGE), answer)
    if not run.claims.get("publish_as"):
        stream.send(wire.Publish(run.n + 1, b"", publish_as="somebody else"))
        answer = await stream.answers.get()
        refused = wire.Refused(run.n + 1, Code.FORBIDDEN)
        run.check("6 publish_as without the right is refused", answer == refused, answer)
    sent = await run.publish(stream, b"after refusals")
    run.check_events("6 refused messages made no event", [await stream.deliveries.get()], sent)

    stream.send(wire.Read(wire.After(sent[0].seq + 1_000)))
    await check_reset(run, "6 Read beyond the head is reset", stream, Code.CURSOR_AHEAD)
    stream = peer.open(run.name, run.producer, wire.After(sent[0].seq + 1_000))
    await check_reset(run, "6 Open beyond the head is reset", stream, Code.CURSOR_AHEAD)

    page = await peer.fetch(run.name, wire.Latest(), 1)
    run.check_events("6 the connection lives on, and nothing was stored", page.events, sent)
    peer.leave()


async def step_broken_frames(run: Run) -> None:
    """6b: bytes that are no frame reset their stream, while the connection lives on."""
    peer = await run.login()
    cut_publish = wire.encode_length(2) + b"\x04\x80"
    over_limit = wire.encode_length(wire.FRAME_MAX + 1)
    origin_alone = wire.encode_frame(wire.CLIENT_FRAME, wire.Publish(run.n + 2, b"", origin_time_ms=1))
    second_open = wire.encode_frame(wire.CLIENT_FRAME, wire.Open(run.name, 1, None))
    for what, data, code in (
        ("garbage on a conversation stream", cut_publish, Code.PROTOCOL),
        ("an empty frame", b"\x00", Code.PROTOCOL),
        ("a frame over the limit", over_limit, Code.FRAME_TOO_LARGE),
        ("origin_time_ms without publish_as", origin_alone, Code.PROTOCOL),
        ("Open on an open stream", second_open, Code.PROTOCOL),
    ):
        stream, _ = await run.open(peer, None)
        stream.send_bytes(data)
        await check_reset(run, f"6 {what} resets the stream", stream, code)
    publish = wire.encode_frame(wire.CLIENT_FRAME, wire.Publish(run.n + 3, b""))
    await check_reset(run, "6 Publish as a stream's first frame is reset", Stream(peer, publish), Code.PROTOCOL)
    too_long = Stream(peer, wire.encode_length(wire.FIRST_FRAME_MAX + 1))
    await check_reset(run, "6 a first frame over its limit is reset", too_long, Code.FRAME_TOO_LARGE)

    page = await peer.fetch(run.name, wire.Latest(), 1)
    run.check_events("6 the connection lives on behind broken frames, and nothing was stored", page.events, run.sent[-1:])
    await check_unknown_variant(run, peer)
    peer.leave()


async def step_closes(run: Run) -> None:
    """6c: what closes the connection."""
    hello = wire.encode_frame(wire.CLIENT_FRAME, wire.Hello(1, 1, run.token, "independent", 1, "python", "test"))
    publish = wire.encode_frame(wire.CLIENT_FRAME, wire.Publish(1, b""))
    for what, first, code in (
        ("Publish as the connection's first frame", publish, Code.PROTOCOL),
        ("a Hello over its limit", wire.encode_length(wire.FIRST_FRAME_MAX + 1), Code.FRAME_TOO_LARGE),
        ("garbage instead of Hello", wire.encode_length(2) + b"\x00\x80", Code.PROTOCOL),
        ("a second Hello", hello + hello, Code.PROTOCOL),
        ("a frame of an unknown variant on the control stream", hello + UNKNOWN_VARIANT, Code.PROTOCOL),
    ):
        peer = await run.connect()
        Stream(peer, first)
        await check_closed(run, f"6 {what} closes the connection", peer, code)


async def step_pipelined(run: Run) -> None:
    """7: nothing needs a wait or a packet boundary."""
    peer = await run.connect()
    peer.hello(run.token)
    stream = peer.open(run.name, run.producer, wire.Live())
    frames = run.messages([b"before Welcome"])
    stream.send(*frames)
    fetches = [peer.start_fetch(run.name, wire.Latest(), 2) for _ in range(8)]
    before = run.sent[-1].seq
    sent = run.record(frames, [await stream.answers.get()])
    run.check("7 Open and Publish behind Hello work", sent[0].seq == before + 1, sent)
    run.check_events("7 and bring the event", [await stream.deliveries.get()], sent)
    pages = [await read_page(fetch) for fetch in fetches]
    run.check("7 so do fetches, of which some wait for stream credit", all(page.end.head for page in pages), pages)
    peer.leave()

    peer = await run.connect()
    peer.hello("")
    stream = peer.open(run.name, run.producer, wire.Live())
    stream.send(wire.Publish(run.n + 1, b"never signed in"))
    await check_closed(run, "7 behind a Hello that is refused", peer, Code.TOKEN_REJECTED)

    peer = await run.connect()
    hello = wire.encode_frame(wire.CLIENT_FRAME, wire.Hello(1, 1, run.token, "independent", 1, "python", "test"))
    control = Stream(peer, hello[:1])
    await control.send_bytewise(hello[1:])
    welcome = await control.frames.get()
    run.check("7 Hello works with one byte per packet", isinstance(welcome, wire.Welcome), welcome)
    opening = wire.encode_frame(wire.CLIENT_FRAME, wire.Open(run.name, run.producer, wire.Live()))
    stream = Conversation(peer, opening[:1])
    await stream.send_bytewise(opening[1:])
    opened = await stream.opened()
    run.check("7 so does Open, and nothing was stored before the sign-in", opened.head == run.sent[-1].seq, opened)
    frames = run.messages([b"one byte per packet"])
    await stream.send_bytewise(wire.encode_frame(wire.CLIENT_FRAME, frames[0]))
    sent = run.record(frames, [await stream.answers.get()])
    run.check_events("7 so does Publish", [await stream.deliveries.get()], sent)
    peer.leave()


async def step_typing(run: Run) -> None:
    """8: typing notices."""
    sender, reader, plain, elsewhere = [await run.login(features) for features in (1, 1, 0, 1)]
    for peer in (sender, reader, plain):
        await run.open(peer, wire.Live())
    sender.send_typing(run.name)
    typed = await reader.typing.get()
    notice = wire.TypingNotice(run.name, run.claims["sub"])
    run.check("8 typing reaches another connection", typed.notice == notice, typed)
    run.check("8 by datagram", typed.by_datagram, typed)
    typed = await plain.typing.get()
    run.check("8 and on the control stream without the feature", typed.notice == notice, typed)
    run.check("8 not by datagram there", not typed.by_datagram, typed)
    plain.control.send(wire.Typing(run.name))
    await reader.typing.get()
    run.check("8 typing from a control stream reaches others", True)
    await sender.typing.get()
    for peer in (sender, elsewhere):
        await peer.fetch(run.name, wire.Latest(), 1)
    run.check("8 the sender does not hear itself", sender.typing.waiting() == 0)
    run.check("8 nor does who has not opened the conversation", elsewhere.typing.waiting() == 0)
    for peer in (sender, reader, plain, elsewhere):
        peer.leave()


async def check_forbidden(run: Run, peer: Connection) -> None:
    """What the token does not allow."""
    if run.forbidden is None:
        print("skip 6 forbidden conversations: there is no --forbidden", flush=True)
        return
    for what, stream in (
        ("Open to read", peer.open(run.forbidden, run.producer, wire.Live())),
        ("Open to write", peer.open(run.forbidden, run.producer, None)),
        ("Fetch", peer.start_fetch(run.forbidden, wire.Latest(), 1)),
    ):
        await check_reset(run, f"6 {what} of a forbidden conversation is reset", stream, Code.FORBIDDEN)


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


async def check_unknown_variant(run: Run, peer: Connection) -> None:
    """Section 2 says both of a variant that the server does not know: the connection closes, the stream is reset."""
    stream, _ = await run.open(peer, None)
    stream.send_bytes(UNKNOWN_VARIANT)
    end = await end_or_deadline(stream.frames)
    good = isinstance(end, (Closed, Reset)) and end.code == Code.PROTOCOL
    run.check("6 a frame of an unknown variant on a conversation stream is refused with PROTOCOL", good, end)


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


STEPS: list[Callable[[Run], Awaitable[None]]] = [
    step_login,
    step_publish,
    step_repeat,
    step_reconnect,
    step_history,
    step_starts,
    step_refusals,
    step_broken_frames,
    step_closes,
    step_pipelined,
    step_typing,
]


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
            if step is step_login:
                return


def parser(description: str) -> argparse.ArgumentParser:
    """What every scenario must be told."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--server", required=True, metavar="HOST:PORT")
    made.add_argument("--ca", required=True, metavar="PEM", help="file with the certificate that signed the server's")
    made.add_argument("--token", required=True, metavar="JWT")
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


if __name__ == "__main__":
    sys.exit(asyncio.run(run_all(Run(parser(__doc__).parse_args()), STEPS)))
