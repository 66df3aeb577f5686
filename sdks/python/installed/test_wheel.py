"""The wheel, installed as a user would install it: into a clean virtual environment, without the checkout."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import unittest
import venv
from typing import ClassVar

from live import ENVIRONMENT, Scratch, setting

# Run by the interpreter of the virtual environment.
PROGRAM = f"""
import json, os, pyro_mcp, select
with pyro_mcp.Pyro() as pyro:
    result = pyro.run_in_vm({ENVIRONMENT!r}, ["cat", "/etc/os-release"], timeout_seconds=300)
    status = pyro.status_daemon()
    daemon = os.pidfd_open(status["pid"])
    pyro.stop_daemon()
    # Until then it writes where it lives.
    assert select.select([daemon], [], [], 30)[0], "the daemon stays"
print(json.dumps([pyro_mcp.__file__, result, status["version"]]))
"""


class Wheel(unittest.TestCase):
    scratch: ClassVar[Scratch]

    @classmethod
    def setUpClass(cls) -> None:
        cls.scratch = Scratch()
        cls.addClassCleanup(cls.scratch.remove)
        cls.venv = os.path.join(cls.scratch.path, "venv")
        venv.create(cls.venv, with_pip=False)
        pip = [sys.executable, "-m", "pip", "--python", os.path.join(cls.venv, "bin/python"), "--quiet"]
        subprocess.run([*pip, "install", "--no-index", "--no-deps", setting("PYRO_TEST_WHEEL")], check=True)

    venv: ClassVar[str]

    def environment(self) -> dict[str, str]:
        """What a user has set, with a home of its own; nothing names the program or the guest agent."""
        unwanted = ("PYRO_", "PYTHON")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(unwanted)}
        homes = {"PYRO_HOME": os.path.join(self.scratch.path, "home"), "PYRO_ENVIRONMENT_CACHE_DIR": self.scratch.environments}
        return {**kept, **self.scratch.variables(), **homes}

    def output(self, program: str, *arguments: str) -> str:
        done = subprocess.run(
            [os.path.join(self.venv, "bin", program), *arguments], env=self.environment(), capture_output=True, text=True
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return done.stdout

    def test_it_runs_on_distributions_as_old_as_it_says(self) -> None:
        name = os.path.basename(setting("PYRO_TEST_WHEEL"))
        self.assertRegex(name, r"^pyro_workspaces-[0-9.]+-py3-none-manylinux_2_(\d|1\d|2[0-8])_x86_64\.whl$")

    def test_program_and_module_are_of_one_release(self) -> None:
        version = self.output("pyro", "--version").split()[1]
        script = "import pyro_mcp, importlib.metadata as m; print(pyro_mcp.__version__, m.version('pyro-workspaces'))"
        self.assertEqual(self.output("python", "-c", script).split(), [version, version])

    def test_a_machine_runs_and_nothing_came_from_elsewhere(self) -> None:
        module, result, version = json.loads(self.output("python", "-c", PROGRAM))
        self.assertTrue(module.startswith(self.venv), module)
        self.assertEqual((result["exit_code"], version), (0, self.output("pyro", "--version").split()[1]))
        self.assertIn("ID=debian", result["stdout"])

    def test_types_come_with_it(self) -> None:
        places = self.output("python", "-c", "import pyro_mcp, os; print(os.listdir(os.path.dirname(pyro_mcp.__file__)))")
        self.assertIn("'py.typed'", places)


if __name__ == "__main__":
    unittest.main()
