"""Checks `quoth_wire`, `quoth_lanes` and `quoth_json` against protocol/golden: bytes in frames.txt, JSON in json.txt. Exits 0 when all of them agree.

    python check_golden.py [FRAMES_FILE [JSON_FILE]]
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Iterator

import quoth_lanes as lanes
import quoth_members as members
import quoth_wire as wire
from quoth_json import client_frame_to_json

GOLDEN = Path(__file__).resolve().parents[2] / "protocol" / "golden" / "frames.txt"
GOLDEN_JSON = GOLDEN.with_name("json.txt")
SIDES = {"client": wire.CLIENT_FRAME, "server": wire.SERVER_FRAME}

# What a client may leave out besides options that are none.
LEFT_OUT = [("mentions", []), ("expires_in_ms", 0)]

# What section 2 says does not decode, as bodies without a length.
NOT_FRAMES = {
    "an empty frame": (wire.CLIENT_FRAME, ""),
    "a varint that is not in its shortest form": (wire.CLIENT_FRAME, "048700" + "00" + "0000" + "000000"),
    "a variant number of six bytes": (wire.CLIENT_FRAME, "848080808000" + "00"),
    "a u16 of 65,536": (wire.CLIENT_FRAME, "00808004" + "00" + "00" + "0161" + "00" + "00" + "00"),
    "a u64 of 65 bits": (wire.CLIENT_FRAME, "04" + "ffffffffffffffffff02" + "00" + "0000" + "000000"),
    "an option with tag 2": (wire.CLIENT_FRAME, "0302"),
    "a bool of 2": (wire.SERVER_FRAME, "0501010002"),
    "a Start beyond the last variant": (wire.CLIENT_FRAME, "030103"),
    "a FetchRange beyond the last variant": (wire.CLIENT_FRAME, "050161" + "0701" + "01"),
    "a mention that is no user id": (wire.CLIENT_FRAME, "0401" + "00" + "0000" + "00" + "0100" + "00"),
    "a durability beyond the last variant": (wire.SERVER_FRAME, "0001000161" + "02" + "00" + "00" + "00"),
    "a text that is not UTF-8": (wire.CLIENT_FRAME, "0101ff"),
    "a text longer than its frame": (wire.CLIENT_FRAME, "010a61"),
    "an empty conversation name": (wire.CLIENT_FRAME, "0600"),
    "a conversation name of 129 bytes": (wire.CLIENT_FRAME, "068101" + "61" * 129),
    "a conversation name with a control character": (wire.CLIENT_FRAME, "0602c285"),
    "a request beyond the last variant": (wire.CLIENT_FRAME, "0801" + "1e"),
    "a role beyond the last variant": (wire.CLIENT_FRAME, "0801" + "03" + "0161" + "0161" + "04" + "00"),
    "a hash of 15 bytes": (wire.SERVER_FRAME, "0401010161" + "00" + "08" + "0f" + "00" * 15 + "000000"),
    "a user id of 65 bytes": (wire.SERVER_FRAME, "090161" + "41" + "61" * 65),
}


def main() -> int:
    """Runs every check and prints a line for each that fails, then the count."""
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else GOLDEN
    json_path = Path(sys.argv[2]) if len(sys.argv) > 2 else GOLDEN_JSON
    failures: list[str] = []
    lines = list(golden_lines(path))
    for side, label, data in lines:
        failures += [f"{side} {label}: {fault}" for fault in faults_of_line(SIDES[side], label, data)]
    if not failures:
        failures += [f"{side}: {fault}" for side in SIDES for fault in faults_of_cuts(side, lines)]
        failures += list(faults_of_json(json_path, lines))
    failures += list(faults_of_coverage(lines))
    failures += list(faults_of_not_frames())
    failures += list(faults_of_limits())
    failures += list(faults_of_growth())
    failures += list(faults_of_names())
    for failure in failures:
        print(f"FAIL {failure}")
    print(f"{len(lines)} golden frames, {len(NOT_FRAMES)} refused ones: {len(failures)} failures")
    return 1 if failures or not lines else 0


def golden_lines(path: Path) -> Iterator[tuple[str, str, bytes]]:
    """Side, label and bytes of every frame's line; messages of a WebSocket are not checked here."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            side, label, data = (part.strip() for part in line.split("|"))
            if side in SIDES:
                yield side, label, bytes.fromhex(data)


