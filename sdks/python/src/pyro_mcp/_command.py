"""One command, from its request to its end.

A command of a workspace has an idempotency key, its own if the caller gives none, so a daemon that is lost on the way costs
nothing: the next one is asked for the same command, from the place on up to which output has come.
"""

from __future__ import annotations

from typing import Any, Callable, Generic, Mapping, TypeVar

from . import _frames
from ._client import Client, Exchange
from ._errors import PyroError, connection_broke
from ._frames import Frame
from ._input import AsyncSource, Feeder
from ._operation import Operation
from ._output import Decoder, Output
from ._work import work

R = TypeVar("R")

EventWatcher = Callable[[Any], object]

# How often a lost daemon is replaced before the loss is told.
_MOST_DAEMONS = 3
# How long a command may take to end that was killed.
_MOST_SECONDS_TO_END = 10


class Recovery:
    """What is done when the daemon is lost. This kind, of one-shot machines, does nothing: they are gone with it."""

    def started(self, event: Mapping[str, Any]) -> None:
        """The command is on record."""

    def next_request(self, delivered: tuple[int, int]) -> tuple[Operation[Any], dict[str, Any]] | None:
        """What the next daemon is asked for, up to which bytes of both outputs have come; nothing: the loss is told."""
        return None

    async def end(self, client: Client) -> None:
        """Ends a command that its caller does not want any more and that would go on."""


class Command(Generic[R]):
    """A command at work."""

    def __init__(
        self,
        client: Client,
        operation: Operation[R],
        values: dict[str, Any],
        recovery: Recovery,
        source: AsyncSource | None = None,
        on_event: EventWatcher | None = None,
    ) -> None:
        self._client = client
        self._operation: Operation[Any] = operation
        self._values = values
        self._recovery = recovery
        self._source = source
        self._on_event = on_event
        self._exchange: Exchange[Any] | None = None
        self._feeder: Feeder | None = None
        self._decoder = Decoder()
        self._delivered = (0, 0)
        self._begun = False
        self._cancelled = False
        self._over = False
        #: The job that the command is, once it is on record.
        self.job_id: str | None = None
        #: The result, once it has come.
        self.result: R | None = None

    @property
    def over(self) -> bool:
        """Whether nothing comes any more."""
        return self._over

    async def begin(self) -> None:
        """Asks for it, unless that was done."""
        if self._exchange is None and not self._over:
            await self._ask()

    async def next(self) -> Output | None:
        """The next piece of output; nothing at the end."""
        while not self._over:
            try:
                await self.begin()
                frame = await self._running().next()
            except PyroError as error:
                await self._recover(error)
                continue
            except BaseException:
                # Whoever interrupts a second time does not wait for the clean-up.
                await (self._finish() if self._cancelled else self.abandon())
                raise
            if frame is None:
                self.result = self._running().result
                await self._finish()
                self._raise_broken_source()
            elif frame.kind == _frames.EVENT:
                self._watch(frame)
            else:
                return self._deliver(frame)
        return None

    async def write(self, data: bytes) -> bool:
        """Passes bytes to standard input; false when nobody wants them any more."""
        await self.begin()
        return self._exchange is not None and await self._exchange.write(data, reads=True)

    async def end_input(self) -> None:
        """Ends standard input."""
        await self.begin()
        if self._exchange is not None:
            await self._exchange.end_input()

    async def cancel(self) -> None:
        """Asks for an early end. What comes until then may still be read."""
        self._cancelled = True
        if self._exchange is not None:
            await self._exchange.cancel()
        elif not self._begun:
            self._over = True

    async def abandon(self) -> None:
        """Ends it, and returns when it is cleaned up. Whoever does not want the answer calls this."""
        if self._over:
            return
        try:
            await self.cancel()
            while not self._over:
                await self.next()
        except PyroError:
            # It was not wanted, and did not come about.
            pass
        finally:
            await self._finish()

    async def _ask(self) -> None:
        self._begun = True
        self._exchange = await self._client.stream(self._operation, self._values)
        if self._cancelled:
            # Somebody did that while there was nobody to be told.
            await self._exchange.cancel()
        if self._source is not None:
            self._feeder = Feeder(self._client.runtime, self._exchange, self._source)

    def _running(self) -> Exchange[Any]:
        assert self._exchange is not None
        return self._exchange

    def _deliver(self, frame: Frame) -> Output:
        stdout, stderr = self._delivered
        if frame.kind == _frames.STDOUT:
            self._delivered = (stdout + len(frame.payload), stderr)
            return self._decoder.piece("stdout", frame.payload)
        self._delivered = (stdout, stderr + len(frame.payload))
        return self._decoder.piece("stderr", frame.payload)

    def _watch(self, frame: Frame) -> None:
        event = self._operation.understand(frame.payload)
        if event.get("event") == "started":
            self._recovery.started(event)
            job_id = event.get("job_id")
            self.job_id = job_id if isinstance(job_id, str) else None
        if self._on_event is not None:
            self._on_event(event)

    async def _recover(self, error: PyroError) -> None:
        """Goes on with the next daemon, or raises what went wrong."""
        if connection_broke(error) and not self._cancelled:
            if (following := self._recovery.next_request(self._delivered)) is not None:
                await self._let_go()
                self._operation, self._values = following
                self._source = None
                return
        await self._finish()
        broken = None if self._feeder is None else self._feeder.failure
        if self._cancelled or broken is not None:
            try:
                await self._recovery.end(self._client)
            except PyroError:
                # That it could not be sent is for the history of the workspace.
                pass
        raise broken or error

    def _raise_broken_source(self) -> None:
        if self._feeder is not None and self._feeder.failure is not None:
            raise self._feeder.failure

    async def _let_go(self) -> None:
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.close()
        if self._feeder is not None:
            await self._feeder.stop()

    async def _finish(self) -> None:
        self._over = True
        await self._let_go()


