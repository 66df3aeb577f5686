"""A workspace that is deleted at the end of a block, for callers that block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Callable

if TYPE_CHECKING:
    from types import TracebackType

    from ._methods import Methods
    from ._workspace_handle import WorkspaceHandle
    from .types import Workspace


class TemporaryWorkspace:
    """Makes a workspace for a `with` block and deletes it afterwards, whatever runs in it."""

    def __init__(self, pyro: Methods, create: Callable[[], Workspace]) -> None:
        self._pyro = pyro
        self._create = create

    def __enter__(self) -> WorkspaceHandle:
        from ._workspace_handle import WorkspaceHandle

        self._handle = WorkspaceHandle(self._pyro, self._create()["workspace_id"])
        return self._handle

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        from ._error_codes import UnknownWorkspaceError
        from ._errors import PyroError

        try:
            self._handle.delete(force=True)
        except UnknownWorkspaceError:
            # Somebody was faster.
            pass
        except PyroError:
            # What went wrong first matters more.
            if error is None:
                raise
