"""`AsyncPyro`, for asyncio."""

from __future__ import annotations

from typing import TYPE_CHECKING, Mapping

from ._async_methods import AsyncMethods
from ._home import Home, variables

if TYPE_CHECKING:
    from types import TracebackType

    from ._text import HostPath
    from ._async_workspace_handle import AsyncWorkspaceHandle


class AsyncPyro(AsyncMethods):
    """Asks the pyro daemon of this user, and starts it when there is none; the same methods as `Pyro`, for asyncio.

    A task that is cancelled ends what it has asked for, and waits until that is cleaned up. Belongs to no loop.

    - `base_dir`: One directory for everything, as `PYRO_HOME`.
    - `pyro`: The program that starts the daemon; else what `PYRO_BIN` names, the one of this package's wheel, the first
      one in `PATH`.
    - `start`: Whether a daemon is started when there is none.
    - `env`: Environment variables beside those of this process, for finding the daemon and for one that is started.
    - `cache_dir`, `max_active_vms`: The same as `PYRO_ENVIRONMENT_CACHE_DIR` and `PYRO_MAX_WORKSPACES`, which count for a
      daemon that is started, and not for one that is there.
    """

    def __init__(
        self,
        *,
        base_dir: HostPath | None = None,
        cache_dir: HostPath | None = None,
        max_active_vms: int | None = None,
        pyro: HostPath | None = None,
        start: bool = True,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._connect_to(Home(variables(base_dir, cache_dir, max_active_vms, env), pyro), start)

    def workspace(self, workspace_id: str) -> AsyncWorkspaceHandle:
        """The handle of a workspace, by its id or name. Nothing is asked for."""
        from ._async_workspace_handle import AsyncWorkspaceHandle

        return AsyncWorkspaceHandle(self, workspace_id)

    async def start_daemon(self) -> None:
        """Starts the daemon if there is none. Everything but `status_daemon` and `stop_daemon` does it by itself."""
        await self._core.client.start()

    @property
    def socket(self) -> str:
        """The daemon's socket."""
        return self._core.home.socket

    async def close(self) -> None:
        """Ends what streams have begun and nobody has finished."""
        await self._streams.close()

    async def __aenter__(self) -> AsyncPyro:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(socket={self.socket!r})"
