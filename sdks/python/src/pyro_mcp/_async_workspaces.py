"""A workspace that is deleted at the end of a block, for asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Awaitable, Callable

if TYPE_CHECKING:
    from types import TracebackType

    from ._async_methods import AsyncMethods
    from ._async_workspace_handle import AsyncWorkspaceHandle
    from .types import Workspace


class AsyncTemporaryWorkspace:
    """Makes a workspace for a `async with` block and deletes it afterwards, whatever runs in it."""

    def __init__(self, pyro: AsyncMethods, create: Callable[[], Awaitable[Workspace]]) -> None:
        self._pyro = pyro
        self._create = create

    async def __aenter__(self) -> AsyncWorkspaceHandle:
        from ._async_workspace_handle import AsyncWorkspaceHandle

        self._handle = AsyncWorkspaceHandle(self._pyro, (await self._create())["workspace_id"])
        return self._handle

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        from ._error_codes import UnknownWorkspaceError
        from ._errors import PyroError

        try:
            await self._handle.delete(force=True)
        except UnknownWorkspaceError:
            # Somebody was faster.
            pass
        except PyroError:
            # What went wrong first matters more.
            if error is None:
                raise
