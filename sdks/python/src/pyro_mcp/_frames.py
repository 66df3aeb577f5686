"""Frames: how a streaming operation is laid out in the bodies of one HTTP exchange. Pure, no I/O.

A frame is one byte of kind, the length of its payload as 32 bits little-endian, and the payload. Long JSON is several
frames on the wire and one here: a full frame of JSON goes on in the next frame of its kind.
"""

from __future__ import annotations

from typing import NamedTuple

REQUEST = 0
STDIN = 1
STDIN_EOF = 2
STDOUT = 3
STDERR = 4
EVENT = 5
RESULT = 6
ERROR = 7
CANCEL = 8
STDIN_CREDIT = 9

_JSON_KINDS = frozenset({REQUEST, EVENT, RESULT, ERROR})
_KNOWN_KINDS = range(10)

#: Largest payload of one frame on the wire.
MAX_PAYLOAD_BYTES = 64 * 1024
#: Longest JSON.
MAX_JSON_BYTES = 4 * 1024 * 1024
#: Standard input that may be sent before the daemon has given credit.
STDIN_WINDOW_BYTES = 4 * MAX_PAYLOAD_BYTES

_HEADER_BYTES = 5


class FrameError(ValueError):
    """Bytes that are no frames, or a payload that no frame can carry."""


class Truncated(FrameError):
    """The body ended inside of a frame."""


class Frame(NamedTuple):
    """One unit of a streaming body."""

    kind: int
    payload: bytes

    def credit(self) -> int:
        """Bytes of standard input that a credit frame gives; none if its payload is no number."""
        return int.from_bytes(self.payload, "little") if len(self.payload) == 4 else 0


def encode(kind: int, payload: bytes = b"") -> bytes:
    """A frame as bytes."""
    most_bytes = MAX_JSON_BYTES if kind in _JSON_KINDS else MAX_PAYLOAD_BYTES
    if len(payload) > most_bytes:
        raise FrameError(f"frame of {len(payload)} bytes, more than allowed")
    encoded = bytearray()
    at = 0
    while True:
        piece = payload[at : at + MAX_PAYLOAD_BYTES]
        encoded.append(kind)
        encoded += len(piece).to_bytes(4, "little")
        encoded += piece
        at += len(piece)
        if not _goes_on_after(kind, len(piece)):
            return bytes(encoded)


def _goes_on_after(kind: int, piece_bytes: int) -> bool:
    return kind in _JSON_KINDS and piece_bytes == MAX_PAYLOAD_BYTES


class Decoder:
    """Turns bytes, cut anywhere, into frames. After an error nothing more can be had."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._begun: tuple[int, bytearray] | None = None

    def push(self, data: bytes) -> None:
        """Takes the next bytes of the body."""
        self._buffer += data

    def next_frame(self) -> Frame | None:
        """The next whole frame, or nothing until more is pushed."""
        while (piece := self._next_piece()) is not None:
            kind, payload = piece
            if self._begun is not None:
                begun_kind, begun = self._begun
                if begun_kind != kind:
                    raise FrameError("a frame of another kind inside of long JSON")
                begun += payload
                self._begun = None
                whole = bytes(begun)
            else:
                whole = payload
            if len(whole) > MAX_JSON_BYTES:
                raise FrameError(f"frame of {len(whole)} bytes, more than allowed")
            if not _goes_on_after(kind, len(payload)):
                return Frame(kind, whole)
            self._begun = (kind, bytearray(whole))
        return None

    def finish(self) -> None:
        """Says whether the body may end here."""
        if self._buffer or self._begun is not None:
            raise Truncated("body ended inside a frame")

    def _next_piece(self) -> tuple[int, bytes] | None:
        buffer = self._buffer
        if not buffer:
            return None
        kind = buffer[0]
        if kind not in _KNOWN_KINDS:
            raise FrameError(f"frame of unknown kind {kind}")
        if len(buffer) < _HEADER_BYTES:
            return None
        length = int.from_bytes(buffer[1:_HEADER_BYTES], "little")
        if length > MAX_PAYLOAD_BYTES:
            raise FrameError(f"frame of {length} bytes, more than allowed")
        end = _HEADER_BYTES + length
        if len(buffer) < end:
            return None
        payload = bytes(buffer[_HEADER_BYTES:end])
        del buffer[:end]
        return kind, payload
