"""Asks the daemon: one connection for each request.

A request is sent again only when no daemon accepted it, that is when connecting failed; then one is started first. Once a
connection exists the request may have been carried out, and whatever goes wrong from there on is raised and never repeated.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any, Generic, Mapping, TypeVar

from . import _frames, _http
from ._errors import PyroError, from_body, invalid, malformed, unavailable
from ._frames import Frame, FrameError
from ._home import Home
from ._http import HttpError, Response
from ._operation import Operation
from ._runtime import Connection, Runtime
from ._starter import start_daemon

R = TypeVar("R")

# Largest answer that is taken as one JSON body.
_MAX_ANSWER_BYTES = 16 * 1024 * 1024


class Client:
    """Asks the daemon of one home."""

    def __init__(self, runtime: Runtime, home: Home, starts: bool) -> None:
        self.runtime = runtime
        self.home = home
        self._starts = starts

    async def call(self, operation: Operation[R], values: Mapping[str, Any], starts: bool = True) -> R:
        """Asks a unary operation."""
        body = operation.request(values)
        connection = await self._connect(starts)
        try:
            await _send_all(connection, _http.request_head(operation.path, _http.JSON, len(body)) + body)
            answer = Answer(connection, operation)
            await answer.head()
            whole = await answer.whole()
        finally:
            connection.close()
        if answer.status != 200:
            raise _refusal(operation, whole)
        return operation.result(whole)

    async def stream(self, operation: Operation[R], values: Mapping[str, Any]) -> Exchange[R]:
        """Asks a streaming operation. What comes is read from the `Exchange`."""
        try:
            first = _frames.encode(_frames.REQUEST, operation.request(values))
        except FrameError as error:
            raise invalid(f"request of {operation.name} cannot be sent: {error}") from error
        connection = await self._connect(True)
        try:
            head = _http.request_head(operation.path, _http.FRAMES, None)
            await _send_all(connection, head + _http.chunk(first))
            answer = Answer(connection, operation)
            await answer.head()
            if answer.status != 200:
                raise _refusal(operation, await answer.whole())
            return Exchange(self.runtime, connection, answer, operation)
        except BaseException:
            connection.close()
            raise

    async def start(self) -> None:
        """Starts a daemon if there is none."""
        await self.runtime.blocking(lambda: start_daemon(self.home))

    async def _connect(self, starts: bool) -> Connection:
        try:
            return await self.runtime.connect(self.home)
        except (FileNotFoundError, ConnectionRefusedError) as error:
            if not (starts and self._starts):
                raise self._unreachable(error) from error
        except OSError as error:
            raise self._unreachable(error) from error
        await self.start()
        try:
            return await self.runtime.connect(self.home)
        except OSError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: OSError) -> PyroError:
        return unavailable(f"connect to the daemon at {self.home.socket}: {error.strerror or error}")


async def _send_all(connection: Connection, data: bytes) -> None:
    try:
        await connection.send(data)
    except (BrokenPipeError, ConnectionResetError):
        # It may have answered before it had read everything. If it has not, reading says so.
        pass


def _refusal(operation: Operation[Any], answer: bytes) -> PyroError:
    return from_body(operation.understand(answer)) or malformed(operation.name, "an error without code and text")


class Answer:
    """The response on a connection."""

    def __init__(self, connection: Connection, operation: Operation[Any]) -> None:
        self._connection = connection
        self._operation = operation
        self._response = Response()
        self._begun = bytearray()

    @property
    def status(self) -> int:
        """Status code, once the head has come."""
        return self._response.status

    async def head(self) -> None:
        """Returns when the head has come."""
        while not self._response.status:
            self._begun += await self._more()

    async def body(self) -> bytes | None:
        """The next bytes of the body; nothing at its end."""
        if self._begun:
            begun = bytes(self._begun)
            self._begun.clear()
            return begun
        return None if self._response.ended else await self._more()

    async def whole(self) -> bytes:
        """All of the body."""
        whole = bytearray()
        while (piece := await self.body()) is not None:
            whole += piece
            if len(whole) > _MAX_ANSWER_BYTES:
                raise malformed(self._operation.name, f"more than {_MAX_ANSWER_BYTES} bytes")
        return bytes(whole)

    async def _more(self) -> bytes:
        try:
            data = await self._connection.receive()
        except OSError as error:
            raise self._operation.lost(error.strerror or str(error)) from error
        try:
            if data:
                return self._response.feed(data)
            self._response.finish()
            return b""
        except _http.Incomplete as error:
            raise self._operation.lost(str(error)) from None
        except HttpError as error:
            raise malformed(self._operation.name, str(error)) from None


class Exchange(Generic[R]):
    """A streaming operation at work. Closing it before its end cancels the operation."""

    def __init__(self, runtime: Runtime, connection: Connection, answer: Answer, operation: Operation[R]) -> None:
        self._connection = connection
        self._answer = answer
        self._operation = operation
        self._decoder = _frames.Decoder()
        self._window = _frames.STDIN_WINDOW_BYTES
        self._lock = threading.Lock()
        self._bell = runtime.bell()
        self._reading = False
        self._waiting: deque[Frame] = deque()
        self._failure: PyroError | None = None
        #: The result, once it has come.
        self.result: R | None = None
        #: Whether nothing comes any more.
        self.ended = False

    async def next(self) -> Frame | None:
        """The next output or event; nothing after the result. Raises what the daemon says went wrong.

        Standard input flows only while somebody is here, as the daemon's credit for it comes this way.
        """
        while not self._waiting:
            if self._failure is not None:
                raise self._failure
            if self.ended:
                return None
            if self._may_read():
                return await self._read()
            await self._bell.wait_until(lambda: not self._reading or bool(self._waiting))
        return self._waiting.popleft()

    async def write(self, data: bytes, reads: bool) -> bool:
        """Passes bytes to standard input; false when nobody wants them any more.

        While there is no credit, it waits for somebody who is in `next`; with `reads` it reads by itself what nobody else
        does, and keeps output that comes.
        """
        for at in range(0, len(data), _frames.MAX_PAYLOAD_BYTES):
            piece = data[at : at + _frames.MAX_PAYLOAD_BYTES]
            if not await self._room(len(piece), reads):
                return False
            with self._lock:
                self._window -= len(piece)
            if not await self._send(_frames.encode(_frames.STDIN, piece)):
                return False
        return True

    async def end_input(self) -> None:
        """Ends standard input."""
        await self._send(_frames.encode(_frames.STDIN_EOF))

    async def cancel(self) -> None:
        """Asks for an early end. It goes on until the daemon has cleaned up and answers."""
        await self._send(_frames.encode(_frames.CANCEL))

    def close(self) -> None:
        """Hangs up."""
        self.ended = True
        self._connection.close()
        self._bell.ring()

    async def _room(self, length: int, reads: bool) -> bool:
        def has_room() -> bool:
            return self.ended or self._window >= length

        while not has_room():
            if reads and self._may_read():
                try:
                    frame = await self._read()
                except PyroError:
                    # It is for whoever asks what comes next.
                    break
                if frame is not None:
                    self._waiting.append(frame)
            else:
                await self._bell.wait_until(lambda: has_room() or (reads and not self._reading))
        return not self.ended

    async def _send(self, frame: bytes) -> bool:
        if self.ended:
            return False
        try:
            await self._connection.send(_http.chunk(frame))
            return True
        except OSError:
            # If the daemon has gone, the reading side says so.
            return False

    def _may_read(self) -> bool:
        """Takes the right to read, if nobody has it."""
        with self._lock:
            free = not self._reading
            self._reading = True
            return free

    async def _read(self) -> Frame | None:
        """What is next on the wire; nothing after the result. Whoever calls this has the right to read, and it ends here."""
        try:
            while True:
                frame = await self._frame()
                if frame.kind in (_frames.STDOUT, _frames.STDERR, _frames.EVENT):
                    return frame
                if frame.kind == _frames.STDIN_CREDIT:
                    # The daemon is not believed more than it can have received.
                    with self._lock:
                        self._window = min(self._window + frame.credit(), _frames.STDIN_WINDOW_BYTES)
                    self._bell.ring()
                elif frame.kind == _frames.RESULT:
                    self.result = self._operation.result(frame.payload)
                    # We hang up first, so that nothing that is on its way from us breaks the connection.
                    self.close()
                    return None
                elif frame.kind == _frames.ERROR:
                    raise _refusal(self._operation, frame.payload)
                else:
                    raise malformed(self._operation.name, f"a frame of kind {frame.kind}, which only clients send")
        except PyroError as error:
            self._failure = error
            self.close()
            raise
        finally:
            self._reading = False
            self._bell.ring()

    async def _frame(self) -> Frame:
        try:
            while (frame := self._decoder.next_frame()) is None:
                data = await self._answer.body()
                if data is None:
                    self._decoder.finish()
                    raise self._operation.lost("no result came")
                self._decoder.push(data)
            return frame
        except _frames.Truncated as error:
            raise self._operation.lost(str(error)) from None
        except FrameError as error:
            raise malformed(self._operation.name, str(error)) from None


