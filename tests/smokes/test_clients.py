"""The examples of clients, run as a user would run them, with a stand-in for the model."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from .model import Model, recording
from .run import ROOT
from .world import Smoke


class Clients(Smoke):
    """Each against its recording."""

    def run_example(self, name: str, *arguments: str, plays: str) -> str:
        """What it prints when the model calls what was recorded."""
        with Model(recording(plays)) as model:
            variables = {"OPENAI_BASE_URL": model.url, "OPENAI_API_KEY": "none", "MODEL": "replay"}
            paths = [str(ROOT / "sdks/python/src"), os.environ.get("PYTHONPATH", "")]
            done = subprocess.run(
                [sys.executable, str(ROOT / "examples/clients" / name), *arguments],
                env={**os.environ, **variables, "PYTHONPATH": ":".join(paths)},
                capture_output=True,
                text=True,
                timeout=600,
            )
        self.assertEqual((done.returncode, model.faults), (0, []), done.stderr)
        self.assertTrue(model.is_done, done.stderr)
        return done.stdout

    def project(self, name: str) -> None:
        """A copy of an example project, as `project`."""
        shutil.copytree(ROOT / "examples/projects" / name, "project")

    def test_clients_plain_python(self) -> None:
        self.project("python-package")
        printed = self.run_example("plain_python.py", "project", "The tests fail. Mend the package.", plays="plain_python")
        self.assertIn("Touching hours are joined now", printed)
        self.assertIn("+            result[-1] = (result[-1][0], max(end, result[-1][1]))", printed)

    def test_clients_openai_responses_vm_run(self) -> None:
        printed = self.run_example("openai_responses.py", "vm-run", "Which git has debian:12?", plays="responses_vm_run")
        self.assertEqual(printed, "It has a version 2 of git.\n")

    def test_clients_openai_responses_workspace_core(self) -> None:
        self.project("suspicious-package")
        printed = self.run_example("openai_responses.py", "workspace-core", "Is ./project safe?", plays="responses_workspace_core")
        self.assertEqual(printed, "The script downloads a program in line 7.\n")

    def test_clients_langchain_tool(self) -> None:
        printed = self.run_example("langchain_tool.py", "What is 6 times 7?", plays="langchain_tool")
        self.assertEqual(printed, "It is 42.\n")
