"""One row of the table of operations, and how its request and result travel."""

from __future__ import annotations

import json
from typing import Any, Callable, Generic, Mapping, TypeVar

from . import _text
from ._errors import PyroError, invalid, lost, malformed

R = TypeVar("R")


class Operation(Generic[R]):
    """An operation of the daemon that answers with `R`."""

    __slots__ = ("name", "path", "streaming", "repeatable", "encoders", "defaults", "bytes_in_result")

    def __init__(
        self,
        name: str,
        streaming: bool,
        repeatable: bool,
        encoders: Mapping[str, Callable[[Any], object]],
        defaults: Mapping[str, object],
        bytes_in_result: tuple[tuple[str, ...], ...],
    ) -> None:
        self.name = name
        self.path = f"/v1/{name}"
        self.streaming = streaming
        #: Whether it does no harm to ask again when nobody knows how far it came.
        self.repeatable = repeatable
        #: Fields of the request whose values travel in another form.
        self.encoders = encoders
        #: Values that say what the daemon does anyway. They are not sent, so that an older one is not told of them.
        self.defaults = defaults
        #: Where the result has bytes.
        self.bytes_in_result = bytes_in_result

    def lost(self, cause: str) -> PyroError:
        """The connection broke after the request was on its way."""
        return lost(cause, self.repeatable)

    def request(self, values: Mapping[str, Any]) -> bytes:
        """The request as JSON."""
        fields: dict[str, object] = {}
        for name, value in values.items():
            if value is None or (name in self.defaults and value == self.defaults[name]):
                continue
            encode = self.encoders.get(name)
            fields[name] = value if encode is None else encode(value)
        try:
            return json.dumps(fields, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode("utf-8")
        except (UnicodeEncodeError, ValueError) as error:
            raise invalid(f"request of {self.name} cannot be sent: {error}") from error

    def result(self, answer: bytes) -> R:
        """The result that an answer is."""
        result: R = self.understand(answer)
        if b'"base64"' in answer:
            _text.restore(result, self.bytes_in_result)
        return result

    def understand(self, answer: bytes) -> Any:
        """The object that an answer is."""
        try:
            value = json.loads(answer)
        except (ValueError, RecursionError) as error:
            raise malformed(self.name, str(error)) from None
        if not isinstance(value, dict):
            raise malformed(self.name, "no object")
        return value
