"""`pyro mcp serve`, driven by programs that nobody here wrote: the official Python client, the Inspector's command line, and the
official conformance suite.

`PYRO_TEST_PYRO`, `PYRO_TEST_GUEST` and `PYRO_TEST_HOME` are those of the other suites. `PYRO_TEST_NODE` is an interpreter,
`PYRO_TEST_NODE_MODULES` the programs for it. `cargo xtask mcp` installs all of it and says where.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import glob
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

from live import ENVIRONMENT, Scratch, setting, stop_and_wait
from pyro_mcp import Pyro, errors

# As they are offered, the smallest first.
PROFILES = ("vm-run", "workspace-core", "workspace-full")


class Address(NamedTuple):
    """Where a server listens, and what callers must send."""

    url: str
    token: str


class Home:
    """One `PYRO_HOME`, and its daemon, for all tests: a template is saved once, and servers keep nothing to themselves."""

    def __init__(self) -> None:
        self.scratch = Scratch()
        self.pyro = Pyro(**self.scratch.client("mcp"))
        self.user = os.path.join(self.scratch.path, "user")
        os.mkdir(self.user)

    @functools.cached_property
    def machines(self) -> Pyro:
        """The daemon, once it can start a machine without a preparation for which no chat client waits."""
        cache = os.path.dirname(self.scratch.environments)
        # Those that the guest-backed suite had made. One that does not fit is not found.
        for templates in glob.glob(os.path.join(cache, "home-*/data/templates")):
            own = os.path.join(self.scratch.client("mcp")["base_dir"], "data/templates")
            unlocked = shutil.ignore_patterns("*.lock")
            shutil.copytree(templates, own, symlinks=True, ignore=unlocked, copy_function=os.link, dirs_exist_ok=True)
        self.pyro.run_in_vm(ENVIRONMENT, "true", timeout_seconds=300)
        return self.pyro

    def variables(self) -> dict[str, str]:
        """What a server is told, and a client that leaves files in the home of whoever starts it."""
        given = self.scratch.client("mcp")
        homes = {"PYRO_HOME": given["base_dir"], "PYRO_ENVIRONMENT_CACHE_DIR": given["cache_dir"], "HOME": self.user}
        return {"PATH": os.environ["PATH"], **homes, **given["env"]}

    def server(self, *arguments: str) -> list[str]:
        """The words that start a server."""
        return [setting("PYRO_TEST_PYRO"), "mcp", "serve", "--allow-path", self.scratch.path, *arguments]

    @contextlib.contextmanager
    def listening(self, *arguments: str) -> Iterator[Address]:
        """A server that listens for HTTP until it is left."""
        words = self.server("--http", "0", *arguments)
        with subprocess.Popen(words, env=self.variables(), stderr=subprocess.PIPE, text=True) as server:
            assert server.stderr is not None
            told = dict(line.rstrip("\n").split(" ", 1) for line in (server.stderr.readline(), server.stderr.readline()))
            try:
                yield Address(told["listening"].removeprefix("at "), told["token:"])
            finally:
                server.kill()

    def remove(self) -> None:
        """Ends the daemon and takes everything away."""
        with contextlib.suppress(errors.DaemonUnavailableError):
            stop_and_wait(self.pyro, force=True)
        self.scratch.remove()


@functools.cache
def home() -> Home:
    """The one of this process."""
    made = Home()
    atexit.register(made.remove)
    return made


def node(script: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a program, named by its file among the modules, with all that it prints."""
    words = [setting("PYRO_TEST_NODE"), os.path.join(setting("PYRO_TEST_NODE_MODULES"), script), *arguments]
    return subprocess.run(words, env={**home().variables(), **variables}, cwd=home().user, capture_output=True, text=True)
