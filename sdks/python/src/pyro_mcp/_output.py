"""What a command writes: piece by piece as it comes, and collected beside its result."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING, Literal, NamedTuple

from . import _text

if TYPE_CHECKING:
    from .types import CapturedOutput

#: Most bytes of each stream that a result holds, where nothing else is said.
MOST_COLLECTED_BYTES = 16 * 1024 * 1024

StreamName = Literal["stdout", "stderr"]


class Output(NamedTuple):
    """A piece of what a command writes."""

    #: Which of its outputs.
    stream: StreamName
    #: The bytes.
    data: bytes
    #: The same as text, with replacement characters where it is no UTF-8. A character that is cut in two by the end of a
    #: piece stands whole in the next one.
    text: str


class Decoder:
    """Makes pieces out of the bytes of both outputs."""

    def __init__(self) -> None:
        make = codecs.getincrementaldecoder("utf-8")
        self._decoders = {"stdout": make("replace"), "stderr": make("replace")}

    def piece(self, stream: StreamName, data: bytes) -> Output:
        """The next piece of one output."""
        return Output(stream, data, self._decoders[stream].decode(data))


class Collected:
    """The first bytes of an output."""

    def __init__(self, most_bytes: int) -> None:
        self._bytes = bytearray()
        self._most_bytes = most_bytes
        self.truncated = False

    def push(self, data: bytes) -> None:
        """Takes what still fits."""
        room = self._most_bytes - len(self._bytes)
        self.truncated |= len(data) > room
        self._bytes += data[:room]

    def text(self) -> tuple[str, str | None]:
        """As text, and as base64 if the text is not exact. A character that the limit cut in two is left out."""
        raw = bytes(self._bytes)
        try:
            return raw.decode("utf-8"), None
        except UnicodeDecodeError as error:
            if self.truncated and error.reason == "unexpected end of data":
                return raw[: error.start].decode("utf-8"), None
            return raw.decode("utf-8", "replace"), _text.base64(raw)


class Capture:
    """Both outputs, collected."""

    def __init__(self, most_bytes: int) -> None:
        self._streams = {"stdout": Collected(most_bytes), "stderr": Collected(most_bytes)}

    def push(self, output: Output) -> None:
        """Takes a piece."""
        self._streams[output.stream].push(output.data)

    def fields(self) -> CapturedOutput:
        """What a result holds of them."""
        (stdout, stdout_exact), (stderr, stderr_exact) = (collected.text() for collected in self._streams.values())
        fields: CapturedOutput = {
            "stdout": stdout,
            "stderr": stderr,
            "stdout_truncated": self._streams["stdout"].truncated,
            "stderr_truncated": self._streams["stderr"].truncated,
        }
        if stdout_exact is not None:
            fields["stdout_base64"] = stdout_exact
        if stderr_exact is not None:
            fields["stderr_base64"] = stderr_exact
        return fields
