"""Where the daemon of this user and store is, and the program that starts it. The rules are those of `pyro` itself."""

from __future__ import annotations

import os
from typing import Mapping

from ._errors import unavailable
from ._text import HostPath

_SOCKET = "daemon.sock"

#: Names the `pyro` program, where none is passed in.
PROGRAM_VARIABLE = "PYRO_BIN"


def variables(
    base_dir: HostPath | None,
    cache_dir: HostPath | None,
    max_active_vms: int | None,
    env: Mapping[str, str] | None,
) -> Mapping[str, str]:
    """The environment variables that decide which daemon is asked, and how one is started."""
    chosen = {**os.environ, **(env or {})}
    if base_dir is not None:
        chosen["PYRO_HOME"] = os.path.abspath(os.path.expanduser(os.fsdecode(os.fspath(base_dir))))
    if cache_dir is not None:
        chosen["PYRO_ENVIRONMENT_CACHE_DIR"] = os.path.abspath(os.path.expanduser(os.fsdecode(os.fspath(cache_dir))))
    if max_active_vms is not None:
        chosen["PYRO_MAX_WORKSPACES"] = str(max_active_vms)
    return chosen


class Home:
    """One store, as a set of environment variables decides it."""

    def __init__(self, variables: Mapping[str, str], program: HostPath | None = None) -> None:
        self.variables = variables
        self._program = program
        #: Directory of sockets.
        self.runtime = _runtime_directory(variables)

    @property
    def socket(self) -> str:
        """The daemon's socket, for people; possibly longer than a socket address can be."""
        return os.path.join(self.runtime, _SOCKET)

    def short_socket(self, directory: int) -> str:
        """The daemon's socket by way of a descriptor of its directory: of any length, and short."""
        return f"/proc/self/fd/{directory}/{_SOCKET}"

    def program(self) -> str:
        """The `pyro` program: as it was passed in, as `PYRO_BIN` names it, that of this package's wheel, that in `PATH`."""
        if self._program is not None:
            return _named(os.path.abspath(os.fsdecode(os.fspath(self._program))), "the argument `pyro`")
        if named := self.variables.get(PROGRAM_VARIABLE):
            return _named(named, PROGRAM_VARIABLE)
        for candidate in [*_scripts(), *_search_path(self.variables)]:
            if _is_program(candidate):
                return candidate
        raise unavailable(
            "there is no daemon, and no program `pyro` that starts one",
            f"install it, or name it: {PROGRAM_VARIABLE}=/path/to/pyro",
        )


def _named(path: str, origin: str) -> str:
    if _is_program(path):
        return path
    raise unavailable(f"there is no daemon, and {origin} names {path}, which is no program")


def _is_program(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.X_OK)


def _scripts() -> list[str]:
    """Where the installation of this package has put the programs of its wheel."""
    site = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    prefix = os.path.dirname(os.path.dirname(os.path.dirname(site)))
    # The usual layout PREFIX/lib/pythonX.Y/site-packages, and that of `pip install --target`.
    return [os.path.join(prefix, "bin", "pyro"), os.path.join(site, "bin", "pyro")]


def _search_path(variables: Mapping[str, str]) -> list[str]:
    places = variables.get("PATH", "").split(os.pathsep)
    return [os.path.join(place, "pyro") for place in places if os.path.isabs(place)]


def _runtime_directory(variables: Mapping[str, str]) -> str:
    if home := variables.get("PYRO_HOME"):
        if not os.path.isabs(home):
            raise unavailable("environment variable PYRO_HOME is not an absolute path")
        return os.path.join(home, "run")
    data = _xdg(variables, "XDG_DATA_HOME")
    if data is None:
        user = _xdg(variables, "HOME")
        if user is None:
            raise unavailable(
                "neither PYRO_HOME nor HOME is set to an absolute path",
                "set PYRO_HOME to a directory for everything that pyro keeps",
            )
        data = os.path.join(user, ".local/share")
    state = os.path.join(data, "pyro")
    runtime = _xdg(variables, "XDG_RUNTIME_DIR")
    return os.path.join(state, "run") if runtime is None else os.path.join(runtime, "pyro", _fingerprint(state))


def _xdg(variables: Mapping[str, str], name: str) -> str | None:
    path = variables.get(name, "")
    return path if os.path.isabs(path) else None


def _fingerprint(path: str) -> str:
    """Names a state directory, so that two of them never share a socket (64-bit FNV-1a)."""
    value = 0xCBF29CE484222325
    for byte in os.fsencode(path):
        value = (value ^ byte) * 0x0000_0100_0000_01B3 & 0xFFFF_FFFF_FFFF_FFFF
    return f"{value:016x}"
