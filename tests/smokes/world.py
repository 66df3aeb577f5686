"""A home for a daemon, shared by the smokes of one process, and a directory of its own for each."""

from __future__ import annotations

import atexit
import os
import pathlib
import shutil
import tempfile
import unittest

from live import Scratch, setting, stop_and_wait
from pyro_mcp import Pyro, errors


class World:
    """Where smokes run: what a user has set is in `variables`, and the programs are in `PATH`."""

    def __init__(self) -> None:
        self.scratch = Scratch()
        programs = pathlib.Path(self.scratch.path, "bin")
        programs.mkdir()
        (programs / "pyro").symlink_to(setting("PYRO_TEST_PYRO"))
        self.variables = {
            **self.scratch.variables(),
            "PATH": f"{programs}:{os.environ['PATH']}",
            "PYRO_HOME": os.path.join(self.scratch.path, "home"),
            "PYRO_ENVIRONMENT_CACHE_DIR": self.scratch.environments,
            "PYRO_BIN": setting("PYRO_TEST_PYRO"),
            "PYRO_GUEST": setting("PYRO_TEST_GUEST"),
        }
        self.before = {name: os.environ.get(name) for name in self.variables}
        # The SDK finds its daemon as a user's program does.
        os.environ.update(self.variables)
        self.pyro = Pyro()

    def directory(self) -> pathlib.Path:
        """An empty directory."""
        return pathlib.Path(tempfile.mkdtemp(dir=self.scratch.path))

    def left_over(self) -> list[str]:
        """Workspaces that are still there; they are removed."""
        found = [item["workspace_id"] for item in self.pyro.list_workspaces()["workspaces"]]
        for workspace_id in found:
            self.pyro.delete_workspace(workspace_id, force=True)
        return found

    def end(self) -> None:
        """Ends the daemon and takes everything away."""
        try:
            stop_and_wait(self.pyro, force=True)
        except errors.DaemonUnavailableError:
            pass
        self.pyro.close()
        for name, value in self.before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self.scratch.remove()


world: World | None = None


def the_world() -> World:
    """The one of this process, made when it is first needed."""
    global world
    if world is None:
        world = World()
        # Modules share it, so it ends with the process.
        atexit.register(world.end)
    return world


class Smoke(unittest.TestCase):
    """A test with a world, an empty directory that it works in, and nothing left behind."""

    def setUp(self) -> None:
        self.world = the_world()
        self.place = self.world.directory()
        before = os.getcwd()
        os.chdir(self.place)
        self.addCleanup(shutil.rmtree, self.place)
        self.addCleanup(os.chdir, before)
        self.addCleanup(self.assert_nothing_is_left)

    def assert_nothing_is_left(self) -> None:
        """Whoever makes a workspace deletes it."""
        self.assertEqual(self.world.left_over(), [])
