"""Runs the smokes: `python3 run.py [FILTER...]`; a filter is the name of a story or a part of a test's name."""

from __future__ import annotations

import pathlib
import sys

ROOT = pathlib.Path(__file__).parents[2]


def main(filters: list[str]) -> int:
    """Runs them and says whether all is well."""
    sys.path[:0] = [str(ROOT / "sdks/python"), str(ROOT / "sdks/python/src"), str(ROOT / "tests")]
    from run_tests import run

    return run(ROOT / "tests/smokes", ROOT / "tests", [name.replace("-", "_") for name in filters])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
