"""Reproduce, mend, show, and back to the beginning."""

from __future__ import annotations

import pathlib
import re

from . import Story

MENDED = "max(end, result[-1][1])"


def afterwards(place: pathlib.Path) -> None:
    """The file is there and mended, and the project is as it was."""
    handed_over = (place / "intervals.py").read_text()
    assert MENDED in handed_over and "begin <= result" in handed_over, handed_over
    assert MENDED not in (place / "project/opening_hours/intervals.py").read_text()


STORY = Story(
    name="repro-fix-loop",
    wanted=[
        [{"name": "fix-hours", "state": "started", "workspace_seed": {"mode": "directory"}}],
        [{"exit_code": 1, "stderr": re.compile(r"Ran 5 tests.*FAILED \(failures=2\)", re.DOTALL), "execution_mode": "guest_vsock"}],
        [{"path": "/workspace/opening_hours/intervals.py", "content": re.compile("begin < result"), "truncated": False}],
        [{"count": 1}],
        [{"exit_code": 1, "stderr": re.compile(r"FAILED \(failures=1\)")}],
        [{"changed": True, "summary": {"total": 1, "modified": 1}}],
        [{"exit_code": 0, "stderr": re.compile(r"Ran 5 tests.*\nOK\n$", re.DOTALL)}],
        [
            {
                "changed": True,
                "entries": [{"path": "opening_hours/intervals.py", "status": "modified"}],
                "patch": re.compile(r"^-.*begin < result.*^\+.*begin <= result.*^\+.*max\(end", re.DOTALL | re.MULTILINE),
            }
        ],
        [{"artifact_type": "file", "entry_count": 1}],
        [{"reset_count": 1, "command_count": 0, "workspace_reset": {"snapshot_name": "baseline", "resumed": "memory"}}],
        [{"changed": False, "entries": []}],
        [{"deleted": True}],
    ],
    afterwards=afterwards,
)
