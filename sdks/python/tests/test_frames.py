"""The codec of frames against golden bytes, those of the daemon's own tests."""

from __future__ import annotations

import unittest

from pyro_mcp import _frames
from pyro_mcp._frames import Decoder, Frame, FrameError, Truncated, encode


def decode(*pieces: bytes) -> list[Frame]:
    decoder = Decoder()
    frames = []
    for piece in pieces:
        decoder.push(piece)
        while (frame := decoder.next_frame()) is not None:
            frames.append(frame)
    decoder.finish()
    return frames


class Frames(unittest.TestCase):
    def test_the_layout_is_the_documented_one(self) -> None:
        self.assertEqual(encode(_frames.STDOUT, b"hi"), bytes([3, 2, 0, 0, 0]) + b"hi")
        self.assertEqual(encode(_frames.CANCEL), bytes([8, 0, 0, 0, 0]))
        self.assertEqual(decode(bytes([9, 4, 0, 0, 0, 0, 0, 1, 0])), [Frame(_frames.STDIN_CREDIT, b"\0\0\1\0")])
        self.assertEqual(Frame(_frames.STDIN_CREDIT, b"\0\0\1\0").credit(), 65536)
        self.assertEqual(Frame(_frames.STDIN_CREDIT, b"\0\0\1").credit(), 0)

    def test_frames_survive_any_cut(self) -> None:
        frames = [
            Frame(_frames.STDOUT, b"out"),
            Frame(_frames.EVENT, b"{}"),
            Frame(_frames.STDERR, b""),
            Frame(_frames.RESULT, b'{"a":1}'),
        ]
        data = b"".join(encode(*frame) for frame in frames)
        for size in range(1, len(data) + 1):
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            self.assertEqual(decode(*pieces), frames, size)

    def test_long_json_is_one_frame(self) -> None:
        full = _frames.MAX_PAYLOAD_BYTES
        for length in (full - 1, full, full + 1, 3 * full):
            encoded = encode(_frames.REQUEST, b" " * length)
            self.assertEqual(len(encoded), length + 5 * (1 + length // full))
            self.assertEqual(decode(encoded), [Frame(_frames.REQUEST, b" " * length)])
        # Bytes of output are no JSON, and a full frame of them is whole.
        self.assertEqual(len(decode(encode(_frames.STDOUT, b" " * full))), 1)

    def test_a_body_that_breaks_off_is_noticed(self) -> None:
        encoded = encode(_frames.STDOUT, b"hi")
        for cut in range(1, len(encoded)):
            with self.assertRaises(Truncated):
                decode(encoded[:cut])
        with self.assertRaises(Truncated):
            decode(bytes([_frames.EVENT]) + _frames.MAX_PAYLOAD_BYTES.to_bytes(4, "little") + b" " * _frames.MAX_PAYLOAD_BYTES)

    def test_what_is_no_frame_is_refused(self) -> None:
        event = bytes([_frames.EVENT]) + _frames.MAX_PAYLOAD_BYTES.to_bytes(4, "little") + b" " * _frames.MAX_PAYLOAD_BYTES
        for bad in (
            bytes([10]),
            bytes([3, 1, 0, 1, 0]),
            event + encode(_frames.STDOUT, b"x"),
            event * (_frames.MAX_JSON_BYTES // _frames.MAX_PAYLOAD_BYTES + 1),
        ):
            with self.assertRaises(FrameError):
                decode(bad)
        for kind, length in ((_frames.STDIN, _frames.MAX_PAYLOAD_BYTES), (_frames.REQUEST, _frames.MAX_JSON_BYTES)):
            with self.assertRaises(FrameError):
                encode(kind, b" " * (length + 1))


if __name__ == "__main__":
    unittest.main()
