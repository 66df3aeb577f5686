"""What the package costs: `python3 measure.py`, with a daemon that runs; `--json` for programs.

- import: processor time of a fresh interpreter that imports `pyro_mcp` and makes a `Pyro`, less one that does nothing.
- call: `status_daemon`, less the same bytes over a bare socket.
"""

from __future__ import annotations

import json
import os
import pathlib
import statistics
import sys
import time
from typing import Callable

sys.path.insert(0, str(pathlib.Path(__file__).parent / "src"))

import pyro_mcp  # noqa: E402
from pyro_mcp import _http, _runtime  # noqa: E402


def medians_ms(times: int, *works: Callable[[], float]) -> list[float]:
    """Medians of what each work says it took, in seconds. They are done in turn, so that all meet the same load."""
    took = [[work() for work in works] for _ in range(times)]
    return [statistics.median(column) * 1000 for column in zip(*took)]


def wall(work: Callable[[], object]) -> Callable[[], float]:
    """How long it takes."""

    def timed() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return timed


def interpreter(script: str) -> Callable[[], float]:
    """The processor time of a fresh interpreter that runs a script."""
    environment = {**os.environ, "PYTHONPATH": sys.path[0]}
    # An installed package is compiled.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)

    def timed() -> float:
        child = os.posix_spawn(sys.executable, [sys.executable, "-c", script], environment)
        _, status, used = os.wait4(child, 0)
        if status:
            raise SystemExit(f"{script!r} fails")
        return used.ru_utime + used.ru_stime

    return timed


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

    empty, imported = medians_ms(41, interpreter("pass"), interpreter("import pyro_mcp; pyro_mcp.Pyro()"))
    exchange, call = medians_ms(301, wall(bare), wall(pyro.status_daemon))
    if "--json" in sys.argv[1:]:
        print(json.dumps({"import_ms": imported - empty, "call_ms": call - exchange}))
        return
    print(f"import: {imported - empty:.1f} ms ({imported:.1f} with the interpreter, {empty:.1f} without the package)")
    print(f"call: {call - exchange:.2f} ms ({call:.2f} for the whole call, {exchange:.2f} over a bare socket)")


if __name__ == "__main__":
    main()
