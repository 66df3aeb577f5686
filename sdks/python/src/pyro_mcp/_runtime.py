"""What the client needs of the world: connections, and waiting.

The client is written once, as coroutines over these interfaces. Here is the blocking kind, whose coroutines never
suspend, so that `complete` can run them as plain functions; `_asyncio` has the other.
"""

from __future__ import annotations

import os
import socket
import threading
from typing import Any, Callable, Coroutine, Protocol, TypeVar

from ._home import Home

T = TypeVar("T")

_RECEIVE_BYTES = 128 * 1024


class Connection(Protocol):
    """A connection to the daemon."""

    async def send(self, data: bytes) -> None:
        """Sends all of it. Sending from two sides at once does not mix them."""

    async def receive(self) -> bytes:
        """The next bytes; none at the end."""

    def close(self) -> None:
        """Hangs up. Whoever waits for bytes sees the end."""


class Bell(Protocol):
    """Wakes those who wait until something is so."""

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        """Returns when it holds. It is looked at again whenever the bell rings."""

    def ring(self) -> None:
        """Has everybody look again."""


class Task(Protocol):
    """Work that goes on beside its caller."""

    async def stop(self) -> None:
        """Has it end, and returns when it does nothing more that matters."""


class Runtime(Protocol):
    """How the client touches the world."""

    async def connect(self, home: Home) -> Connection:
        """Connects. `FileNotFoundError` and `ConnectionRefusedError` mean that no daemon listens."""

    async def blocking(self, work: Callable[[], T]) -> T:
        """Does work that blocks."""

    def bell(self) -> Bell:
        """A new bell."""

    def begin(self, work: Coroutine[Any, Any, None]) -> Task:
        """Lets work go on beside the caller."""


def open_socket(home: Home) -> socket.socket:
    """Connects to the daemon's socket, whose path may be longer than a socket address can hold."""
    directory = os.open(home.runtime, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connected = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connected.connect(home.short_socket(directory))
        except BaseException:
            connected.close()
            raise
        return connected
    finally:
        os.close(directory)


def complete(work: Coroutine[Any, Any, T]) -> T:
    """Runs a coroutine of the blocking kind to its end."""
    try:
        work.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    work.close()
    raise AssertionError("a coroutine of the blocking kind has suspended")


class BlockingConnection:
    """A connection of the blocking kind."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._sending = threading.Lock()

    async def send(self, data: bytes) -> None:
        with self._sending:
            self._socket.sendall(data)

    async def receive(self) -> bytes:
        return self._socket.recv(_RECEIVE_BYTES)

    def close(self) -> None:
        try:
            # Also wakes another thread that waits for bytes.
            self._socket.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self._socket.close()


class BlockingBell:
    """A bell between threads."""

    def __init__(self) -> None:
        self._condition = threading.Condition()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        with self._condition:
            self._condition.wait_for(holds)

    def ring(self) -> None:
        with self._condition:
            self._condition.notify_all()


class ThreadTask:
    """Work in a thread of its own."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        threading.Thread(target=complete, args=(work,), name="pyro-stdin", daemon=True).start()

    async def stop(self) -> None:
        # A source may block for ever. What comes out of it later meets a connection that is closed.
        pass


class BlockingRuntime:
    """The blocking kind of runtime."""

    async def connect(self, home: Home) -> Connection:
        return BlockingConnection(open_socket(home))

    async def blocking(self, work: Callable[[], T]) -> T:
        return work()

    def bell(self) -> Bell:
        return BlockingBell()

    def begin(self, work: Coroutine[Any, Any, None]) -> Task:
        return ThreadTask(work)
