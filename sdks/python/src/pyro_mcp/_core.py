"""What both kinds of client do, over the interfaces of `_runtime`."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO, Callable, TypeVar, cast

from . import _files, _operations
from ._client import Client
from ._command import Command, EventWatcher, ExecRecovery, Recovery, WaitRecovery, new_key
from ._files import PartialFile
from ._output import Capture, Output
from ._work import ProgressWatcher, work

if TYPE_CHECKING:
    from ._home import Home
    from ._input import AsyncSource
    from ._operation import Operation
    from ._runtime import Runtime
    from ._text import HostPath
    from .types import FileDownloaded, FileWritten, WorkspaceExported

R = TypeVar("R")


class Core:
    """A client of the daemon of one home."""

    def __init__(self, runtime: Runtime, home: Home, starts: bool) -> None:
        self.runtime = runtime
        self.home = home
        self.client = Client(runtime, home, starts)

    def command(
        self,
        operation: Operation[R],
        values: dict[str, Any],
        stdin: AsyncSource | bool | None,
        on_event: EventWatcher | None,
    ) -> Command[R]:
        """A command that is not asked for yet."""
        source = None if isinstance(stdin, bool) else stdin
        if stdin is not None and stdin is not False:
            values["stdin"] = True
        return Command(self.client, operation, values, _recovery(operation, values), source, on_event)

    async def collect(
        self,
        operation: Operation[Any],
        values: dict[str, Any],
        stdin: AsyncSource | None,
        on_output: Callable[[Output], object] | None,
        on_event: EventWatcher | None,
        max_output_bytes: int,
    ) -> Any:
        """Runs a command to its end; the result has what it wrote."""
        command = self.command(operation, values, stdin, on_event)
        capture = Capture(max_output_bytes)
        try:
            while (output := await command.next()) is not None:
                capture.push(output)
                if on_output is not None:
                    on_output(output)
        except BaseException:
            await command.abandon()
            raise
        return {**cast("dict[str, Any]", command.result), **capture.fields()}

    async def upload(
        self,
        operation: Operation[FileWritten],
        values: dict[str, Any],
        source: HostPath | AsyncSource,
        on_progress: ProgressWatcher | None,
    ) -> FileWritten:
        """Sends a file of this host."""
        if not _files.is_path(source):
            content = cast("AsyncSource", source)
            values["size_bytes"] = _files.length_of(content)
            return await work(self.client, operation, values, on_progress, source=content)
        opened = await self.runtime.blocking(partial(_files.open_source, cast("HostPath", source)))
        try:
            values["size_bytes"] = _files.length_of(opened)
            return await work(self.client, operation, values, on_progress, source=opened)
        finally:
            opened.close()

    async def download(
        self,
        operation: Operation[FileDownloaded],
        values: dict[str, Any],
        target: HostPath | BinaryIO,
        force: bool,
        on_progress: ProgressWatcher | None,
    ) -> FileDownloaded:
        """Takes a file of a workspace to this host. It gets its name when it is whole."""
        if not _files.is_path(target):
            return await work(self.client, operation, values, on_progress, cast("BinaryIO", target).write)
        with PartialFile(cast("HostPath", target), force) as partial_file:
            downloaded = await work(self.client, operation, values, on_progress, partial_file.write)
            partial_file.finish(downloaded["mode"])
            return downloaded

    async def export(
        self,
        operation: Operation[WorkspaceExported],
        values: dict[str, Any],
        output_path: HostPath | BinaryIO,
        on_progress: ProgressWatcher | None,
    ) -> WorkspaceExported:
        """Takes results out of a workspace: the daemon writes what is a path, an open file gets the bytes."""
        if not _files.is_path(output_path):
            return await work(self.client, operation, values, on_progress, cast("BinaryIO", output_path).write)
        values["output_path"] = output_path
        return await work(self.client, operation, values, on_progress)


def _recovery(operation: Operation[Any], values: dict[str, Any]) -> Recovery:
    if operation is _operations.WORKSPACE_EXEC:
        if values.get("idempotency_key") is None:
            values["idempotency_key"] = new_key()
        return ExecRecovery(operation, _operations.WORKSPACE_JOB_WAIT, _operations.WORKSPACE_JOB_KILL, values)
    if operation is _operations.WORKSPACE_JOB_WAIT:
        values["follow"] = True
        return WaitRecovery(operation, values)
    return Recovery()