def faults_of_line(side: wire.Type, label: str, data: bytes) -> Iterator[str]:
    """One golden frame: decodes as what its label names, encodes to the same bytes, and not when cut or longer."""
    try:
        frames = wire.FrameDecoder(side).feed(data)
    except wire.WireError as error:
        yield f"does not decode: {error}"
        return
    if len(frames) != 1:
        yield f"{len(frames)} frames instead of 1"
        return
    frame = frames[0]
    if not type(frame).__name__.startswith(label.split()[0]):
        yield f"decodes as {frame}"
    if wire.encode_frame(side, frame) != data:
        yield f"encodes to {wire.encode_frame(side, frame).hex()}"
    body = wire.encode_body(side, frame)
    for cut in [*(body[:end] for end in range(len(body))), body + b"\x00"]:
        if not refuses(side, cut):
            yield f"also decodes with {len(cut)} bytes instead of {len(body)}"


def faults_of_cuts(side: str, lines: list[tuple[str, str, bytes]]) -> Iterator[str]:
    """All frames of a side as one stream, cut in two at every place and fed byte by byte."""
    stream = b"".join(data for of, _, data in lines if of == side)
    whole = wire.FrameDecoder(SIDES[side]).feed(stream)
    cuts = [[stream[:at], stream[at:]] for at in range(len(stream))]
    cuts.append([stream[at : at + 1] for at in range(len(stream))])
    for pieces in cuts:
        decoder = wire.FrameDecoder(SIDES[side])
        frames = [frame for piece in pieces for frame in decoder.feed(piece)]
        if frames != whole or not decoder.at_frame_end():
            yield f"a stream cut at {len(pieces[0])} gives other frames"


def faults_of_json(path: Path, lines: list[tuple[str, str, bytes]]) -> Iterator[str]:
    """Every golden frame as JSON: what a server says is read as the same frame, and what a client says is written so."""
    texts = [line.split(" | ", 2) for line in path.read_text(encoding="utf-8").splitlines() if line[0] != "#"]
    if [(side, label) for side, label, _ in texts] != [(side, label) for side, label, _ in lines]:
        yield f"{path.name} has other frames than the bytes"
        return
    for (side, label, data), (_, _, text) in zip(lines, texts):
        (frame,) = wire.FrameDecoder(SIDES[side]).feed(data)
        try:
            if side == "server":
                read = lanes.JSON.decode('{"lane":1,' + text[1:])
                if read != (1, lanes.Frames((frame,))):
                    yield f"{label}: {text} is read as {read}"
            elif (written := filled(client_frame_to_json(frame), json.loads(text))) != json.loads(text):
                yield f"{label}: written as {written} instead of {text}"
        except wire.WireError as error:
            yield f"{label}: {text}: {error}"


def filled(written: dict[str, Any], expected: dict[str, Any]) -> dict[str, Any]:
    """A client's frame with the members that say nothing and may be left out."""
    (inner,) = expected.values()
    none = {key: value for key, value in inner.items() if value is None or (key, value) in LEFT_OUT}
    return {key: {**none, **value} for key, value in written.items()}


