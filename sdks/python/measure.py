"""What the package costs: `python3 measure.py`, with a daemon that runs.

- import: processor time of a fresh interpreter that imports `pyro_mcp` and makes a `Pyro`, less one that does nothing.
- call: `status_daemon`, less the same bytes over a bare socket.
"""

from __future__ import annotations

import os
import pathlib
import statistics
import sys
import time
from typing import Callable

sys.path.insert(0, str(pathlib.Path(__file__).parent / "src"))

import pyro_mcp  # noqa: E402
from pyro_mcp import _http, _runtime  # noqa: E402


def median_ms(work: Callable[[], object], times: int) -> float:
    """Median of so many times."""
    took = []
    for _ in range(times):
        begin = time.perf_counter()
        work()
        took.append(time.perf_counter() - begin)
    return statistics.median(took) * 1000


def interpreter_ms(script: str, times: int) -> float:
    """Median of the processor time of a fresh interpreter that runs a script."""
    environment = {**os.environ, "PYTHONPATH": sys.path[0]}
    # An installed package is compiled.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    took = []
    for _ in range(times):
        child = os.posix_spawn(sys.executable, [sys.executable, "-c", script], environment)
        _, status, used = os.wait4(child, 0)
        if status:
            raise SystemExit(f"{script!r} fails")
        took.append(used.ru_utime + used.ru_stime)
    return statistics.median(took) * 1000


def main() -> None:
    """Measures and prints."""
    pyro = pyro_mcp.Pyro()
    pyro.start_daemon()
    question = _http.request_head("/v1/status", _http.JSON, 2) + b"{}"

    def bare() -> None:
        with _runtime.open_socket(pyro._core.home) as connected:
            connected.sendall(question)
            while connected.recv(65536):
                pass

    empty = interpreter_ms("pass", 41)
    imported = interpreter_ms("import pyro_mcp; pyro_mcp.Pyro()", 41)
    exchange = median_ms(bare, 301)
    call = median_ms(pyro.status_daemon, 301)
    print(f"import: {imported - empty:.1f} ms ({imported:.1f} with the interpreter, {empty:.1f} without the package)")
    print(f"call: {call - exchange:.2f} ms ({call:.2f} for the whole call, {exchange:.2f} over a bare socket)")


if __name__ == "__main__":
    main()
