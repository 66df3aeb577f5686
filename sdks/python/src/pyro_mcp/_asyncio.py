"""The asyncio kind of runtime."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Callable, Coroutine, TypeVar

from ._home import Home
from ._runtime import Bell, Connection, Task, open_socket

T = TypeVar("T")

_RECEIVE_BYTES = 128 * 1024


class AsyncioConnection:
    """A connection on the loop that made it."""

    def __init__(self, connected: socket.socket) -> None:
        connected.setblocking(False)
        self._socket = connected
        self._loop = asyncio.get_running_loop()
        self._sending = asyncio.Lock()
        self._closed = False

    async def send(self, data: bytes) -> None:
        async with self._sending:
            if self._closed:
                raise BrokenPipeError("the connection is closed")
            await self._loop.sock_sendall(self._socket, data)

    async def receive(self) -> bytes:
        return b"" if self._closed else await self._loop.sock_recv(self._socket, _RECEIVE_BYTES)

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            if not self._loop.is_closed():
                self._loop.remove_reader(self._socket)
                self._loop.remove_writer(self._socket)
            self._socket.close()


class AsyncioBell:
    """A bell between tasks of one loop."""

    def __init__(self) -> None:
        self._waiting: set[asyncio.Future[None]] = set()

    async def wait_until(self, holds: Callable[[], bool]) -> None:
        while not holds():
            rung = asyncio.get_running_loop().create_future()
            self._waiting.add(rung)
            try:
                await rung
            finally:
                self._waiting.discard(rung)

    def ring(self) -> None:
        for rung in self._waiting:
            if not rung.done():
                rung.set_result(None)


class AsyncioTask:
    """Work in a task of its own."""

    def __init__(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = asyncio.get_running_loop().create_task(work)

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])


class AsyncioRuntime:
    """The asyncio kind of runtime. Belongs to no loop; each connection does."""

    async def connect(self, home: Home) -> Connection:
        # A Unix socket connects at once or not at all.
        return AsyncioConnection(open_socket(home))

    async def blocking(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(None, work)

    def bell(self) -> Bell:
        return AsyncioBell()

    def begin(self, work: Coroutine[Any, Any, None]) -> Task:
        return AsyncioTask(work)
