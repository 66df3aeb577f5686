"""Commands against a stand-in: output, input with credit, cancellation, lost daemons."""

from __future__ import annotations

import io
import threading
import unittest
from typing import Any, Iterator

from pyro_mcp import Output, errors

from .stand_in import (
    CANCEL,
    ERROR,
    EVENT,
    PATIENCE_SECONDS,
    REQUEST,
    RESULT,
    STDERR,
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


def credit(length: int) -> bytes:
    return frame(STDIN_CREDIT, length.to_bytes(4, "little"))


def answering(*frames: bytes) -> Any:
    """An answer of these frames, whatever is asked."""

    def answer(peer: Peer) -> None:
        peer.request()
        peer.begin()
        peer.frames(*frames)
        peer.wait_for_hang_up()

    return answer


def breaking_off(*frames: bytes) -> Any:
    """A daemon that is lost after these frames."""

    def answer(peer: Peer) -> None:
        peer.request()
        peer.begin()
        if frames:
            peer.frames(*frames)

    return answer


class Outputs(unittest.TestCase):
    def test_a_command_is_collected_beside_its_result(self) -> None:
        heard: list[Output] = []
        events: list[Any] = []
        frames = (STARTED, frame(STDOUT, b"a\xc3"), frame(STDERR, b"\xff"), frame(STDOUT, b"\xbcb"), frame(RESULT, {"exit_code": 3}))
        with StandIn(answering(*frames)) as daemon:
            result = daemon.client().exec_workspace("w", "true", on_output=heard.append, on_event=events.append)
        self.assertEqual((result["exit_code"], result["stdout"], result["stderr"]), (3, "aüb", "\ufffd"))
        self.assertEqual((result["stderr_base64"], "stdout_base64" in result), ("/w==", False))
        self.assertEqual([piece.text for piece in heard], ["a", "\ufffd", "üb"])
        self.assertEqual([event["job_id"] for event in events], ["c7"])

    def test_no_more_is_kept_than_was_asked_for(self) -> None:
        with StandIn(answering(frame(STDOUT, "aäb".encode()), frame(RESULT, {}))) as daemon:
            result = daemon.client().run_in_vm("debian:12", ["true"], max_output_bytes=2)
        self.assertEqual((result["stdout"], result["stdout_truncated"], result["stderr_truncated"]), ("a", True, False))

    def test_a_stream_gives_output_as_it_comes(self) -> None:
        seen = threading.Event()

        def answer(peer: Peer) -> None:
            self.assertEqual(peer.operation, "run")
            self.assertEqual(peer.request(), {"environment": "debian:12", "command": ["ls", "-l"]})
            peer.begin()
            peer.frames(frame(STDOUT, b"first"))
            # Nothing more before the first piece was taken.
            self.assertTrue(seen.wait(PATIENCE_SECONDS))
            peer.frames(frame(STDERR, b"second"), frame(RESULT, {"exit_code": 0}))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon:
            with daemon.client().stream_run_in_vm("debian:12", ["ls", "-l"]) as stream:
                self.assertEqual(next(stream), Output("stdout", b"first", "first"))
                seen.set()
                self.assertEqual([piece.stream for piece in stream], ["stderr"])
                self.assertEqual(stream.result(), {"exit_code": 0})
                self.assertEqual(list(stream), [])

    def test_results_longer_than_a_frame_are_read(self) -> None:
        long = {"command": "x" * 200_000}
        body = str(long).replace("'", '"').encode()
        pieces = [body[at : at + 65536] for at in range(0, len(body), 65536)]
        frames = [bytes([RESULT]) + len(piece).to_bytes(4, "little") + piece for piece in pieces]
        with StandIn(answering(*frames)) as daemon:
            self.assertEqual(daemon.client().stream_run_in_vm("e", "true").result(), long)

    def test_malformed_streams_are_told_as_such(self) -> None:
        for frames in (
            (bytes([99, 0, 0, 0, 0]),),
            (frame(CANCEL),),
            (frame(RESULT, b"[]"),),
            (frame(EVENT, b"nonsense"),),
            (frame(ERROR, {"code": 1}),),
            (bytes([STDOUT]) + (65537).to_bytes(4, "little"),),
        ):
            def answer(peer: Peer, frames: tuple[bytes, ...] = frames) -> None:
                peer.request()
                peer.begin()
                peer.frames(*frames)

            with StandIn(answer) as daemon, self.assertRaises(errors.InternalError):
                daemon.client().run_in_vm("e", "true")

    def test_progress_is_told(self) -> None:
        heard: list[Any] = []
        event = frame(EVENT, {"event": "progress", "step": "starting the machine", "fraction": 0.5})
        with StandIn(answering(event, frame(RESULT, {"workspace_id": "0" * 12}))) as daemon:
            made = daemon.client().create_workspace("debian:12", on_progress=heard.append)
        self.assertEqual(made, {"workspace_id": "0" * 12})
        self.assertEqual(heard, [{"step": "starting the machine", "fraction": 0.5}])


class Inputs(unittest.TestCase):
    def test_input_of_every_kind_arrives_whole(self) -> None:
        content = bytes(range(256)) * 4096

        def pieces() -> Iterator[bytes]:
            for at in range(0, len(content), 1000):
                yield content[at : at + 1000]

        for source in (content, io.BytesIO(content), pieces()):
            received = bytearray()

            def answer(peer: Peer, received: bytearray = received) -> None:
                self.assertTrue(peer.request()["stdin"])
                peer.begin()
                while (got := peer.frame())[0] == STDIN:
                    received += got[1]
                    peer.frames(credit(len(got[1])))
                self.assertEqual(got[0], STDIN_EOF)
                peer.frames(frame(RESULT, {}))
                peer.wait_for_hang_up()

            with StandIn(answer) as daemon:
                daemon.client().exec_workspace("w", "cat", stdin=source)
            self.assertEqual(received, content)

    def test_no_more_input_is_sent_than_there_is_credit_for(self) -> None:
        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            received = 0
            while received < WINDOW:
                kind, payload = peer.frame()
                self.assertEqual(kind, STDIN)
                received += len(payload)
            self.assertEqual(received, WINDOW)
            peer.socket.setblocking(False)
            with self.assertRaises(BlockingIOError):
                peer.socket.recv(1)
            peer.socket.settimeout(PATIENCE_SECONDS)
            # A daemon that gives more than it got is not believed.
            peer.frames(credit(2**32 - 1))
            for _ in range(4):
                self.assertEqual(peer.frame()[0], STDIN)
            peer.frames(frame(RESULT, {}))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon:
            daemon.client().exec_workspace("w", "sleep 9", stdin=b"x" * (3 * WINDOW))

    def test_a_conversation_keeps_output_that_comes_meanwhile(self) -> None:
        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            received = 0
            while received < 2 * WINDOW:
                kind, payload = peer.frame()
                self.assertEqual(kind, STDIN)
                received += len(payload)
                peer.frames(frame(STDOUT, b"."), credit(len(payload)))
            self.assertEqual(peer.frame()[0], STDIN_EOF)
            peer.frames(frame(RESULT, {}))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon:
            with daemon.client().stream_exec_workspace("w", "cat", stdin=True) as stream:
                self.assertTrue(stream.write_stdin(b"x" * (2 * WINDOW)))
                stream.close_stdin()
                self.assertEqual(b"".join(piece.data for piece in stream), b"." * 8)

    def test_a_command_that_ends_early_wants_no_more(self) -> None:
        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frame()
            peer.frames(frame(RESULT, {"exit_code": 0}))

        with StandIn(answer) as daemon:
            with daemon.client().stream_exec_workspace("w", "true", stdin=True) as stream:
                self.assertFalse(stream.write_stdin(b"x" * (2 * WINDOW)))
                self.assertEqual(stream.result(), {"exit_code": 0})

    def test_a_source_that_breaks_cancels_and_is_told(self) -> None:
        def broken() -> Iterator[bytes]:
            yield b"begin"
            raise OSError("the disk is gone")

        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frames(STARTED)
            self.assertEqual(peer.frame(), (STDIN, b"begin"))
            self.assertEqual(peer.frame()[0], CANCEL)
            peer.frames(frame(ERROR, error_body("cancelled")))
            peer.wait_for_hang_up()

        def kill(peer: Peer) -> None:
            self.assertEqual(peer.operation, "workspace_job_kill")
            peer.answer({"state": "finished"})

        with StandIn(answer, kill) as daemon, self.assertRaisesRegex(OSError, "the disk is gone"):
            daemon.client().exec_workspace("w", "cat", stdin=broken())
        with StandIn(answer) as daemon, self.assertRaisesRegex(OSError, "the disk is gone"):
            daemon.client().upload_workspace_file("w", broken(), "f")

    def test_another_thread_may_write_while_this_one_iterates(self) -> None:
        content = bytes(range(256)) * 16384

        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            while (got := peer.frame())[0] == STDIN:
                peer.frames(frame(STDOUT, got[1]), credit(len(got[1])))
            peer.frames(frame(RESULT, {}))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon, daemon.client().stream_exec_workspace("w", "cat", stdin=True) as stream:
            connection: Any = stream._command._running()._connection
            receive, reading = connection.receive, threading.Lock()

            async def receive_alone() -> bytes:
                self.assertTrue(reading.acquire(blocking=False), "two threads read")
                try:
                    data: bytes = await receive()
                    return data
                finally:
                    reading.release()

            connection.receive = receive_alone

            def write() -> None:
                stream.write_stdin(content)
                stream.close_stdin()

            writer = threading.Thread(target=write)
            writer.start()
            self.assertEqual(b"".join(piece.data for piece in stream), content)
            writer.join()

    def test_a_source_that_never_ends_keeps_nobody(self) -> None:
        def endless() -> Iterator[bytes]:
            yield b"x"
            threading.Event().wait()

        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            self.assertEqual(peer.frame(), (STDIN, b"x"))
            peer.frames(frame(RESULT, {"exit_code": 0}))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon:
            self.assertEqual(daemon.client().exec_workspace("w", "true", stdin=endless())["exit_code"], 0)

    def test_an_upload_says_how_long_it_is(self) -> None:
        def answer(peer: Peer) -> None:
            self.assertEqual(peer.request(), {"workspace": "w", "path": "f", "mode": "0755", "size_bytes": 3})
            peer.begin()
            self.assertEqual([peer.frame(), peer.frame()], [(STDIN, b"abc"), (STDIN_EOF, b"")])
            peer.frames(frame(RESULT, {"size_bytes": 3}))
            peer.wait_for_hang_up()

        import tempfile

        with tempfile.NamedTemporaryFile() as file, StandIn(answer) as daemon:
            file.write(b"abc")
            file.flush()
            daemon.client().upload_workspace_file("w", file.name, "f", mode=0o755)


class Endings(unittest.TestCase):
    def test_who_cancels_hears_the_end_and_ends_the_command(self) -> None:
        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frames(STARTED, frame(STDOUT, b"x"))
            self.assertEqual(peer.frame()[0], CANCEL)
            peer.frames(frame(STDOUT, b"y"), frame(ERROR, error_body("cancelled", work="running")))
            peer.wait_for_hang_up()

        def kill(peer: Peer) -> None:
            self.assertEqual(peer.operation, "workspace_job_kill")
            self.assertEqual(peer.request(), {"workspace": "w", "job": "c7", "signal": "KILL"})
            peer.answer({"state": "running"})

        def end(peer: Peer) -> None:
            self.assertEqual(peer.operation, "workspace_job_wait")
            self.assertEqual(peer.request(), {"workspace": "w", "job": "c7", "timeout_seconds": 10})
            peer.begin()
            peer.frames(frame(RESULT, {"state": "finished"}))

        with StandIn(answer, kill, end) as daemon:
            stream = daemon.client().stream_exec_workspace("w", "sleep 9")
            self.assertEqual(next(stream).data, b"x")
            stream.cancel()
            self.assertEqual(next(stream).data, b"y")
            with self.assertRaises(errors.CancelledError):
                next(stream)

    def test_leaving_a_block_ends_a_run_and_waits_for_that(self) -> None:
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
            with self.assertRaises(ZeroDivisionError), daemon.client().stream_run_in_vm("e", "yes") as stream:
                next(stream)
                raise ZeroDivisionError
            self.assertTrue(cleaned_up.is_set())
            with self.assertRaises(ValueError):
                stream.result()

    def test_an_interrupted_call_ends_its_command(self) -> None:
        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frames(STARTED, frame(STDOUT, b"x"))
            self.assertEqual(peer.frame()[0], CANCEL)
            peer.frames(frame(ERROR, error_body("cancelled")))

        def interrupt(_: Output) -> None:
            raise KeyboardInterrupt

        with StandIn(answer, lambda peer: peer.answer({})) as daemon, self.assertRaises(KeyboardInterrupt):
            daemon.client().exec_workspace("w", "sleep 9", on_output=interrupt)

    def test_who_gives_up_waiting_ends_nothing(self) -> None:
        def answer(peer: Peer) -> None:
            self.assertEqual(peer.request(), {"workspace": "w", "job": "c7", "follow": True})
            peer.begin()
            peer.frames(frame(STDOUT, b"x"))
            self.assertEqual(peer.frame()[0], CANCEL)
            peer.frames(frame(ERROR, error_body("cancelled")))
            peer.wait_for_hang_up()

        with StandIn(answer) as daemon, daemon.client().stream_wait_workspace_job("w", "c7") as stream:
            next(stream)

    def test_closing_the_client_ends_what_nobody_finished(self) -> None:
        def answer(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frames(frame(STDOUT, b"x"))
            self.assertEqual(peer.frame()[0], CANCEL)
            peer.frames(frame(ERROR, error_body("cancelled")))

        with StandIn(answer) as daemon:
            with daemon.client() as pyro:
                stream = pyro.stream_run_in_vm("e", "yes")
                next(stream)
                pyro.stream_run_in_vm("e", "never asked for")

    def test_a_temporary_workspace_is_deleted_whatever_happens(self) -> None:
        def create(peer: Peer) -> None:
            peer.request()
            peer.begin()
            peer.frames(frame(RESULT, {"workspace_id": "0" * 12}))

        def delete(peer: Peer) -> None:
            self.assertEqual(peer.operation, "workspace_delete")
            self.assertEqual(peer.request(), {"workspace": "0" * 12, "force": True})
            peer.answer({"deleted": True})

        def gone(peer: Peer) -> None:
            peer.request()
            peer.answer(error_body("unknown_workspace"), "422 Unprocessable Entity")

        def fails(peer: Peer) -> None:
            peer.request()
            peer.answer(error_body("store_failed"), "422 Unprocessable Entity")

        with StandIn(create, delete, create, gone, create, fails, create, fails) as daemon:
            pyro = daemon.client()
            with pyro.temporary_workspace("debian:12") as workspace:
                self.assertEqual(workspace.workspace_id, "0" * 12)
            with pyro.temporary_workspace("debian:12"):
                pass
            with self.assertRaises(ZeroDivisionError), pyro.temporary_workspace("debian:12"):
                raise ZeroDivisionError
            with self.assertRaises(errors.StoreFailedError), pyro.temporary_workspace("debian:12"):
                pass


class LostDaemons(unittest.TestCase):
    def test_a_command_is_followed_past_lost_daemons(self) -> None:
        keys: list[str] = []

        def first(peer: Peer) -> None:
            keys.append(peer.request()["idempotency_key"])
            peer.begin()
            peer.frames(STARTED, frame(STDOUT, b"one"), frame(STDERR, b"e"))

        def second(peer: Peer) -> None:
            self.assertEqual(peer.operation, "workspace_job_wait")
            self.assertEqual(
                peer.request(), {"workspace": "w", "job": "c7", "follow": True, "stdout_from": 3, "stderr_from": 1}
            )
            peer.begin()
            peer.frames(frame(STDOUT, b"two"))

        def third(peer: Peer) -> None:
            self.assertEqual(peer.request()["stdout_from"], 6)
            peer.begin()
            peer.frames(frame(STDOUT, b"three"), frame(RESULT, {"exit_code": 0}))

        with StandIn(first, second, third) as daemon:
            result = daemon.client().exec_workspace("w", "make")
        self.assertEqual((result["stdout"], result["stderr"], result["exit_code"]), ("onetwothree", "e", 0))
        self.assertRegex(keys[0], "^[0-9a-f]{32}$")

    def test_a_command_that_nobody_heard_of_is_asked_for_again_with_its_key_and_once(self) -> None:
        keys: list[str] = []

        def lost(peer: Peer) -> None:
            keys.append(peer.request()["idempotency_key"])

        with StandIn(lost, lost) as daemon, self.assertRaises(errors.DaemonLostError):
            daemon.client().exec_workspace("w", "make", idempotency_key="mine")
        self.assertEqual(keys, ["mine", "mine"])

    def test_input_is_not_sent_a_second_time(self) -> None:
        with StandIn(breaking_off()) as daemon, self.assertRaises(errors.DaemonLostError):
            daemon.client().exec_workspace("w", "cat", stdin=b"x")

    def test_a_run_is_gone_with_its_daemon(self) -> None:
        with StandIn(breaking_off(frame(STDOUT, b"x"))) as daemon:
            with self.assertRaises(errors.DaemonLostError) as caught:
                daemon.client().run_in_vm("e", "true")
        self.assertIs(caught.exception.work_started, True)

    def test_daemons_that_are_lost_again_and_again_are_told_of(self) -> None:
        lost = breaking_off(STARTED)
        with StandIn(lost, lost, lost, lost, lost) as daemon, self.assertRaises(errors.DaemonLostError):
            daemon.client().exec_workspace("w", "make")

    def test_a_loss_that_the_daemon_tells_of_is_not_ours_to_mend(self) -> None:
        told = frame(ERROR, error_body("daemon_lost", retryable=True))
        with StandIn(answering(STARTED, told)) as daemon, self.assertRaises(errors.DaemonLostError):
            daemon.client().exec_workspace("w", "make")

    def test_waiting_goes_on_with_the_next_daemon(self) -> None:
        def second(peer: Peer) -> None:
            self.assertEqual(peer.request()["stdout_from"], 1)
            peer.begin()
            peer.frames(frame(STDOUT, b"y"), frame(RESULT, {"state": "finished"}))

        with StandIn(breaking_off(frame(STDOUT, b"x")), second) as daemon:
            self.assertEqual(daemon.client().wait_workspace_job("w", 7)["stdout"], "xy")
        # A wait that has a bound would be longer than it.
        with StandIn(breaking_off()) as daemon, self.assertRaises(errors.DaemonLostError):
            daemon.client().wait_workspace_job("w", 7, timeout_seconds=5)


if __name__ == "__main__":
    unittest.main()
