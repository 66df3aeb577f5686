"""The second way in: MCP, with the official client and a server that it starts as a chat client does."""

from __future__ import annotations

import asyncio
import json
import pathlib
from contextlib import ExitStack
from typing import Any

from anyio.from_thread import start_blocking_portal
from mcp import Client, StdioServerParameters


class Mcp:
    """Follows blocks of calls; those of a list are made side by side."""

    language = "json"

    def __init__(self, place: pathlib.Path, variables: dict[str, str], profile: str = "workspace-core") -> None:
        self.calls = 0
        self.parameters = StdioServerParameters(
            command=variables["PYRO_BIN"], args=["mcp", "serve", "--profile", profile], env=variables, cwd=str(place)
        )
        self.open = ExitStack()

    def __enter__(self) -> Mcp:
        with ExitStack() as opening:
            # The client wants to be left by the task that entered it.
            self.portal = opening.enter_context(start_blocking_portal())
            self.client = opening.enter_context(self.portal.wrap_async_context_manager(Client(self.parameters)))
            self.open = opening.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.close()

    def does(self, block: str) -> list[Any]:
        """What each call of the block gave."""
        asked = json.loads(block)
        results: list[Any] = self.portal.call(self.ask, asked if isinstance(asked, list) else [asked])
        return results

    async def ask(self, calls: list[dict[str, Any]]) -> list[Any]:
        """All of them at once."""
        return list(await asyncio.gather(*(self.call(**call) for call in calls)))

    async def call(self, name: str, arguments: dict[str, Any]) -> Any:
        """The payload of one."""
        self.calls += 1
        result = await self.client.call_tool(name, arguments)
        if result.is_error:
            raise AssertionError(f"{name} {arguments}: {result.structured_content}")
        return result.structured_content