class ExecRecovery(Recovery):
    """A command of a workspace: the next daemon is asked to follow it."""

    def __init__(
        self,
        exec_operation: Operation[Any],
        wait_operation: Operation[Any],
        kill_operation: Operation[Any],
        values: dict[str, Any],
    ) -> None:
        self._exec = exec_operation
        self._wait = wait_operation
        self._kill = kill_operation
        self._values = values
        self._job: Any = None
        self._asked_again = False
        self._daemons = 0

    def started(self, event: Mapping[str, Any]) -> None:
        self._job = event.get("job_id")

    def next_request(self, delivered: tuple[int, int]) -> tuple[Operation[Any], dict[str, Any]] | None:
        if self._job is None:
            # Input that is gone cannot be sent a second time.
            if self._values.get("stdin") or self._asked_again:
                return None
            self._asked_again = True
            return self._exec, self._values
        if self._daemons > _MOST_DAEMONS:
            return None
        self._daemons += 1
        return self._wait, {
            "workspace": self._values["workspace"],
            "job": self._job,
            "follow": True,
            "stdout_from": delivered[0],
            "stderr_from": delivered[1],
        }

    async def end(self, client: Client) -> None:
        if self._job is None:
            return
        command = {"workspace": self._values["workspace"], "job": self._job}
        killed = await client.call(self._kill, {**command, "signal": "KILL"})
        if killed.get("state") == "running":
            # What a killed process held is free when it has ended, not before.
            await work(client, self._wait, {**command, "timeout_seconds": _MOST_SECONDS_TO_END})


class WaitRecovery(Recovery):
    """Waiting for a job: the next daemon is asked to go on. Who gives up waiting ends nothing."""

    def __init__(self, operation: Operation[Any], values: dict[str, Any]) -> None:
        self._operation = operation
        self._values = values
        self._daemons = 0

    def next_request(self, delivered: tuple[int, int]) -> tuple[Operation[Any], dict[str, Any]] | None:
        if self._daemons >= _MOST_DAEMONS or self._values.get("timeout_seconds") is not None:
            return None
        self._daemons += 1
        stdout, stderr = delivered
        begin = (self._values.get("stdout_from") or 0, self._values.get("stderr_from") or 0)
        return self._operation, {**self._values, "stdout_from": begin[0] + stdout, "stderr_from": begin[1] + stderr}


def new_key() -> str:
    """An idempotency key that no other call has."""
    import os

    return os.urandom(16).hex()
