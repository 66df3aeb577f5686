"""Runs the tests of a directory: `python3 run_tests.py DIRECTORY [FILTER...]`; a filter is a part of a test's name.

Ends with a line that `cargo xtask test` counts.
"""

from __future__ import annotations

import os
import pathlib
import sys
import unittest


def main(directory: str, filters: list[str]) -> int:
    """Runs those of this package and says whether all is well."""
    root = pathlib.Path(__file__).parent
    sys.path[:0] = [str(root), str(root / "src")]
    # Some tests start another interpreter.
    os.environ["PYTHONPATH"] = str(root / "src")
    return run(root / directory, root, filters)


def run(directory: pathlib.Path, top: pathlib.Path, filters: list[str]) -> int:
    """Runs the tests of a directory, whose modules are named from `top` on."""
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*{name}*" for name in filters] or None
    suite = loader.discover(str(directory), top_level_dir=str(top))
    result = unittest.TextTestRunner(stream=sys.stdout, verbosity=2).run(suite)
    failed = len(result.failures) + len(result.errors) + len(result.unexpectedSuccesses)
    skipped = len(result.skipped) + len(result.expectedFailures)
    passed = max(0, result.testsRun - failed - skipped)
    word = "ok" if not failed else "FAILED"
    print(f"test result: {word}. {passed} passed; {failed} failed; {skipped} ignored", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
