"""Isolated workspaces for coding agents: each one a real virtual machine.

`Pyro` has every operation as a method that blocks, `AsyncPyro` the same for asyncio. Results are plain dictionaries, whose
types are in `pyro_mcp.types`; what goes wrong is a `PyroError`, with a class of its own for each code in `pyro_mcp.errors`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._async_pyro import AsyncPyro as AsyncPyro
    from ._async_streams import AsyncCommandStream as AsyncCommandStream
    from ._async_workspace_handle import AsyncWorkspaceHandle as AsyncWorkspaceHandle
    from ._errors import PyroError as PyroError
    from ._output import Output as Output
    from ._pyro import Pyro as Pyro
    from ._streams import CommandStream as CommandStream
    from ._workspace_handle import WorkspaceHandle as WorkspaceHandle

__version__ = "0.1.0"

__all__ = [
    "AsyncCommandStream",
    "AsyncPyro",
    "AsyncWorkspaceHandle",
    "CommandStream",
    "Output",
    "Pyro",
    "PyroError",
    "WorkspaceHandle",
    "__version__",
]

# Loaded when they are first asked for, so that a program pays for what it uses.
_PLACES = {
    "AsyncCommandStream": "_async_streams",
    "AsyncPyro": "_async_pyro",
    "AsyncWorkspaceHandle": "_async_workspace_handle",
    "CommandStream": "_streams",
    "Output": "_output",
    "Pyro": "_pyro",
    "PyroError": "_errors",
    "WorkspaceHandle": "_workspace_handle",
}


def __getattr__(name: str) -> object:
    from importlib import import_module

    place = _PLACES.get(name)
    if place is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{place}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
