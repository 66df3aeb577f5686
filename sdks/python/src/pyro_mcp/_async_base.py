"""What the generated methods of `AsyncPyro` are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Callable, TypeVar

from ._async_streams import AsyncCommandStream, AsyncStreams
from ._asyncio import AsyncioRuntime
from ._core import Core
from ._work import work

if TYPE_CHECKING:
    from ._command import EventWatcher
    from ._home import Home
    from ._input import AsyncSource
    from ._operation import Operation
    from ._output import Output
    from ._text import HostPath
    from ._work import ProgressWatcher
    from .types import FileDownloaded, FileWritten, WorkspaceExported

R = TypeVar("R")


class AsyncBase:
    """Asks the daemon; everything else goes on meanwhile."""

    _core: Core
    _streams: AsyncStreams

    def _connect_to(self, home: Home, starts: bool) -> None:
        self._core = Core(AsyncioRuntime(), home, starts)
        self._streams = AsyncStreams()

    async def _call(self, operation: Operation[R], values: dict[str, Any]) -> R:
        return await self._core.client.call(operation, values)

    async def _ask(self, operation: Operation[R], values: dict[str, Any]) -> R:
        return await self._core.client.call(operation, values, starts=False)

    async def _work(self, operation: Operation[R], values: dict[str, Any], on_progress: ProgressWatcher | None) -> R:
        return await work(self._core.client, operation, values, on_progress)

    async def _collect(
        self,
        operation: Operation[Any],
        values: dict[str, Any],
        stdin: AsyncSource | None,
        on_output: Callable[[Output], object] | None,
        on_event: EventWatcher | None,
        max_output_bytes: int,
    ) -> Any:
        return await self._core.collect(operation, values, stdin, on_output, on_event, max_output_bytes)

    def _stream(
        self,
        operation: Operation[R],
        values: dict[str, Any],
        stdin: bool | None,
        on_event: EventWatcher | None,
    ) -> AsyncCommandStream[R]:
        return self._streams.keep(AsyncCommandStream(self._core.command(operation, values, stdin, on_event)))

    async def _upload(
        self,
        operation: Operation[FileWritten],
        values: dict[str, Any],
        source: HostPath | AsyncSource,
        on_progress: ProgressWatcher | None,
    ) -> FileWritten:
        return await self._core.upload(operation, values, source, on_progress)

    async def _download(
        self,
        operation: Operation[FileDownloaded],
        values: dict[str, Any],
        target: HostPath | BinaryIO,
        force: bool,
        on_progress: ProgressWatcher | None,
    ) -> FileDownloaded:
        return await self._core.download(operation, values, target, force, on_progress)

    async def _export(
        self,
        operation: Operation[WorkspaceExported],
        values: dict[str, Any],
        output_path: HostPath | BinaryIO,
        on_progress: ProgressWatcher | None,
    ) -> WorkspaceExported:
        return await self._core.export(operation, values, output_path, on_progress)
