"""Where standard input, or the content of a file, comes from."""

from __future__ import annotations

from typing import Any, AsyncIterable, BinaryIO, Iterable, Protocol, Union, cast

from ._client import Exchange
from ._runtime import Runtime

#: What can be passed to a command's standard input.
Source = Union[bytes, str, BinaryIO, Iterable[bytes]]
#: The same, for `AsyncPyro`.
AsyncSource = Union[bytes, str, BinaryIO, Iterable[bytes], AsyncIterable[bytes]]

_PIECE_BYTES = 64 * 1024


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Feeder:
    """Passes all of a source on, beside whoever reads what comes."""

    def __init__(self, runtime: Runtime, exchange: Exchange[Any], source: AsyncSource) -> None:
        self._runtime = runtime
        self._exchange = exchange
        #: Why the source could not be read to its end, if it could not.
        self.failure: BaseException | None = None
        self._task = runtime.begin(self._feed(source))

    async def stop(self) -> None:
        """Passes nothing more on."""
        await self._task.stop()

    async def _feed(self, source: AsyncSource) -> None:
        try:
            whole = await self._pass(source)
        except Exception as error:
            # Told before the end comes, so that it is there by then.
            self.failure = error
            await self._exchange.cancel()
        else:
            if whole:
                await self._exchange.end_input()

    async def _pass(self, source: AsyncSource) -> bool:
        if isinstance(source, str):
            source = source.encode("utf-8", "surrogateescape")
        if isinstance(source, (bytes, bytearray, memoryview)):
            return await self._exchange.write(bytes(source), reads=False)
        if hasattr(source, "read"):
            return await self._pass_file(cast("_Readable", source))
        if hasattr(source, "__aiter__"):
            async for piece in source:
                if not await self._exchange.write(_checked(piece), reads=False):
                    return False
            return True
        return await self._pass_iterable(source)

    async def _pass_file(self, source: _Readable) -> bool:
        while piece := await self._runtime.blocking(lambda: source.read(_PIECE_BYTES)):
            if not await self._exchange.write(_checked(piece), reads=False):
                return False
        return True

    async def _pass_iterable(self, source: Iterable[bytes]) -> bool:
        pieces = iter(source)
        while (piece := await self._runtime.blocking(lambda: next(pieces, None))) is not None:
            if not await self._exchange.write(_checked(piece), reads=False):
                return False
        return True


def _checked(piece: object) -> bytes:
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    raise TypeError(f"standard input is made of bytes, not {type(piece).__name__}")
