"""What attacks have in common: their arguments, how long they go on, and what is told of them."""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from typing import Iterable

# On a busy machine an attacker, whose priority is the least, may not get to anything in the time that it was given.
FRAMES_MIN = 100
LONGEST_S = 60.0


class Run:
    """An attack by one connection after the other."""

    def __init__(self, doc: str | None, attacks: Iterable[str]) -> None:
        parser = argparse.ArgumentParser(description=doc)
        parser.add_argument("--server", required=True)
        parser.add_argument("--ca", help="of the server's certificate; WebSockets go without TLS, as in development")
        parser.add_argument("--token", required=True)
        parser.add_argument("--attack", required=True, choices=list(attacks))
        parser.add_argument("--seconds", type=float, required=True)
        parser.add_argument("--closed", help=f"go on until a connection has ended so, for {LONGEST_S:g} s at the most")
        self.args = parser.parse_args()
        self._began = time.monotonic()
        self._ends: Counter[str] = Counter()
        self._frames = 0

    def goes_on(self) -> bool:
        closed = self.args.closed
        waits = closed is not None and not any(closed in end for end in self._ends)
        waits |= self._frames < FRAMES_MIN
        return time.monotonic() - self._began < (LONGEST_S if waits else self.args.seconds)

    def has_sent(self, frames: int) -> None:
        self._frames += frames

    def has_ended(self, end: str) -> None:
        """A connection has."""
        self._ends[end] += 1

    def report(self) -> None:
        print(json.dumps({"attack": self.args.attack, "frames": self._frames, "ends": self._ends}))
