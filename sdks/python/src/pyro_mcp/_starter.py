"""Brings a daemon to life: `pyro daemon start` does it, at most one whoever asks."""

from __future__ import annotations

import json

from ._errors import PyroError, from_body, unavailable
from ._home import Home

# A little more than `pyro` itself is patient.
_PATIENCE_SECONDS = 75.0


def start_daemon(home: Home) -> None:
    """Returns when a daemon accepts connections, or says why there is none. Blocks."""
    import subprocess

    program = home.program()
    try:
        started = subprocess.run(
            [program, "daemon", "start", "--json"],
            env=dict(home.variables),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=_PATIENCE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise unavailable(f"the daemon was not ready after {_PATIENCE_SECONDS:.0f} s") from None
    except OSError as error:
        raise unavailable(f"cannot run {program}: {error}") from error
    if started.returncode != 0:
        raise _reason(program, started.stdout, started.stderr)


def _reason(program: str, stdout: bytes, stderr: bytes) -> PyroError:
    try:
        told = from_body(json.loads(stdout))
    except ValueError:
        told = None
    if told is not None:
        return told
    text = (stderr or stdout).decode("utf-8", "replace").strip()
    return unavailable(f"{program} does not start a daemon: {text or 'it says nothing'}")
