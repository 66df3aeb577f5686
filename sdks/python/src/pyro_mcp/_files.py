"""Files of this host that take what comes out of a workspace."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, BinaryIO, Callable

if TYPE_CHECKING:
    from types import TracebackType

    from ._text import HostPath


def is_path(target: object) -> bool:
    """Whether it names a file, and is no open one."""
    return isinstance(target, (str, bytes)) or hasattr(target, "__fspath__")


class PartialFile:
    """A file that has not its name yet, and that is gone if it never gets it."""

    def __init__(self, target: Any, force: bool) -> None:
        self._target = os.path.abspath(os.path.expanduser(os.fsdecode(os.fspath(target))))
        self._force = force
        directory, name = os.path.split(self._target)
        self._path = os.path.join(directory, f".{name}.{os.getpid()}.{os.urandom(4).hex()}.partial")

    def __enter__(self) -> PartialFile:
        if not self._force and os.path.lexists(self._target):
            raise self._exists()
        self._file = open(self._path, "xb", buffering=0)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        # Under its old name it is only there when it did not get the new one, or got it beside this.
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass

    def write(self, data: bytes) -> None:
        """Takes the next bytes."""
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]

    def finish(self, mode: str) -> None:
        """Gives it its name. Without force, nothing that came to be there meanwhile is replaced."""
        # Bits that run a program as somebody else are the guest's to mean, not ours to take over.
        os.fchmod(self._file.fileno(), int(mode, 8) & 0o777)
        if self._force:
            os.replace(self._path, self._target)
            return
        try:
            os.link(self._path, self._target)
        except FileExistsError:
            raise self._exists() from None

    def _exists(self) -> BaseException:
        from ._error_codes import OutputExistsError

        return OutputExistsError(f"there is something at {self._target}", hint="force=True replaces it")


def open_source(path: HostPath) -> BinaryIO:
    """A file of this host, to read."""
    return open(os.path.expanduser(os.fsdecode(os.fspath(path))), "rb")


def length_of(source: Any) -> int | None:
    """Bytes that a source holds, if that is known."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return len(source)
    if isinstance(source, str):
        return len(source.encode("utf-8", "surrogateescape"))
    fileno: Callable[[], int] | None = getattr(source, "fileno", None)
    if fileno is None or not hasattr(source, "tell"):
        return None
    import stat

    try:
        status = os.fstat(fileno())
        return max(0, status.st_size - source.tell()) if stat.S_ISREG(status.st_mode) else None
    except OSError:
        return None
