"""The same for asyncio: calls side by side, streams, cancelled tasks."""

from __future__ import annotations

import asyncio
import io
import threading
import unittest
from typing import Any, AsyncIterator

from pyro_mcp import errors

from .stand_in import (
    CANCEL,
    ERROR,
    EVENT,
    PATIENCE_SECONDS,
    RESULT,
    STDIN,
    STDIN_CREDIT,
    STDIN_EOF,
    STDOUT,
    Peer,
    StandIn,
    error_body,
    frame,
)

WINDOW = 4 * 65536
STARTED = frame(EVENT, {"event": "started", "sequence": 7, "job_id": "c7", "attached": False})


class Asyncio(unittest.IsolatedAsyncioTestCase):
    async def test_questions_are_asked_and_refused(self) -> None:
        def refuse(peer: Peer) -> None:
            peer.request()
            peer.answer(error_body("unknown_workspace"), "422 Unprocessable Entity")

        with StandIn(lambda peer: peer.answer({"environments": [{"name": "a"}]}), refuse) as daemon:
            async with daemon.async_client() as pyro:
                self.assertEqual(await pyro.list_environments(), [{"name": "a"}])
                with self.assertRaises(errors.UnknownWorkspaceError):
                    await pyro.workspace("w").status()

    async def test_calls_go_on_side_by_side(self) -> None:
        both = threading.Barrier(2)

        def answer(peer: Peer) -> None:
            peer.request()
            both.wait(PATIENCE_SECONDS)
            peer.answer({})

        # Two stand-ins, as each answers one after the other.
        with StandIn(answer) as one, StandIn(answer) as other:
            await asyncio.gather(one.async_client().list_workspaces(), other.async_client().list_workspaces())

    async def test_a_stream_gives_output_as_it_comes(self) -> None:
        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frames(STARTED, frame(STDOUT, b"a"), frame(STDOUT, b"b"), frame(RESULT, {"exit_code": 0}))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon:
            async with daemon.async_client().stream_exec_workspace("w", "true") as stream:
                self.assertEqual([piece.text async for piece in stream], ["a", "b"])
                self.assertEqual((stream.job_id, await stream.result()), ("c7", {"exit_code": 0}))

    async def test_input_of_every_kind_arrives_whole(self) -> None:
        content = bytes(range(256)) * 4096

        async def pieces() -> AsyncIterator[bytes]:
            for at in range(0, len(content), 50_000):
                yield content[at : at + 50_000]

        for source in (content, io.BytesIO(content), pieces(), iter([content])):
            received = bytearray()

            def answer(peer: Peer, received: bytearray = received) -> None:
                peer.request()
                peer.begin()
                while (got := peer.frame())[0] == STDIN:
                    received += got[1]
                    peer.frames(frame(STDIN_CREDIT, len(got[1]).to_bytes(4, "little")))
                self.assertEqual(got[0], STDIN_EOF)
                peer.frames(frame(RESULT, {}))
                peer.wait_for_hang_up()

            with StandIn(answer) as daemon:
                await daemon.async_client().exec_workspace("w", "cat", stdin=source)
            self.assertEqual(received, content)

    async def test_a_command_that_reads_nothing_can_end(self) -> None:
        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            received = 0
            while received < WINDOW:
                received += len(peer.frame()[1])
            peer.frames(frame(RESULT, {"exit_code": 0}))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon:
            result = await daemon.async_client().exec_workspace("w", "true", stdin=b"x" * (3 * WINDOW))
            self.assertEqual(result["exit_code"], 0)

    async def test_a_source_that_never_ends_keeps_nobody(self) -> None:
        async def endless() -> AsyncIterator[bytes]:
            yield b"x"
            await asyncio.Event().wait()

        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            self.assertEqual(peer.frame(), (STDIN, b"x"))
            peer.frames(frame(RESULT, {"exit_code": 0}))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon:
            call = daemon.async_client().exec_workspace("w", "true", stdin=endless())
            self.assertEqual((await asyncio.wait_for(call, PATIENCE_SECONDS))["exit_code"], 0)

    async def test_leaving_a_block_ends_a_run_and_waits_for_that(self) -> None:
        cleaned_up = threading.Event()

        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frames(frame(STDOUT, b"x"))
            self.assertEqual(peer.frame()[0], CANCEL)
            cleaned_up.set()
            peer.frames(frame(ERROR, error_body("cancelled")))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon:
            async with daemon.async_client().stream_run_in_vm("e", "yes") as stream:
                await anext(stream)
            self.assertTrue(cleaned_up.is_set())

    async def test_a_cancelled_task_ends_its_command_and_waits_for_that(self) -> None:
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        ended = threading.Event()

        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frames(STARTED)
            self.assertEqual(peer.frame()[0], CANCEL)
            peer.frames(frame(ERROR, error_body("cancelled")))
            peer.wait_for_hang_up()

        def kill(peer: Peer) -> None:
            self.assertEqual((peer.operation, peer.request()["signal"]), ("workspace_job_kill", "KILL"))
            ended.set()
            peer.answer({})

        def on_event(_: Any) -> None:
            begun.set_result(None)

        with StandIn(answer, kill) as daemon:
            task = asyncio.create_task(daemon.async_client().exec_workspace("w", "sleep 9", on_event=on_event))
            await begun
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task
            self.assertTrue(ended.is_set())

    async def test_a_cancelled_transfer_is_ended(self) -> None:
        begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frames(frame(EVENT, {"event": "progress", "step": "sending files"}))
            self.assertEqual(peer.frame()[0], CANCEL)
            peer.frames(frame(ERROR, error_body("cancelled")))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon:
            push = daemon.async_client().push_workspace_sync("w", "/src", on_progress=lambda _: begun.set_result(None))
            task = asyncio.create_task(push)
            await begun
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

    async def test_a_conversation_goes_both_ways(self) -> None:
        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            while (got := peer.frame())[0] == STDIN:
                peer.frames(frame(STDOUT, got[1].upper()), frame(STDIN_CREDIT, len(got[1]).to_bytes(4, "little")))
            peer.frames(frame(RESULT, {}))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon:
            async with daemon.async_client().stream_exec_workspace("w", "cat", stdin=True) as stream:
                for word in (b"one", b"two"):
                    self.assertTrue(await stream.write_stdin(word))
                    self.assertEqual((await anext(stream)).data, word.upper())
                await stream.close_stdin()
                self.assertEqual(await stream.result(), {})

    async def test_a_command_is_followed_past_a_lost_daemon(self) -> None:
        def first(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frames(STARTED, frame(STDOUT, b"one"))

        def second(peer: Peer) -> None:
            self.assertEqual((peer.operation, peer.request()["stdout_from"]), ("workspace_job_wait", 3))
            peer.begin()
            peer.frames(frame(STDOUT, b"two"), frame(RESULT, {}))

        with StandIn(first, second) as daemon:
            self.assertEqual((await daemon.async_client().exec_workspace("w", "make"))["stdout"], "onetwo")

    async def test_a_temporary_workspace_is_deleted(self) -> None:
        def create(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frames(frame(RESULT, {"workspace_id": "0" * 12}))

        with StandIn(create, lambda peer: peer.answer({})) as daemon:
            async with daemon.async_client().temporary_workspace("debian:12") as workspace:
                self.assertEqual(workspace.workspace_id, "0" * 12)


if __name__ == "__main__":
    unittest.main()
