"""What the generated methods of `Pyro` are made of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, Callable, TypeVar

from ._core import Core
from ._runtime import BlockingRuntime, complete
from ._streams import CommandStream, Streams
from ._work import work

if TYPE_CHECKING:
    from ._command import EventWatcher
    from ._home import Home
    from ._input import Source
    from ._operation import Operation
    from ._output import Output
    from ._text import HostPath
    from ._work import ProgressWatcher
    from .types import FileDownloaded, FileWritten, WorkspaceExported

R = TypeVar("R")


class SyncBase:
    """Asks the daemon and waits for it."""

    _core: Core
    _streams: Streams

    def _connect_to(self, home: Home, starts: bool) -> None:
        self._core = Core(BlockingRuntime(), home, starts)
        self._streams = Streams()

    def _call(self, operation: Operation[R], values: dict[str, Any]) -> R:
        return complete(self._core.client.call(operation, values))

    def _ask(self, operation: Operation[R], values: dict[str, Any]) -> R:
        return complete(self._core.client.call(operation, values, starts=False))

    def _work(self, operation: Operation[R], values: dict[str, Any], on_progress: ProgressWatcher | None) -> R:
        return complete(work(self._core.client, operation, values, on_progress))

    def _collect(
        self,
        operation: Operation[Any],
        values: dict[str, Any],
        stdin: Source | None,
        on_output: Callable[[Output], object] | None,
        on_event: EventWatcher | None,
        max_output_bytes: int,
    ) -> Any:
        return complete(self._core.collect(operation, values, stdin, on_output, on_event, max_output_bytes))

    def _stream(
        self,
        operation: Operation[R],
        values: dict[str, Any],
        stdin: bool | None,
        on_event: EventWatcher | None,
    ) -> CommandStream[R]:
        return self._streams.keep(CommandStream(self._core.command(operation, values, stdin, on_event)))

    def _upload(
        self,
        operation: Operation[FileWritten],
        values: dict[str, Any],
        source: HostPath | Source,
        on_progress: ProgressWatcher | None,
    ) -> FileWritten:
        return complete(self._core.upload(operation, values, source, on_progress))

    def _download(
        self,
        operation: Operation[FileDownloaded],
        values: dict[str, Any],
        target: HostPath | BinaryIO,
        force: bool,
        on_progress: ProgressWatcher | None,
    ) -> FileDownloaded:
        return complete(self._core.download(operation, values, target, force, on_progress))

    def _export(
        self,
        operation: Operation[WorkspaceExported],
        values: dict[str, Any],
        output_path: HostPath | BinaryIO,
        on_progress: ProgressWatcher | None,
    ) -> WorkspaceExported:
        return complete(self._core.export(operation, values, output_path, on_progress))
