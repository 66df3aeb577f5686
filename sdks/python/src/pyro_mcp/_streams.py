"""A command whose output is there as it comes, for callers that block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakSet

from ._runtime import complete

if TYPE_CHECKING:
    from types import TracebackType

    from ._command import Command
    from ._output import Output

R = TypeVar("R")


class CommandStream(Generic[R]):
    """What a command writes, piece by piece, and then its result.

    Iterating gives pieces until the command has ended; `result` waits for that. Nothing is asked for before the first of
    them, or before the `with` block. Whoever leaves that block, or closes the stream, before the end, ends the command;
    only of one that is waited for (`stream_wait_workspace_job`) just the waiting ends.
    """

    def __init__(self, command: Command[R]) -> None:
        self._command = command

    @property
    def job_id(self) -> str | None:
        """The job that the command is, once it is on record; none for commands of one-shot machines."""
        return self._command.job_id

    def __iter__(self) -> CommandStream[R]:
        return self

    def __next__(self) -> Output:
        output = complete(self._command.next())
        if output is None:
            raise StopIteration
        return output

    def result(self) -> R:
        """How the command ended. Output that was not read is dropped."""
        while complete(self._command.next()) is not None:
            pass
        result = self._command.result
        if result is None:
            raise ValueError("the stream was closed before its command had ended")
        return result

    def write_stdin(self, data: bytes) -> bool:
        """Passes bytes to the command's standard input; false when it wants no more. Waits while it does not read.

        Output that comes meanwhile is kept for whoever iterates.
        """
        return complete(self._command.write(data))

    def close_stdin(self) -> None:
        """Ends the command's standard input."""
        complete(self._command.end_input())

    def cancel(self) -> None:
        """Asks for an early end. The stream goes on until the daemon has cleaned up, and then raises `CancelledError`.

        May be called by another thread than the one that iterates.
        """
        complete(self._command.cancel())

    def close(self) -> None:
        """Ends the command if it has not ended, and waits until that is cleaned up."""
        complete(self._command.abandon())

    def __enter__(self) -> CommandStream[R]:
        complete(self._command.begin())
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


class Streams:
    """Streams that somebody holds and nobody has finished."""

    def __init__(self) -> None:
        self._all: WeakSet[CommandStream[Any]] = WeakSet()

    def keep(self, stream: CommandStream[R]) -> CommandStream[R]:
        """Remembers one as long as it is held."""
        self._all.add(stream)
        return stream

    def close(self) -> None:
        """Closes all of them."""
        for stream in list(self._all):
            stream.close()