def faults_of_coverage(lines: list[tuple[str, str, bytes]]) -> Iterator[str]:
    """Every variant of each side, and of what a frame is about, has a golden line."""
    for side, count in (("client", 10), ("server", 16)):
        numbers = {frame_number(data) for of, _, data in lines if of == side}
        if numbers != set(range(count)):
            yield f"{side}: golden frames for the variants {sorted(numbers)} instead of 0 to {count - 1}"
    frames = [frame for side, _, data in lines for frame in wire.FrameDecoder(SIDES[side]).feed(data)]
    kinds = {type(frame.kind) for frame in frames if isinstance(frame, wire.Event)}
    requests = {type(frame.request) for frame in frames if isinstance(frame, wire.Request)}
    replies = {type(frame.reply) for frame in frames if isinstance(frame, wire.Reply)}
    if (len(kinds), len(requests), len(replies)) != (19, 30, 13) or wire.UnknownKind in kinds:
        yield f"golden frames for {len(kinds)} kinds, {len(requests)} requests and {len(replies)} replies"


def faults_of_not_frames() -> Iterator[str]:
    """What does not decode by section 2."""
    for what, (side, body) in NOT_FRAMES.items():
        if not refuses(side, bytes.fromhex(body)):
            yield f"{what} decodes"


def faults_of_limits() -> Iterator[str]:
    """Lengths at and over the limits, and lengths of a wrong form."""
    over = [(wire.FRAME_MAX, wire.encode_length(wire.FRAME_MAX + 1)), (8_192, wire.encode_length(8_193))]
    for limit, prefix in over:
        try:
            wire.FrameDecoder(wire.CLIENT_FRAME, first_frame_max=limit).feed(prefix)
            yield f"a length over {limit} is taken"
        except wire.FrameTooLarge:
            pass
    for prefix in (b"\x8a\x00", b"\xff\xff\xff\x01"):
        try:
            wire.FrameDecoder(wire.CLIENT_FRAME).feed(prefix)
            yield f"the length {prefix.hex()} is taken"
        except wire.WireError:
            pass
    users = tuple(f"{number:064}" for number in range(wire.MENTIONS_MAX))
    largest = wire.Publish(
        2**64 - 1, bytes(wire.BODY_MAX), "u" * 64, 2**64 - 1, 2**64 - 1, users, 2**64 - 1
    )
    encoded = wire.encode_frame(wire.CLIENT_FRAME, largest)
    if wire.FrameDecoder(wire.CLIENT_FRAME).feed(encoded) != [largest]:
        yield "the largest publish does not fit into a frame"


def faults_of_growth() -> Iterator[str]:
    """Frames of unknown variants are skipped, events of unknown kinds are kept with their seq."""
    unknown = bytes.fromhex("03" + "7fff77")
    known = wire.encode_frame(wire.SERVER_FRAME, wire.TokenExpiring(5))
    if wire.FrameDecoder(wire.SERVER_FRAME).feed(unknown + known) != [wire.TokenExpiring(5)]:
        yield "a frame of an unknown variant is not skipped"
    event = wire.Event(7, 1, "alice", None, wire.UnknownKind(99, b"\x01\x02"))
    if wire.FrameDecoder(wire.SERVER_FRAME).feed(wire.encode_frame(wire.SERVER_FRAME, event)) != [event]:
        yield "an event of an unknown kind is not kept"


def faults_of_names() -> Iterator[str]:
    """Names and hashes that everybody must make alike."""
    if members.direct_name("bob", "alice") != "direct/65531a8eefea7b93693a6f811dfcd740":
        yield "the name of a direct conversation is another one"
    if members.invitation_hash("abc").hex() != "ba7816bf8f01cfea414140de5dae2223":
        yield "the hash of an invitation is another one"


def refuses(side: wire.Type, body: bytes) -> bool:
    """Whether `body` does not decode."""
    try:
        wire.decode_body(side, body)
    except wire.UnknownVariant:
        return False
    except wire.WireError:
        return True
    return False


def frame_number(data: bytes) -> int:
    """The variant number of a frame with its length in front."""
    reader = wire.Reader(data)
    wire.decode_varint(reader, 7 * wire.LENGTH_BYTES_MAX)
    return wire.U32.decode(reader)


if __name__ == "__main__":
    sys.exit(main())
