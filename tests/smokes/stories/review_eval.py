"""Judge, try, go back, judge again."""

from __future__ import annotations

import pathlib
import re

from . import Story


def afterwards(place: pathlib.Path) -> None:
    """The report is of the notes as they are, and those are as they were."""
    report = (place / "report.md").read_text()
    assert report.count("PASS: ") == 3 and "FAIL" not in report, report
    assert "## Breaking changes" in (place / "project/NOTES.md").read_text()
    assert not (place / "project/report.md").exists()


PASSED = {"exit_code": 0, "stdout": re.compile(r"\A(PASS: .*\n){3}\Z")}

STORY = Story(
    name="review-eval",
    profile="workspace-full",
    wanted=[
        [{"name": "review", "state": "started"}],
        [{"snapshot": {"snapshot_name": "pre-review", "kind": "named", "has_memory": True, "deletable": True}}],
        [{"content": re.compile("What breaks is said"), "truncated": False}],
        [PASSED],
        [{"count": 1}],
        [{"exit_code": 1, "stdout": re.compile(r"^FAIL: what breaks is said$", re.MULTILINE)}],
        [{"reset_count": 1, "workspace_reset": {"snapshot_name": "pre-review", "kind": "named", "resumed": "memory"}}],
        [{"content": re.compile(r"^## Breaking changes$", re.MULTILINE)}],
        [PASSED],
        [{"artifact_type": "file", "entry_count": 1}],
        [{"deleted": True}],
    ],
    afterwards=afterwards,
)
