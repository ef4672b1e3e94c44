"""Values of the Quoth protocol to bytes and back (section 2 of docs/PROTOCOL.md). Pure: no sockets, no clock."""

from __future__ import annotations

import enum
import unicodedata
from dataclasses import dataclass, fields
from typing import Any, Callable


class WireError(Exception):
    """The bytes are no frame of this protocol, or a value cannot be put into one."""


class FrameTooLarge(WireError):
    """A frame's length is over the limit in force."""


class UnknownVariant(WireError):
    """The variant number is none of version 1. Carries the number and the bytes that follow it."""

    def __init__(self, number: int, payload: bytes):
        super().__init__(f"variant {number} is unknown")
        self.number = number
        self.payload = payload


class Reader:
    """The bytes of one frame, read from front to back."""

    def __init__(self, data: bytes):
        self._data = data
        self._at = 0

    def take(self, count: int) -> bytes:
        """The next `count` bytes; `WireError` when there are fewer."""
        end = self._at + count
        if end > len(self._data):
            raise WireError(f"the frame ends {end - len(self._data)} bytes too early")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def rest(self) -> bytes:
        """All bytes that are left."""
        return self.take(len(self._data) - self._at)

    def finish(self) -> None:
        """`WireError` when bytes are left."""
        left = len(self._data) - self._at
        if left:
            raise WireError(f"{left} bytes too many behind the frame's last field")


@dataclass(frozen=True)
class Type:
    """How values of one type are written and read."""

    encode: Callable[[Any], bytes]
    decode: Callable[[Reader], Any]


def encode_varint(value: int, bits: int) -> bytes:
    """The shortest varint of an unsigned integer of `bits` bits."""
    if not 0 <= value < 1 << bits:
        raise WireError(f"{value} does not fit into {bits} bits")
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(reader: Reader, bits: int) -> int:
    """A varint in its shortest form whose value fits into `bits` bits."""
    value = 0
    for place in range(-(-bits // 7)):
        byte = reader.take(1)[0]
        value |= (byte & 0x7F) << 7 * place
        if byte & 0x80:
            continue
        if place and not byte:
            raise WireError("a varint is not in its shortest form")
        if value >> bits:
            raise WireError(f"a varint does not fit into {bits} bits")
        return value
    raise WireError(f"a varint of {bits} bits has too many bytes")


def unsigned(bits: int) -> Type:
    """An unsigned integer of `bits` bits."""
    return Type(lambda value: encode_varint(value, bits), lambda reader: decode_varint(reader, bits))


U16, U32, U64 = unsigned(16), unsigned(32), unsigned(64)
SEQ = U64


def _decode_flag(reader: Reader) -> bool:
    byte = reader.take(1)[0]
    if byte > 1:
        raise WireError(f"{byte} is neither 0 nor 1")
    return byte == 1


BOOL = Type(lambda value: b"\x01" if value else b"\x00", _decode_flag)
BYTES = Type(
    lambda value: U64.encode(len(value)) + value,
    lambda reader: reader.take(U64.decode(reader)),
)


def fixed_bytes(count: int) -> Type:
    """Exactly `count` bytes, with their length in front."""

    def checked(value: bytes) -> bytes:
        if len(value) != count:
            raise WireError(f"{len(value)} bytes instead of {count}")
        return value

    return Type(lambda value: BYTES.encode(checked(value)), lambda reader: checked(BYTES.decode(reader)))


def _decode_text(reader: Reader) -> str:
    try:
        return BYTES.decode(reader).decode("utf-8")
    except UnicodeDecodeError as error:
        raise WireError(f"a text is not UTF-8: {error}") from error


TEXT = Type(lambda value: BYTES.encode(value.encode("utf-8")), _decode_text)


def identifier(bytes_max: int) -> Type:
    """A text of 1 to `bytes_max` bytes without control characters."""

    def checked(value: str) -> str:
        if not 1 <= len(value.encode("utf-8")) <= bytes_max:
            raise WireError(f"an identifier must have 1 to {bytes_max} bytes")
        if any(unicodedata.category(char) == "Cc" for char in value):
            raise WireError("an identifier has a control character")
        return value

    return Type(lambda value: TEXT.encode(checked(value)), lambda reader: checked(TEXT.decode(reader)))


CONVERSATION, USER, DEVICE = identifier(128), identifier(64), identifier(64)


def option(inner: Type) -> Type:
    """A value or `None`."""
    return Type(
        lambda value: b"\x00" if value is None else b"\x01" + inner.encode(value),
        lambda reader: inner.decode(reader) if BOOL.decode(reader) else None,
    )


def struct(cls: type, *types: Type) -> Type:
    """A dataclass, its fields one after the other."""
    assert len(fields(cls)) == len(types), cls
    return Type(
        lambda value: b"".join(t.encode(getattr(value, f.name)) for f, t in zip(fields(value), types)),
        lambda reader: cls(*(t.decode(reader) for t in types)),
    )


def list_of(inner: Type) -> Type:
    """Any number of values."""
    return Type(
        lambda values: U64.encode(len(values)) + b"".join(map(inner.encode, values)),
        lambda reader: tuple(inner.decode(reader) for _ in range(U64.decode(reader))),
    )


def variants(*table: tuple[type, tuple[Type, ...]], skippable: bool = False) -> Type:
    """An enum whose variants are dataclasses, numbered from 0.

    A number beyond the table is `UnknownVariant` when `skippable`, for enums that fill the rest of their frame and may
    grow; otherwise it is a `WireError` like any other.
    """
    numbers = {cls: number for number, (cls, _) in enumerate(table)}
    for cls, types in table:
        assert len(fields(cls)) == len(types), cls

    def encode(value: Any) -> bytes:
        number = numbers[type(value)]
        values = (getattr(value, field.name) for field in fields(value))
        return U32.encode(number) + b"".join(t.encode(v) for t, v in zip(table[number][1], values))

    def decode(reader: Reader) -> Any:
        number = U32.decode(reader)
        if number >= len(table):
            raise UnknownVariant(number, reader.rest()) if skippable else WireError(f"variant {number} is unknown")
        cls, types = table[number]
        return cls(*(t.decode(reader) for t in types))

    return Type(encode, decode)


def numbers(cls: type[enum.IntEnum]) -> Type:
    """An enum without fields."""

    def decode(reader: Reader) -> Any:
        number = U32.decode(reader)
        try:
            return cls(number)
        except ValueError as error:
            raise WireError(f"{cls.__name__} {number} is unknown") from error

    return Type(U32.encode, decode)
