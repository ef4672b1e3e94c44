"""Runs an independent client through the protocol over WebSocket against a real server: one line per check, exit code
0 or 1.

    python websocket_scenario.py --server HOST:PORT --ca ca.pem --token JWT --second-token JWT --conversation NAME \\
        [--forbidden NAME] [--subprotocol quoth.v1.postcard]

Both tokens must allow reading and publishing in NAME, in every name that begins with it, and in those that the server
makes; neither in the forbidden conversation. They are of different users. Nobody else may publish there meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import ssl
import sys
import urllib.error
import urllib.request
from typing import Any, Callable

import websockets
from websockets.asyncio.client import connect

import members_steps
import quoth_lanes as lanes
import quoth_wire as wire
import scenario
from quoth_streams import Conversation, Finished, Stream, read_page
from quoth_websocket import PATH, WebSocketPeer, tls
from quoth_wire import Code
from scenario_run import TOTAL_S, Run, check_closed, check_reset, end_or_deadline, parser, run_all

SUBPROTOCOLS = {codec.subprotocol: codec for codec in (lanes.JSON, lanes.POSTCARD)}
FETCHES_AT_ONCE = 4
PUBLISHES_IN_FLIGHT = 256


class WebSocketRun(Run):
    """A run over one of the subprotocols, with a second user."""

    def __init__(self, args: argparse.Namespace):
        super().__init__(args)
        self.codec = SUBPROTOCOLS[args.subprotocol]
        self.is_json = self.codec is lanes.JSON
        self.side_conversations = 0

    async def connect(self) -> WebSocketPeer:
        return await WebSocketPeer.dial(self.host, self.port, self.ca, self.codec)

    async def login_with(self, token: str, features: int) -> WebSocketPeer:
        """A connection of either user that has its Welcome."""
        peer = await self.connect()
        peer.hello(token, features)
        await peer.welcome()
        return peer

    def side_conversation(self) -> str:
        """The name of a conversation that is used by one step only."""
        self.side_conversations += 1
        return f"{self.name}-side-{self.side_conversations}"


async def step_handshake(run: WebSocketRun) -> None:
    """1: what the server tells over HTTP, and which handshakes it takes."""
    told = await asyncio.to_thread(get_json, f"https://{run.host}:{run.port}/.well-known/quoth", tls(run.ca))
    run.check("1 /.well-known/quoth tells the version", told.get("version") == 1, told)
    run.check("1 and the QUIC port and ALPN", told.get("quic") == {"port": run.port, "alpn": "quoth/1"}, told)
    expected = {"path": PATH, "subprotocols": ["quoth.v1.postcard", "quoth.v1.json"]}
    run.check("1 and the WebSocket's path and subprotocols", told.get("websocket") == expected, told)

    refused = await handshake(run, subprotocols=None)
    run.check("1 a WebSocket without a subprotocol is refused with 400", refused == 400, refused)
    refused = await handshake(run, subprotocols=["other.v1"])
    run.check("1 so is one of an unknown subprotocol", refused == 400, refused)
    refused = await handshake(run, origin="https://elsewhere.example")
    run.check("1 an Origin that is not allowed is refused with 403", refused == 403, refused)
    own = await handshake(run, origin=f"https://{run.host}:{run.port}")
    run.check("1 the server's own Origin is taken", own == (run.codec.subprotocol, []), own)
    compressed = await handshake(run, compression="deflate")
    run.check("1 compression is not negotiated", compressed == (run.codec.subprotocol, []), compressed)
    both = await handshake(run, subprotocols=["other.v1", run.codec.subprotocol])
    run.check("1 a known subprotocol beside an unknown one is taken", both == (run.codec.subprotocol, []), both)


async def step_plain(run: WebSocketRun) -> None:
    """1: without TLS, which a development server on loopback takes."""
    peer = await WebSocketPeer.dial(run.host, run.port, None, run.codec)
    peer.hello(run.token)
    welcome = await peer.welcome()
    run.check("1 a development server takes a WebSocket without TLS", welcome.version == 1, welcome)
    peer.leave()


async def step_pipelined(run: WebSocketRun) -> None:
    """7: nothing needs a wait; four lanes may be there before Welcome."""
    peer = await run.connect()
    peer.hello(run.token, wire.FEATURE_DATAGRAMS)
    stream = peer.open(run.name, run.producer, wire.Live())
    frames = run.messages([b"before Welcome"])
    stream.send(*frames)
    fetches = [peer.start_fetch(run.name, wire.Latest(), 2) for _ in range(2)]
    before = run.sent[-1].seq
    sent = run.record(frames, [await stream.answers.get()])
    run.check("7 Open and Publish behind Hello work", sent[0].seq == before + 1, sent)
    run.check_events("7 and bring the event", [await stream.deliveries.get()], sent)
    pages = [await read_page(fetch) for fetch in fetches]
    run.check("7 so do fetches", all(page.end.head >= before for page in pages), pages)
    welcome = await peer.welcome()
    run.check("7 DATAGRAMS is not in force", welcome.features & wire.FEATURE_DATAGRAMS == 0, welcome)
    peer.leave()

    peer = await run.connect()
    peer.hello("")
    stream = peer.open(run.name, run.producer, wire.Live())
    stream.send(wire.Publish(run.n + 1, b"never signed in"))
    await check_closed(run, "7 behind a Hello that is refused", peer, Code.TOKEN_REJECTED)


async def step_typing(run: WebSocketRun) -> None:
    """8: typing notices."""
    sender, reader, elsewhere = [await run.login() for _ in range(3)]
    for peer in (sender, reader):
        await run.open(peer, wire.Live())
    sender.send_typing(run.name)
    typed = await reader.typing.get()
    notice = wire.TypingNotice(run.name, run.claims["sub"])
    run.check("8 typing reaches another connection", typed.notice == notice, typed)
    for peer in (sender, elsewhere):
        await peer.fetch(run.name, wire.Latest(), 1)
    run.check("8 the sender does not hear itself", sender.typing.waiting() == 0)
    run.check("8 nor does who has not opened the conversation", elsewhere.typing.waiting() == 0)
    for peer in (sender, reader, elsewhere):
        peer.leave()


async def step_roster(run: WebSocketRun) -> None:
    """9: who is here, and how far they have read."""
    name = run.side_conversation()
    first = await run.connect()
    first.hello(run.token, wire.FEATURE_ROSTER | wire.FEATURE_DATAGRAMS)
    welcome = await first.welcome()
    run.check("9 ROSTER is in force, and DATAGRAMS is not", welcome.features == wire.FEATURE_ROSTER, welcome)
    mine = first.open(name, run.producer, wire.Live())
    await mine.opened()
    me, other = run.claims["sub"], run.second_user
    roster = await mine.rosters.get()
    run.check("9 a reader is told that it is alone", roster == wire.Roster(1, (wire.Present(me, 0),)), roster)

    second = await run.login_with(run.second_token, wire.FEATURE_ROSTER)
    theirs = second.open(name, run.producer, wire.Live())
    await theirs.opened()
    mine.send(wire.Publish(1, b"to be seen"), wire.Publish(2, b"not seen"))
    seqs = [(await mine.answers.get()).seq, (await mine.answers.get()).seq]
    while (await theirs.deliveries.get()).seq < seqs[1]:
        continue
    theirs.send(wire.Seen(seqs[0]), wire.Seen(seqs[1] + 1), wire.Seen(0))
    both = wire.Roster(2, tuple(sorted((wire.Present(me, 0), wire.Present(other, seqs[0])), key=by_bytes)))
    run.check("9 Seen reaches the other, and neither goes back nor beyond the head", await comes(mine, both), both)
    run.check("9 and who has said it", await comes(theirs, both), both)

    writer = await run.login_with(run.second_token, wire.FEATURE_ROSTER)
    without = writer.open(name, run.producer, None)
    await without.opened()
    again = await run.login_with(run.second_token, wire.FEATURE_ROSTER)
    device = again.open(name, run.producer, wire.Live())
    run.check("9 a second device of a user counts once, and a writer not at all", await comes(device, both), both)
    for peer in (second, again):
        peer.leave()
    alone = wire.Roster(1, (wire.Present(me, 0),))
    run.check("9 who has left is not here", await comes(mine, alone), alone)
    without.send(wire.Seen(1))
    await check_reset(run, "9 Seen without a cursor is reset", without, Code.PROTOCOL)

    plain = await run.login_with(run.token, 0)
    stream = plain.open(name, run.producer, wire.Live())
    await stream.opened()
    stream.send(wire.Seen(1))
    await check_reset(run, "9 Seen without the feature is reset", stream, Code.PROTOCOL)
    run.check("9 nor does a Roster come then", stream.rosters.waiting() == 0)
    for peer in (first, writer, plain):
        peer.leave()


async def step_ping(run: WebSocketRun) -> None:
    """10: is the server there?"""
    peer = await run.connect()
    peer.ping(7)
    run.check("10 a Ping is answered with its number, also before Hello", await peer.pongs.get() == 7)
    peer.leave()
    peer = await run.login()
    for n in range(100, 200):
        peer.ping(n)
    pongs = [await peer.pongs.get()]
    while pongs[-1] != 199:
        pongs.append(await peer.pongs.get())
    run.check("10 of several Pings the last one is answered", set(pongs) <= set(range(100, 200)), pongs)
    peer.leave()


async def step_credit(run: WebSocketRun) -> None:
    """11: a lane that nobody reads stalls alone, and goes on where it was."""
    full, live = run.side_conversation(), run.side_conversation()
    # In JSON each of these bytes takes six, so that credit is not what the frames have.
    bodies = [f"{number:04} ".encode() + b"\x01" * 4_000 for number in range(150)]

    writer = await run.login()
    stream = writer.open(full, run.producer, None)
    other = writer.open(live, run.producer, None)
    stream.send(*(wire.Publish(n, body) for n, body in enumerate(bodies)))
    run.check("11 a client's messages wait for credit", writer.unsent(stream) > 0, writer.unsent(stream))
    acks = [await stream.answers.get() for _ in bodies]
    run.check("11 which the server gives back", [ack.seq for ack in acks] == list(range(1, 151)), acks)

    reader = await run.login()
    stalled = reader.open(full, run.producer, wire.After(0))
    reader.hold(stalled)
    going = reader.open(live, run.producer, wire.Live())
    await going.opened()
    events = []
    while reader.received(stalled) < lanes.SERVER_CREDIT:
        events.append(await stalled.deliveries.get())
    before = reader.received(stalled)
    other.send(*(wire.Publish(n, body) for n, body in enumerate(bodies)))
    beside = [(await going.deliveries.get()).kind.body for _ in bodies]
    run.check("11 beside a lane without credit another one has everything", beside == bodies, len(beside))
    run.check("11 the lane without credit has had no more", reader.received(stalled) == before, before)
    reader.release(stalled)
    while len(events) < len(bodies):
        events.append(await stalled.deliveries.get())
    got = [(event.seq, event.kind.body) for event in events]
    run.check("11 credit brings the rest, without a hole", got == list(enumerate(bodies, 1)), len(got))
    for peer in (writer, reader):
        peer.leave()

    peer = await run.login()
    stalled = peer.open(full, run.producer, wire.After(0))
    peer.hold(stalled)
    while peer.received(stalled) < lanes.SERVER_CREDIT:
        await stalled.deliveries.get()
    # Their acks have no credit either, so the server reads no more of them than may wait for acks.
    for n in range(PUBLISHES_IN_FLIGHT + 2 * lanes.CLIENT_CREDIT // 4_000):
        peer.send_part(stalled.id, lanes.Frames((wire.Publish(len(bodies) + n, bodies[0]),)))
    await check_closed(run, "11 a client that sends without credit is closed", peer, Code.PROTOCOL)


async def step_lanes(run: WebSocketRun) -> None:
    """12: how lanes begin and end."""
    peer = await run.login()
    stream, _ = await run.open(peer, wire.Live())
    peer.reset(stream, Code.CANCELLED)
    peer.send_part(stream.id, lanes.Frames((wire.Publish(run.n + 1, b"on a lane that is over"),)))
    peer.send_part(stream.id, lanes.Finish())
    peer.send_part(stream.id, lanes.Reset(Code.CANCELLED))
    peer.send_part(stream.id, lanes.Credit(1))
    page = await peer.fetch(run.name, wire.Latest(), 1)
    run.check_events("12 what comes on a lane that is over is dropped", page.events, run.sent[-1:])

    stream = peer.open(run.side_conversation(), run.producer, None)
    stream.send(wire.Publish(1, b"before Finish"))
    stream.finish()
    ack = await stream.answers.get()
    run.check("12 what was sent before Finish is acked", isinstance(ack, wire.Ack), ack)
    end = await end_or_deadline(stream.frames)
    run.check("12 and the server finishes too", isinstance(end, Finished), end)

    pages = [peer.start_fetch(run.name, wire.After(0), 1_000) for _ in range(FETCHES_AT_ONCE)]
    for page in pages:
        peer.reset(page, Code.CANCELLED)
    page = await peer.fetch(run.name, wire.Latest(), 1)
    run.check_events("12 pages that are cancelled make room", page.events, run.sent[-1:])
    peer.leave()

    welcome_max = (await login_welcome(run)).open_conversations_max
    peer = await run.login()
    streams = [peer.open(run.side_conversation(), run.producer, None) for _ in range(welcome_max)]
    for stream in streams:
        await stream.opened()
    extra = peer.open(run.side_conversation(), run.producer, None)
    await check_reset(run, "12 a conversation beyond open_conversations_max is reset", extra, Code.OVERLOADED)
    page = await peer.fetch(run.name, wire.Latest(), 1)
    run.check_events("12 and there is room for a page beside them", page.events, run.sent[-1:])
    streams[0].finish()
    await end_or_deadline(streams[0].frames)
    await peer.open(run.side_conversation(), run.producer, None).opened()
    run.check("12 one that is closed makes room", True)
    peer.leave()

    open_frame = wire.Open(run.name, run.producer, None)
    for what, lane, part in (
        ("a lane number that is left out", 2, lanes.Frames((open_frame,))),
        ("Credit on a lane that was never opened", 1, lanes.Credit(1)),
        ("Finish on a lane that was never opened", 1, lanes.Finish()),
        ("Reset on a lane that was never opened", 1, lanes.Reset(Code.CANCELLED)),
    ):
        peer = await run.login()
        peer.send_part(lane, part)
        await check_closed(run, f"12 {what} closes", peer, Code.PROTOCOL)
    for part in (lanes.Ping(1), lanes.Pong(1)):
        peer = await run.login()
        stream, _ = await run.open(peer, None)
        peer.send_part(stream.id, part)
        await check_closed(run, f"12 {type(part).__name__} beside lane 0 closes", peer, Code.PROTOCOL)
    for what, part in (("Finish", lanes.Finish()), ("Reset", lanes.Reset(Code.CLOSED))):
        peer = await run.login()
        peer.send_part(0, part)
        await check_closed(run, f"12 {what} of lane 0 ends the connection", peer, Code.CLOSED)


async def step_broken(run: WebSocketRun) -> None:
    """13: messages that are none of the protocol."""
    hello = wire.Hello(1, 0, run.token, "independent", 1, "python", "test")
    too_large = (lanes.JSON_MESSAGE_MAX if run.is_json else lanes.MESSAGE_MAX) + 1
    first_max = 16_384 if run.is_json else wire.FIRST_FRAME_MAX + 16
    for what, message in BROKEN[run.codec.subprotocol]:
        peer = await run.login()
        await run.open(peer, None)
        peer.send_message(message)
        await check_closed(run, f"13 {what} closes", peer, Code.PROTOCOL)
    peer = await run.login()
    peer.send_message(" " * too_large if run.is_json else bytes(too_large))
    await check_closed(run, "13 a message over the limit closes", peer, Code.FRAME_TOO_LARGE)
    peer = await run.connect()
    peer.send_message(" " * (first_max + 1) if run.is_json else bytes(first_max + 1))
    await check_closed(run, "13 one over the limit before Welcome closes", peer, Code.FRAME_TOO_LARGE)
    peer = await run.login()
    peer.control.send(wire.Refresh("x" * wire.FIRST_FRAME_MAX))
    await check_closed(run, "13 a control frame over its limit closes", peer, Code.FRAME_TOO_LARGE)
    peer = await run.connect()
    peer.send_part(0, lanes.Frames((wire.Publish(1, b""),)))
    await check_closed(run, "13 Publish as the connection's first frame closes", peer, Code.PROTOCOL)
    peer = await run.login()
    peer.send_part(0, lanes.Frames((hello,)))
    await check_closed(run, "13 a second Hello closes", peer, Code.PROTOCOL)

    peer = await run.login()
    for what, message in BROKEN_FRAMES[run.codec.subprotocol]:
        stream, _ = await run.open(peer, None)
        peer.send_message(message(stream.id))
        await check_reset(run, f"13 {what} resets its lane", stream, Code.PROTOCOL)
    stream = Stream(peer, wire.Publish(run.n + 3, b""))
    await check_reset(run, "13 Publish as a lane's first frame is reset", stream, Code.PROTOCOL)
    stream, _ = await run.open(peer, None)
    stream.send(wire.Open(run.name, 1, None))
    await check_reset(run, "13 Open on an open lane is reset", stream, Code.PROTOCOL)
    stream, _ = await run.open(peer, None)
    stream.send(wire.Publish(run.n + 2, b"", origin_time_ms=1))
    await check_reset(run, "13 origin_time_ms without publish_as is reset", stream, Code.PROTOCOL)
    if run.is_json:
        # A message of postcard has no room for such a frame.
        stream, _ = await run.open(peer, None)
        stream.send(wire.Publish(run.n + 2, b"x" * (wire.FRAME_MAX + 1)))
        await check_reset(run, "13 a frame over its limit is reset", stream, Code.FRAME_TOO_LARGE)
    page = await peer.fetch(run.name, wire.Latest(), 1)
    run.check_events("13 the connection lives on, and nothing was stored", page.events, run.sent[-1:])
    peer.leave()


async def step_bodies(run: WebSocketRun) -> None:
    """14: bodies of all kinds come as they were sent, whatever a message looks like."""
    peer = await run.login()
    stream, _ = await run.open(peer, wire.Live())
    bodies = [
        "ä€😀\u2028".encode(),
        b'"\\/\b\f\n\r\t',
        bytes(range(128)),
        b"\xff\xfe",
        b"\xed\xa0\x80",
        b"\x01" * wire.BODY_MAX,
        b"\xff" * wire.BODY_MAX,
        "😀".encode() * (wire.BODY_MAX // 4),
    ]
    sent = await run.publish(stream, *bodies)
    run.check_events("14 bodies come as they were sent", [await stream.deliveries.get() for _ in sent], sent)
    if run.is_json:
        await check_written_forms(run, peer, stream)
    peer.leave()


async def check_written_forms(run: WebSocketRun, peer: WebSocketPeer, stream: Conversation) -> None:
    """The forms of JSON between which a client may choose."""
    for body, written in (
        (b"text as base64", '{"base64":"dGV4dCBhcyBiYXNlNjQ="}'),
        (b"", '{"base64":""}'),
        ("😀".encode(), '"\\ud83d\\ude00"'),
        (b"\0", '"\\u0000"'),
    ):
        ((frame),) = run.messages([body])
        peer.send_message(f' {{ "publish" : {{ "body":{written}, "n":{frame.n}, "publish_as":null }}, "lane":{stream.id} }} ')
        sent = run.record([frame], [await stream.answers.get()])
        run.check_events(f"14 a body may be written {written}", [await stream.deliveries.get()], sent)


async def step_hello_timeout(run: WebSocketRun) -> None:
    """15: who says nothing."""
    peer = await run.connect()
    await asyncio.sleep(1)
    await check_closed(run, "15 a WebSocket without a Hello is closed", peer, Code.HELLO_TIMEOUT)


def postcard_frame(lane: int, body: bytes) -> bytes:
    """A frame that need not be one, with its length."""
    return wire.U32.encode(lane) + b"\0" + wire.encode_length(len(body)) + body


# What closes the connection when lane 1 is open.
BROKEN: dict[str, list[tuple[str, str | bytes]]] = {
    "quoth.v1.json": [
        ("a binary message", b'{"lane":0,"ping":{"n":1}}'),
        ("an empty message", ""),
        ("no JSON", '{"lane":0'),
        ("no object", "[]"),
        ("no lane", '{"ping":{"n":1}}'),
        ("a lane alone", '{"lane":1}'),
        ("a lane that is no number", '{"lane":"1","read":{"from":null}}'),
        ("a lane beyond u32", '{"lane":4294967296,"ping":{"n":1}}'),
        ("two parts", '{"lane":0,"ping":{"n":1},"pong":{"n":1}}'),
        ("two messages in one", '{"lane":0,"ping":{"n":1}}{"lane":0,"ping":{"n":1}}'),
        ("a part without its field", '{"lane":0,"ping":{}}'),
        ("a part with an unknown member", '{"lane":0,"ping":{"n":1,"m":2}}'),
        ("an unknown frame on lane 0", '{"lane":0,"wave":{}}'),
        ("an unknown frame on lane 1", '{"lane":1,"wave":{}}'),
        ("a server's frame", '{"lane":1,"opened":{"head":1,"floor":1}}'),
        ("a frame without a field", '{"lane":1,"publish":{"n":1}}'),
        ("a frame with an unknown member", '{"lane":1,"publish":{"n":1,"body":"","x":1}}'),
        ("a fraction", '{"lane":1,"publish":{"n":1.5,"body":""}}'),
        ("a negative number", '{"lane":1,"publish":{"n":-1,"body":""}}'),
        ("a number beyond u64", '{"lane":1,"publish":{"n":18446744073709551616,"body":""}}'),
        ("a body that is no base64", '{"lane":1,"publish":{"n":1,"body":{"base64":"!"}}}'),
        ("base64 without padding", '{"lane":1,"publish":{"n":1,"body":{"base64":"YQ"}}}'),
        ("half a surrogate pair", '{"lane":1,"publish":{"n":1,"body":"\\ud800"}}'),
        ("an option that is no option", '{"lane":1,"read":{"from":{"first":1}}}'),
    ],
    "quoth.v1.postcard": [
        ("a text message", '{"lane":0,"ping":{"n":1}}'),
        ("an empty message", b""),
        ("a lane alone", b"\x01"),
        ("a part that nobody has", b"\x00\x06"),
        ("no frame in Frames", b"\x01\x00"),
        ("a frame that is cut off", b"\x01\x00\x05\x03"),
        ("a part with bytes behind it", b"\x00\x04\x01\x00"),
        ("a lane that is not in its shortest form", b"\x80\x00\x04\x01"),
        ("an unknown variant on lane 0", b"\x00\x00" + scenario.UNKNOWN_VARIANT),
    ],
}

# What resets its lane. With JSON a frame is decoded with its message, so nothing is broken within a lane alone.
BROKEN_FRAMES: dict[str, list[tuple[str, Callable[[int], bytes]]]] = {
    "quoth.v1.json": [],
    "quoth.v1.postcard": [
        ("garbage", lambda lane: postcard_frame(lane, b"\x04\x80")),
        ("an empty frame", lambda lane: postcard_frame(lane, b"")),
        ("an unknown variant", lambda lane: postcard_frame(lane, b"\x63\x00")),
    ],
}


async def login_welcome(run: WebSocketRun) -> wire.Welcome:
    """What a sign-in is answered with."""
    peer = await run.connect()
    peer.hello(run.token)
    welcome = await peer.welcome()
    peer.leave()
    return welcome


async def comes(stream: Conversation, roster: wire.Roster) -> bool:
    """Whether this roster is among those that come in time."""
    while await stream.rosters.get() != roster:
        continue
    return True


def by_bytes(present: wire.Present) -> bytes:
    """The order of a roster."""
    return present.user.encode()


def get_json(url: str, context: ssl.SSLContext) -> Any:
    """What a GET is answered with."""
    with urllib.request.urlopen(url, context=context, timeout=TOTAL_S) as answer:
        return json.load(answer)


async def handshake(run: WebSocketRun, **options: Any) -> int | tuple[str | None, list[Any]]:
    """The status with which the server refuses a handshake, or the subprotocol and the extensions that it takes."""
    options = {"subprotocols": [run.codec.subprotocol], "compression": None, **options}
    url = f"wss://{run.host}:{run.port}{PATH}"
    try:
        async with connect(url, ssl=tls(run.ca), proxy=None, **options) as socket:
            return socket.subprotocol, list(socket.protocol.extensions)
    except websockets.InvalidStatus as refused:
        return refused.response.status_code


STEPS = [
    step_handshake,
    step_plain,
    scenario.step_login,
    scenario.step_publish,
    scenario.step_repeat,
    scenario.step_reconnect,
    scenario.step_history,
    scenario.step_starts,
    scenario.step_refusals,
    step_pipelined,
    step_typing,
    step_roster,
    step_ping,
    step_credit,
    step_lanes,
    step_broken,
    step_bodies,
    *members_steps.STEPS,
    step_hello_timeout,
]


if __name__ == "__main__":
    PARSER = parser(__doc__)
    PARSER.add_argument("--subprotocol", choices=SUBPROTOCOLS, default=lanes.JSON.subprotocol)
    sys.exit(asyncio.run(run_all(WebSocketRun(PARSER.parse_args()), STEPS)))
