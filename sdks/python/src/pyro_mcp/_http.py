"""As much of HTTP/1.1 as it takes to ask the daemon: one request and one response for each connection. Pure, no I/O."""

from __future__ import annotations

from typing import Final

#: Version of the contract that this package speaks; the daemon refuses what it does not.
API_VERSION: Final = 1
JSON: Final = "application/json"
FRAMES: Final = "application/vnd.pyro.frames"

_MAX_HEAD_BYTES = 64 * 1024
_MAX_CHUNK_LINE_BYTES = 1024


class HttpError(ValueError):
    """A response that is none."""


class Incomplete(HttpError):
    """The connection ended before the response did."""


def request_head(path: str, media_type: str, length: int | None) -> bytes:
    """The head of a request with a body of that length, or in chunks."""
    body = "transfer-encoding: chunked" if length is None else f"content-length: {length}"
    return (
        f"POST {path} HTTP/1.1\r\nhost: pyro\r\npyro-api-version: {API_VERSION}\r\n"
        f"content-type: {media_type}\r\n{body}\r\n\r\n"
    ).encode("ascii")


def chunk(data: bytes) -> bytes:
    """A part of a request's body that is sent in chunks."""
    return b"%x\r\n%b\r\n" % (len(data), data)


class Response:
    """Takes the bytes of a response, cut anywhere, and gives those of its body."""

    def __init__(self) -> None:
        #: Status code, once the head has come.
        self.status = 0
        #: Whether the body has come to its end.
        self.ended = False
        self._buffer = bytearray()
        self._chunked = False
        #: Bytes of the body, or of the chunk at hand, that are still to come; none: until the connection ends.
        self._remaining: int | None = 0
        self._after_chunk = False
        self._in_trailer = False

    def feed(self, data: bytes) -> bytes:
        """The next bytes of the body."""
        self._buffer += data
        while not self.status:
            end = self._buffer.find(b"\r\n\r\n")
            self._bound(end if end >= 0 else len(self._buffer), _MAX_HEAD_BYTES)
            if end < 0:
                return b""
            head = bytes(self._buffer[:end])
            del self._buffer[: end + 4]
            self._read_head(head)
        return self._read_chunks() if self._chunked else self._read_plain()

    def finish(self) -> None:
        """The connection has ended. Fails if the response has not."""
        if self.status and not self._chunked and self._remaining is None:
            self.ended = True
        if not self.ended:
            raise Incomplete("the connection ended before the answer did")

    def _read_head(self, head: bytes) -> None:
        status_line, *lines = head.split(b"\r\n")
        version, _, rest = status_line.partition(b" ")
        code = rest[:3]
        if version not in (b"HTTP/1.1", b"HTTP/1.0") or not code.isdigit() or len(code) != 3:
            raise HttpError("the answer is no HTTP response")
        self._remaining = None
        for line in lines:
            name, colon, value = line.partition(b":")
            if not colon:
                raise HttpError("the answer has a header that is none")
            name, value = name.strip().lower(), value.strip().lower()
            if name == b"transfer-encoding":
                if value != b"chunked":
                    raise HttpError("the answer has a transfer encoding that nobody asked for")
                self._chunked = True
            elif name == b"content-length":
                if not value.isdigit():
                    raise HttpError("the answer has a length that is no number")
                self._remaining = int(value)
        # An interim response says nothing; the one that counts follows.
        self.status = 0 if code.startswith(b"1") else int(code)
        if self._chunked:
            self._remaining = 0
        elif self._remaining == 0:
            self.ended = self.status != 0

    def _read_plain(self) -> bytes:
        take = len(self._buffer) if self._remaining is None else min(self._remaining, len(self._buffer))
        body = bytes(self._buffer[:take])
        del self._buffer[:take]
        if self._remaining is not None:
            self._remaining -= take
            self.ended = self._remaining == 0
        return body

    def _read_chunks(self) -> bytes:
        body = bytearray()
        while not self.ended:
            if self._remaining:
                take = min(self._remaining, len(self._buffer))
                body += self._buffer[:take]
                del self._buffer[:take]
                self._remaining -= take
                if self._remaining:
                    break
                self._after_chunk = True
            line_end = self._buffer.find(b"\r\n")
            if line_end < 0:
                self._bound(len(self._buffer), _MAX_CHUNK_LINE_BYTES)
                break
            line = bytes(self._buffer[:line_end])
            self._bound(line_end, _MAX_CHUNK_LINE_BYTES)
            del self._buffer[: line_end + 2]
            self._read_line(line)
        return bytes(body)

    def _read_line(self, line: bytes) -> None:
        if self._in_trailer:
            self.ended = not line
        elif self._after_chunk:
            if line:
                raise HttpError("the answer has a chunk that is longer than it says")
            self._after_chunk = False
        else:
            digits = line.partition(b";")[0].strip()
            try:
                length = int(digits, 16) if digits.isalnum() else -1
            except ValueError:
                length = -1
            if length < 0:
                raise HttpError("the answer has a chunk without a length")
            self._in_trailer = length == 0
            self._remaining = length

    @staticmethod
    def _bound(length: int, most: int) -> None:
        if length > most:
            raise HttpError("the answer has a line that is too long")
