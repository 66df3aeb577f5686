"""Questions and answers against a stand-in: what is sent, what comes back, and what becomes of a daemon that breaks off."""

from __future__ import annotations

import os
import pathlib
import tempfile
import unittest

from pyro_mcp import Pyro, errors
from pyro_mcp._home import Home, variables

from .stand_in import ERROR, REQUEST, RESULT, STDOUT, Peer, StandIn, error_body, frame

STATUS = {"version": "9", "api_version": 1}


class Unary(unittest.TestCase):
    def test_a_question_is_asked_as_the_contract_has_it(self) -> None:
        def answer(peer: Peer) -> None:
            self.assertEqual(peer.line, "POST /v1/workspace_file_read HTTP/1.1")
            self.assertEqual(peer.headers["pyro-api-version"], "1")
            self.assertEqual(peer.headers["content-type"], "application/json")
            self.assertEqual(peer.request(), {"workspace": "fix-42", "path": "a", "first_line": 3})
            peer.answer({"content": "x"})

        with StandIn(answer) as daemon:
            read = daemon.client().read_workspace_file("fix-42", "a", first_line=3, max_bytes=65536)
            self.assertEqual(read, {"content": "x"})

    def test_a_handle_asks_for_its_workspace(self) -> None:
        def answer(peer: Peer) -> None:
            self.assertEqual(peer.request(), {"workspace": "fix-42", "from": "a", "to": "b", "overwrite": True})
            peer.answer({"changed": True})

        with StandIn(answer) as daemon:
            workspace = daemon.client().workspace("fix-42")
            self.assertEqual(workspace.move_file("a", "b", overwrite=True), {"changed": True})

    def test_the_socket_may_have_a_path_of_any_length(self) -> None:
        with StandIn(lambda peer: peer.answer(STATUS), name="d" * 200) as daemon:
            self.assertEqual(daemon.client().status_daemon()["version"], "9")

    def test_refusals_are_exceptions_with_everything_that_was_told(self) -> None:
        def answer(peer: Peer) -> None:
            peer.request()
            peer.answer(error_body("unknown_workspace", hint="list them"), "422 Unprocessable Entity")

        with StandIn(answer) as daemon, self.assertRaises(errors.UnknownWorkspaceError) as caught:
            daemon.client().status_workspace("nobody")
        self.assertEqual((caught.exception.hint, caught.exception.retryable), ("list them", False))

    def test_another_version_is_refused_by_name(self) -> None:
        def answer(peer: Peer) -> None:
            peer.answer(error_body("incompatible_version", work_started=False), "426 Upgrade Required")

        with StandIn(answer) as daemon, self.assertRaises(errors.IncompatibleVersionError) as caught:
            daemon.client().list_workspaces()
        self.assertIs(caught.exception.work_started, False)

    def test_a_daemon_that_breaks_off_is_lost_and_asked_only_once(self) -> None:
        def nothing(peer: Peer) -> None:
            peer.request()

        def half(peer: Peer) -> None:
            peer.request()
            peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{")

        for answer in (nothing, half):
            with StandIn(answer) as daemon, self.assertRaises(errors.DaemonLostError) as caught:
                daemon.client().list_workspaces()
            self.assertTrue(caught.exception.retryable)
            # What may have changed something is not simply to be asked for again.
            with StandIn(answer) as daemon, self.assertRaises(errors.DaemonLostError) as caught:
                daemon.client().delete_workspace_file("x", "a")
            self.assertFalse(caught.exception.retryable)

    def test_what_is_no_answer_is_told_as_such(self) -> None:
        for body in (b"ok", b"[]", b"{", b"\xff", b"[" * 100_000):
            def answer(peer: Peer, body: bytes = body) -> None:
                peer.request()
                peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

            with StandIn(answer) as daemon, self.assertRaises(errors.InternalError):
                daemon.client().list_workspaces()

        def no_http(peer: Peer) -> None:
            peer.send(b"SSH-2.0-OpenSSH_9.2p1\r\n\r\n")

        with StandIn(no_http) as daemon, self.assertRaises(errors.InternalError):
            daemon.client().list_workspaces()

    def test_an_answer_without_an_end_is_not_kept(self) -> None:
        def answer(peer: Peer) -> None:
            peer.begin()
            part = b" " * (1 << 20)
            try:
                for _ in range(64):
                    peer.send(b"%x\r\n" % len(part) + part + b"\r\n")
            except OSError:
                return
            raise AssertionError("the client has taken 64 MiB")

        with StandIn(answer) as daemon, self.assertRaises(errors.InternalError):
            daemon.client().list_workspaces()

    def test_without_a_daemon_it_says_so(self) -> None:
        with tempfile.TemporaryDirectory() as home:
            with self.assertRaises(errors.DaemonUnavailableError) as caught:
                Pyro(base_dir=home, start=False).list_workspaces()
            self.assertIn(os.path.join(home, "run/daemon.sock"), str(caught.exception))
            self.assertIs(caught.exception.work_started, False)
            # Asking must not start what it asks about.
            with self.assertRaises(errors.DaemonUnavailableError):
                Pyro(base_dir=home, pyro="/bin/false").status_daemon()


class Starting(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)

    def program(self, script: str, name: str = "pyro") -> str:
        path = self.scratch / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    def test_a_program_that_cannot_start_one_is_heard(self) -> None:
        told = '{"ok":false,"error":"no room","code":"disk_full","hint":"make some","retryable":false}'
        for script, kind, text in (
            (f"echo '{told}'; exit 1", errors.DiskFullError, "no room"),
            ("echo broken >&2; exit 3", errors.DaemonUnavailableError, "broken"),
            ("exit 0", errors.DaemonUnavailableError, "connect to the daemon"),
        ):
            pyro = Pyro(base_dir=self.scratch, pyro=self.program(script))
            with self.assertRaisesRegex(kind, text):
                pyro.list_workspaces()

    def test_it_is_asked_to_start_one_with_the_variables_of_the_client(self) -> None:
        script = 'echo "$@ $PYRO_HOME $PYRO_ENVIRONMENT_CACHE_DIR $PYRO_MAX_WORKSPACES $MORE" >&2; exit 1'
        pyro = Pyro(
            base_dir=self.scratch, cache_dir="/c", max_active_vms=7, env={"MORE": "m"}, pyro=self.program(script)
        )
        with self.assertRaisesRegex(errors.DaemonUnavailableError, f"daemon start --json {self.scratch} /c 7 m"):
            pyro.start_daemon()

    def test_the_program_is_looked_for_where_it_was_named(self) -> None:
        program = self.program("exit 0")
        other = self.program("exit 0", "other")
        home = {"PYRO_HOME": "/nonexistent"}
        self.assertEqual(Home({**home, "PYRO_BIN": other, "PATH": str(self.scratch)}, program).program(), program)
        self.assertEqual(Home({**home, "PYRO_BIN": other, "PATH": str(self.scratch)}).program(), other)
        self.assertEqual(Home({**home, "PATH": f"{os.path.relpath(self.scratch)}:{self.scratch}"}).program(), program)
        for variables_, argument in (({"PYRO_BIN": "/nonexistent/pyro"}, None), ({}, "/nonexistent/pyro"), ({}, None)):
            with self.assertRaises(errors.DaemonUnavailableError):
                Home({**home, **variables_}, argument).program()

    def test_the_daemon_is_where_pyro_has_it(self) -> None:
        def runtime(**values: str) -> str:
            return Home(values).runtime

        self.assertEqual(runtime(PYRO_HOME="/p", XDG_RUNTIME_DIR="/r"), "/p/run")
        self.assertEqual(runtime(HOME="/h"), "/h/.local/share/pyro/run")
        self.assertEqual(runtime(HOME="/h", XDG_DATA_HOME="/d"), "/d/pyro/run")
        self.assertEqual(runtime(HOME="/h", XDG_DATA_HOME="d", XDG_RUNTIME_DIR="r"), "/h/.local/share/pyro/run")
        # 64-bit FNV-1a of the data directory.
        self.assertEqual(runtime(XDG_DATA_HOME="/d", XDG_RUNTIME_DIR="/r"), "/r/pyro/5340aca5669c929b")
        for bad in ({"PYRO_HOME": "here"}, {}):
            with self.assertRaises(errors.DaemonUnavailableError):
                runtime(**bad)
        self.assertEqual(variables("a", None, None, {"PYRO_HOME": "b"})["PYRO_HOME"], os.path.abspath("a"))


class Files(unittest.TestCase):
    def setUp(self) -> None:
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = pathlib.Path(scratch.name)

    def download(self, *frames: bytes) -> StandIn:
        def answer(peer: Peer) -> None:
            self.assertEqual(peer.frame()[0], REQUEST)
            peer.begin()
            peer.frames(*frames)

        return StandIn(answer)

    def test_a_download_gets_its_name_when_it_is_whole(self) -> None:
        target = self.scratch / "out"
        whole = (frame(STDOUT, b"a\xff"), frame(STDOUT, b"b"), frame(RESULT, {"mode": "6755"}))
        with self.download(*whole) as daemon:
            daemon.client().download_workspace_file("w", "f", target)
        self.assertEqual((target.read_bytes(), target.stat().st_mode & 0o7777), (b"a\xffb", 0o755))
        with self.download(*whole) as daemon:
            daemon.client().download_workspace_file("w", "f", target, force=True)
        with self.download(*whole[:1], frame(ERROR, error_body("machine_lost"))) as daemon:
            with self.assertRaises(errors.MachineLostError):
                daemon.client().download_workspace_file("w", "f", target, force=True)
        self.assertEqual(target.read_bytes(), b"a\xffb")
        self.assertEqual(os.listdir(self.scratch), ["out"])

    def test_a_download_replaces_nothing_by_itself(self) -> None:
        target = self.scratch / "out"
        target.write_bytes(b"mine")
        with self.assertRaises(errors.OutputExistsError):
            Pyro(base_dir=self.scratch, start=False).download_workspace_file("w", "f", target)
        self.assertEqual(target.read_bytes(), b"mine")

    def test_an_export_goes_into_an_open_file_or_to_a_path_of_the_daemon(self) -> None:
        with (self.scratch / "x").open("wb") as target:
            with self.download(frame(STDOUT, b"patch"), frame(RESULT, {"output_path": None})) as daemon:
                daemon.client().export_workspace("w", output_path=target, format="patch")
        self.assertEqual((self.scratch / "x").read_bytes(), b"patch")

        def answer(peer: Peer) -> None:
            self.assertEqual(peer.request(), {"workspace": "w", "path": "a", "output_path": os.path.abspath("out")})
            peer.begin()
            peer.frames(frame(RESULT, {"output_path": "x"}))

        with StandIn(answer) as daemon:
            daemon.client().export_workspace("w", "a", output_path="out")


if __name__ == "__main__":
    unittest.main()
