"""Two issues side by side."""

from __future__ import annotations

import pathlib
import re
from typing import Any

from . import Story


def both_are_listed(result: Any) -> bool:
    """By name and label, whichever was used last."""
    found = {item["name"]: item["labels"] for item in result["workspaces"]}
    return found == {"tally-lines": {"issue": "lines"}, "tally-words-1": {"issue": "words"}}


def afterwards(place: pathlib.Path) -> None:
    """Both changes are in what was handed over, and none is in the source."""
    both = (place / "mended/tally.c").read_text()
    assert "return lines + (length" in both and "if (!isspace" in both, both
    source = (place / "project/src/tally.c").read_text()
    assert "return lines;" in source and "if (isspace" in source, source
    assert not (place / "project/tally").exists()


def passed(one: str, other: str) -> dict[str, Any]:
    """One issue is solved and the other is not."""
    return {"exit_code": 2, "stdout": re.compile(rf"^(?=[^~]*^passed: {one}$)(?=[^~]*^failed: {other}$)", re.MULTILINE)}


WORDS = {
    "entries": [{"path": "src/tally.c", "status": "modified"}],
    "patch": re.compile(r"^\+.*if \(!isspace", re.MULTILINE),
}

STORY = Story(
    name="parallel-workspaces",
    profile="workspace-full",
    wanted=[
        [{"name": "tally-lines", "labels": {"issue": "lines"}}],
        [{"count": 1, "resumed": "memory", "workspaces": [{"name": "tally-words-1", "state": "started"}]}],
        [{"count": 1}, {"count": 1}],
        [passed("lines", "words"), passed("words", "lines")],
        [both_are_listed],
        [WORDS],
        [{"changed": True, "summary": {"total": 1, "modified": 1}}],
        [{"exit_code": 0, "stdout": re.compile(r"passed: lines\npassed: words\n$")}],
        [{"name": "tally-lines", "labels": {"issue": "both"}}],
        [{"artifact_type": "directory"}],
        [{"deleted": True}, {"deleted": True}],
    ],
    # The command line hands the patch from one to the other in a file.
    instead={("sh", 6): [{"artifact_type": "file", "entry_count": 1}]},
    afterwards=afterwards,
)
