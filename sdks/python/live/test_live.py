"""Every operation as a user would use it, and what only a real daemon shows."""

from __future__ import annotations

import asyncio
import io
import os
import pathlib
import shutil
import signal
import tarfile
import tempfile
import threading
import unittest
from typing import Any, ClassVar

from pyro_mcp import AsyncPyro, Output, Pyro, errors
from pyro_mcp.types import Workspace

from . import ENVIRONMENT, Scratch, stop_and_wait, wait_for_end

scratch: Scratch


def setUpModule() -> None:
    global scratch
    scratch = Scratch()
    unittest.addModuleCleanup(scratch.remove)


def kill_and_wait(pid: int) -> None:
    process = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    wait_for_end(process)


class Live(unittest.TestCase):
    home: ClassVar[str] = "machines"
    pyro: ClassVar[Pyro]

    @classmethod
    def setUpClass(cls) -> None:
        cls.pyro = Pyro(**scratch.client(cls.home))
        cls.addClassCleanup(cls.stop)

    @classmethod
    def stop(cls) -> None:
        try:
            stop_and_wait(cls.pyro, force=True)
        except errors.DaemonUnavailableError:
            pass

    def directory(self) -> pathlib.Path:
        made = tempfile.TemporaryDirectory(dir=scratch.path)
        self.addCleanup(made.cleanup)
        return pathlib.Path(made.name)


class Daemon(Live):
    home = "daemon"

    def test_it_starts_when_it_is_needed_and_is_where_we_think(self) -> None:
        pyro = self.pyro
        with self.assertRaises(errors.DaemonUnavailableError):
            pyro.status_daemon()
        names = [environment["name"] for environment in pyro.list_environments()]
        self.assertIn(ENVIRONMENT, names)
        status = pyro.status_daemon()
        self.assertEqual((status["socket"], status["api_version"]), (pyro.socket, 1))
        self.assertTrue(stop_and_wait(pyro))

    def test_many_ask_at_once_and_there_is_one(self) -> None:
        pids: list[int] = []

        def ask() -> None:
            self.pyro.list_workspaces()
            pids.append(self.pyro.status_daemon()["pid"])

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual((len(pids), len(set(pids))), (8, 1))

    def test_it_is_found_by_the_xdg_directories_too(self) -> None:
        home, runtime = self.directory(), self.directory()
        variables = {name: "" for name in ("PYRO_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")}
        given = scratch.client("none")
        given["env"] |= {**variables, "HOME": str(home), "XDG_RUNTIME_DIR": str(runtime)}
        pyro = Pyro(**{**given, "base_dir": None})
        pyro.list_workspaces()
        self.assertEqual(pyro.status_daemon()["socket"], pyro.socket)
        self.assertTrue(pyro.socket.startswith(str(runtime)))
        stop_and_wait(pyro)


class Machines(Live):
    def test_a_run_has_its_output_input_and_status(self) -> None:
        result = self.pyro.run_in_vm(ENVIRONMENT, "cat; echo oops >&2; exit 7", stdin=b"in\xff", timeout_seconds=120)
        self.assertEqual((result["exit_code"], result["stderr"]), (7, "oops\n"))
        self.assertEqual(result["stdout_base64"], "aW7/")
        self.assertTrue(result["cleanup"]["deleted"])

    def test_a_machine_goes_through_its_steps(self) -> None:
        made = self.pyro.create_vm(environment=ENVIRONMENT)
        vm_id = made["vm_id"]
        self.assertEqual(self.pyro.start_vm(vm_id)["state"], "started")
        self.assertFalse(self.pyro.network_info_vm(vm_id)["network_enabled"])
        self.assertEqual(self.pyro.exec_vm(vm_id, command="echo hi")["stdout"], "hi\n")
        with self.assertRaises(errors.UnknownVmError):
            self.pyro.status_vm(vm_id)
        self.assertEqual(self.pyro.reap_expired()["count"], 0)

    def test_leaving_a_stream_leaves_no_machine(self) -> None:
        with self.pyro.stream_run_in_vm(ENVIRONMENT, "echo begun; sleep 600", timeout_seconds=700) as stream:
            self.assertEqual(next(stream).text, "begun\n")
            self.assertEqual(self.pyro.status_daemon()["live_machines"], 1)
        self.assertEqual(self.pyro.status_daemon()["live_machines"], 0)

    def test_requests_that_cannot_be_are_refused_by_code(self) -> None:
        for code, ask in (
            ("unknown_environment", lambda: self.pyro.run_in_vm("nowhere:1", "true")),
            ("invalid_size", lambda: self.pyro.run_in_vm(ENVIRONMENT, "true", vcpu_count=99)),
            ("missing_command", lambda: self.pyro.run_in_vm(ENVIRONMENT, [])),
            ("not_yet_supported", lambda: self.pyro.run_in_vm(ENVIRONMENT, "true", network=True)),
            ("unknown_workspace", lambda: self.pyro.status_workspace("nobody")),
        ):
            with self.assertRaises(ValueError) as caught:
                ask()
            assert isinstance(caught.exception, errors.PyroError)
            self.assertEqual(caught.exception.code, code)


class Workspaces(Live):
    workspace: ClassVar[Workspace]

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        cls.addClassCleanup(cls.remove)
        seed = os.path.join(scratch.path, "seed")
        os.makedirs(os.path.join(seed, "src"))
        pathlib.Path(seed, "src/a.txt").write_text("one\ntwo\n")
        pathlib.Path(seed, "b\udcff").write_bytes(b"x")
        steps: list[Any] = []
        cls.workspace = cls.pyro.create_workspace(
            environment=ENVIRONMENT, seed_path=seed, name="live", labels={"base64": "eA=="}, on_progress=steps.append
        )
        cls.steps = steps

    steps: ClassVar[list[Any]]

    @classmethod
    def remove(cls) -> None:
        cls.pyro.delete_workspace(cls.workspace["workspace_id"], force=True)

    def setUp(self) -> None:
        self.it = self.pyro.workspace(self.workspace["workspace_id"])

    def test_it_is_what_was_asked_for(self) -> None:
        self.assertEqual((self.workspace["name"], self.workspace["labels"]), ("live", {"base64": "eA=="}))
        self.assertEqual(self.workspace["workspace_seed"]["mode"], "directory")
        self.assertTrue(all(step["step"] for step in self.steps))
        self.assertEqual(self.it.update(labels={"k": "v"})["labels"]["k"], "v")
        listed = self.pyro.list_workspaces(name="live", labels={"k": "v"})
        self.assertEqual([found["workspace_id"] for found in listed["workspaces"]], [self.it.workspace_id])
        self.assertEqual(self.pyro.workspace("live").status()["workspace_id"], self.it.workspace_id)

    def test_its_disk_is_looked_at_while_it_is_stopped(self) -> None:
        self.it.write_file("disk/a.txt", text="on the disk\n")
        with self.assertRaises(errors.WorkspaceStateError):
            self.it.list_disk()
        self.it.stop()
        try:
            listed = self.it.list_disk("disk")
            self.assertEqual([entry["path"] for entry in listed["entries"]], ["/workspace/disk/a.txt"])
            self.assertEqual(self.it.read_disk("disk/a.txt")["content"], "on the disk\n")
            with tempfile.TemporaryDirectory() as directory:
                taken = self.it.export_disk(os.path.join(directory, "root.tar"), merged=True)
                self.assertEqual(taken["disk_format"], "tar")
                with tarfile.open(taken["output_path"]) as archive:
                    self.assertEqual(archive.getmember("workspace/disk/a.txt").size, 12)
        finally:
            self.it.start()

    def test_it_is_saved_as_one_file_and_loaded_as_another(self) -> None:
        self.it.write_file("saved.txt", text="saved\n")
        self.it.stop()
        try:
            with tempfile.TemporaryDirectory() as directory:
                saved = self.it.save(os.path.join(directory, "live.pyro"))
                self.assertEqual(os.path.getsize(saved["output_path"]), saved["bytes_written"])
                loaded = self.pyro.load_workspace(saved["output_path"], name="loaded", labels={"from": "file"})
                with open(saved["output_path"], "r+b") as archive:
                    archive.truncate(saved["bytes_written"] - 1)
                with self.assertRaises(errors.BadArchiveError):
                    self.pyro.load_workspace(saved["output_path"])
            self.assertEqual((loaded["name"], loaded["state"]), ("loaded", "stopped"))
            read = self.pyro.read_workspace_disk(loaded["workspace_id"], "saved.txt")
            self.assertEqual(read["content"], "saved\n")
            self.pyro.delete_workspace(loaded["workspace_id"])
        finally:
            self.it.start()

    def test_commands_have_directory_variables_account_and_input(self) -> None:
        result = self.it.exec(
            ["sh", "-c", 'pwd; printf %s "$A"; id -un; cat'], cwd="src", env={"A": "ä\n"}, user="nobody", stdin="in"
        )
        self.assertEqual(result["stdout"], "/workspace/src\nä\nnobody\nin")
        self.assertEqual((result["cwd"], result["state"]), ("/workspace/src", "finished"))
        self.assertEqual(self.it.exec("exit 3")["exit_code"], 3)
        self.assertEqual(self.it.exec("sleep 60", timeout_seconds=1)["exit_code"], 124)

    def test_much_goes_in_and_out(self) -> None:
        content = os.urandom(3 << 20)
        pieces: list[bytes] = []

        def keep(output: Output) -> None:
            pieces.append(output.data)

        result = self.it.exec("cat", stdin=io.BytesIO(content), on_output=keep, max_output_bytes=1000, timeout_seconds=120)
        self.assertEqual(b"".join(pieces), content)
        self.assertEqual((result["stdout_bytes"], result["stdout_truncated"]), (len(content), True))

    def test_a_conversation_goes_both_ways(self) -> None:
        with self.it.stream_exec("while read -r word; do echo \"<$word>\"; done", stdin=True) as stream:
            for word in ("one", "two"):
                self.assertTrue(stream.write_stdin(f"{word}\n".encode()))
                self.assertEqual(next(stream).text, f"<{word}>\n")
            stream.close_stdin()
            self.assertEqual(stream.result()["exit_code"], 0)

    def test_a_key_runs_a_command_once(self) -> None:
        for attached in (False, True):
            result = self.it.exec("echo x >> once; cat once", idempotency_key="once")
            self.assertEqual((result["stdout"], result["attached"]), ("x\n", attached))
        with self.assertRaises(errors.IdempotencyConflictError):
            self.it.exec("other", idempotency_key="once")

    def test_a_cancelled_command_has_ended(self) -> None:
        stream = self.it.stream_exec("echo begun; sleep 600", timeout_seconds=0)
        self.assertEqual(next(stream).text, "begun\n")
        stream.cancel()
        with self.assertRaises(errors.CancelledError):
            stream.result()
        assert stream.job_id is not None
        self.assertEqual(self.it.wait_job(stream.job_id)["state"], "finished")

    def test_jobs_go_on_by_themselves(self) -> None:
        begun = self.it.exec("echo out; cat go; echo done", detach=True)
        self.assertEqual((begun["state"], begun["exit_code"]), ("running", None))
        ended = self.it.wait_job(begun["job_id"])
        self.assertEqual((ended["state"], ended["stdout"]), ("finished", "out\ndone\n"))
        job = self.it.exec("sleep 600", detach=True)["job_id"]
        self.assertIn(job, [record["job_id"] for record in self.it.list_jobs(running=True)["jobs"]])
        self.assertEqual(self.it.wait_job(job, timeout_seconds=0)["state"], "running")
        self.assertTrue(self.it.kill_job(job, signal="KILL")["signalled"])
        self.assertEqual(self.it.wait_job(job)["signal"], 9)
        self.assertIn("out\n", self.it.logs_job(begun["job_id"])["stdout"])
        self.assertEqual(self.it.read_output(begun["sequence"], grep="^d")["matches"], [{"line": 2, "byte": 4, "text": "done"}])
        self.assertIn(begun["sequence"], [entry["sequence"] for entry in self.it.logs(limit=1000)["entries"]])

    def test_what_happened_is_summed_up_and_waited_for(self) -> None:
        revision = self.it.wait()
        before = self.it.summarize()
        self.it.exec("echo broke >&2; exit 3")
        self.assertTrue(self.it.wait(after=revision["revision"])["changed"])
        after = self.it.summarize(since=before["cursor"])
        assert after["commands"] is not None
        self.assertEqual(after["commands"]["failed"], 1)
        self.assertEqual(after["failures"][0]["output_end"], "broke")
        self.assertFalse(self.it.wait(after=self.it.wait()["revision"], timeout_seconds=0)["changed"])

    def test_files_are_read_written_searched_and_moved(self) -> None:
        it = self.it
        self.assertTrue(it.write_file("f/g.txt", text="one\ntwo\nthree\n")["created"])
        self.assertEqual(it.read_file("f/g.txt", first_line=2, last_line=2)["content"], "two\n")
        self.assertEqual(it.replace_in_file("f/g.txt", "two", "2")["count"], 1)
        with self.assertRaises(errors.CountMismatchError):
            it.replace_in_file("f/g.txt", "two", "2")
        it.write_file("f/bin", content=b"\0\xff", mode=0o755)
        read = it.read_file("f/bin")
        self.assertEqual((it.stat_file("f/bin")["mode"], read["content"]), ("0755", "\0\ufffd"))
        self.assertEqual(read["content_base64"], "AP8=", "the exact bytes, where the text stands for some of them")
        it.make_directory("f/d")
        it.move_file("f/bin", "f/d/bin")
        self.assertEqual(it.copy_file("f/g.txt", "f/h.txt")["from"], "/workspace/f/g.txt")
        found = it.glob_files("**/*.txt", path="f")
        self.assertEqual([entry["path"] for entry in found["entries"]], ["/workspace/f/g.txt", "/workspace/f/h.txt"])
        self.assertEqual([match["line"] for match in it.grep_files("^2$", path="f")["matches"]], [2, 2])
        with self.assertRaises(errors.DirectoryNotEmptyError):
            it.delete_file("f")
        it.delete_file("f", recursive=True)
        with self.assertRaises(errors.PathNotFoundError):
            it.list_files("f")
        with self.assertRaises(errors.PathEscapesError):
            it.read_file("../etc/passwd")

    def test_names_that_are_no_text_go_both_ways(self) -> None:
        self.it.write_file(b"n\xff/x", text="y")
        listed = self.it.list_files(b"n\xff")
        self.assertEqual([entry["path"] for entry in listed["entries"]], ["/workspace/n\udcff/x"])
        self.assertEqual(self.it.read_file(listed["entries"][0]["path"])["content"], "y")
        self.assertEqual(self.it.exec(["printf", "%s", b"\xfe"])["stdout_base64"], "/g==")
        self.it.delete_file("n\udcff", recursive=True)

    def test_files_go_to_this_host_and_come_from_it(self) -> None:
        here, content = self.directory(), os.urandom(2 << 20)
        source = here / "source"
        source.write_bytes(content)
        progress: list[Any] = []
        self.it.upload_file(source, "up", mode="0700", on_progress=progress.append)
        self.it.download_file("up", here / "down")
        self.assertEqual(((here / "down").read_bytes(), (here / "down").stat().st_mode & 0o777), (content, 0o700))
        self.it.upload_file([b"a", b"b"], "pieces")
        taken = io.BytesIO()
        self.it.download_file("pieces", taken)
        self.assertEqual(taken.getvalue(), b"ab")
        exported = self.it.export("src", output_path=here / "src")
        self.assertEqual((here / "src/a.txt").read_text(), "one\ntwo\n")
        self.assertEqual(exported["artifact_type"], "directory")
        with self.assertRaises(errors.OutputExistsError):
            self.it.export("src", output_path=here / "src")
        archive = io.BytesIO()
        self.it.export("src", output_path=archive, format="tar")
        self.assertIn(b"ustar", archive.getvalue())
        self.it.delete_file("up")
        self.it.delete_file("pieces")

    def test_changes_go_as_patches_and_are_synced(self) -> None:
        with self.pyro.temporary_workspace(ENVIRONMENT, seed_path=os.path.join(scratch.path, "seed")) as it:
            patch = "--- a/src/a.txt\n+++ b/src/a.txt\n@@ -1,2 +1,2 @@\n-one\n+1\n two\n"
            self.assertEqual(it.apply_patch(patch=patch)["summary"]["modified"], 1)
            with self.assertRaises(errors.PatchRejectedError):
                it.apply_patch(patch=patch)
            self.assertEqual([entry["path"] for entry in it.diff(paths=["src"])["entries"]], ["src/a.txt"])
            target = self.directory()
            shutil.copytree(os.path.join(scratch.path, "seed"), target / "tree")
            pulled = it.pull_sync(target / "tree")
            self.assertEqual(pulled["workspace_sync"]["changed_count"], 1)
            self.assertEqual((target / "tree/src/a.txt").read_text(), "1\ntwo\n")
            (target / "tree/new").write_text("n")
            pushed = it.push_sync(target / "tree", dest="/workspace/sub")
            self.assertGreaterEqual(pushed["workspace_sync"]["entry_count"], 3)
            self.assertEqual(it.read_file("sub/new")["content"], "n")
            self.assertEqual(it.stop()["state"], "stopped")
            with self.assertRaises(errors.WorkspaceStateError):
                it.exec("true")
            self.assertEqual(it.start()["state"], "started")
            self.assertEqual(it.exec("cat src/a.txt")["stdout"], "1\ntwo\n")
            workspace_id = it.workspace_id
        with self.assertRaises(errors.UnknownWorkspaceError):
            self.pyro.status_workspace(workspace_id)

    def test_it_goes_back_to_a_snapshot_is_forked_and_sleeps(self) -> None:
        with self.pyro.temporary_workspace(ENVIRONMENT) as it:
            it.write_file("a.txt", text="one\n")
            taken = it.create_snapshot("good", comment="before it goes wrong", labels={"k": "v"})["snapshot"]
            self.assertEqual((taken["snapshot_name"], taken["has_memory"], taken["labels"]), ("good", True, {"k": "v"}))
            self.assertEqual(it.inspect_snapshot("good")["snapshot"]["comment"], "before it goes wrong")
            it.write_file("a.txt", text="two\n")
            reset = it.reset(snapshot="good")
            self.assertEqual((reset["reset_count"], reset["workspace_reset"]["resumed"]), (1, "memory"))
            self.assertEqual(it.read_file("a.txt")["content"], "one\n")
            forked = it.fork(count=1, name_prefix="forked")["workspaces"]
            other = self.pyro.workspace(forked[0]["workspace_id"])
            try:
                self.assertEqual((forked[0]["name"], other.read_file("a.txt")["content"]), ("forked-1", "one\n"))
                told = other.diff(against=it.workspace_id, name_only=True)
                self.assertEqual((told["against"], told["changed"]), (it.workspace_id, False))
                other.write_file("a.txt", text="three\n")
                self.assertEqual(it.read_file("a.txt")["content"], "one\n")
            finally:
                other.delete(force=True)
            self.assertEqual(it.sleep()["state"], "sleeping")
            self.assertEqual(it.exec("cat a.txt")["stdout"], "one\n")
            self.assertEqual(self.pyro.delete_snapshot(it.workspace_id, "good")["deleted"], True)
            with self.assertRaises(errors.UnknownSnapshotError):
                it.reset(snapshot="good")
            names = [snapshot["snapshot_name"] for snapshot in it.list_snapshots()["snapshots"]]
            self.assertEqual(names, ["baseline"])
            self.assertEqual(it.reset()["workspace_reset"]["kind"], "baseline")
            self.assertEqual(it.list_files()["entries"], [])

    def test_calls_are_undone(self) -> None:
        with self.pyro.temporary_workspace(ENVIRONMENT, auto_checkpoint=True) as it:
            it.write_file("a.txt", text="one\n")
            it.exec("rm a.txt")
            steps = [entry["step"] for entry in it.timeline()["entries"]]
            self.assertEqual([step["call"] for step in steps if step][0], "write a.txt")
            undone = it.undo()
            self.assertEqual((len(undone["undone"]), it.read_file("a.txt")["content"]), (1, "one\n"))
            self.assertEqual(it.undo(steps=1)["undone"][0]["call"], "write a.txt")
            with self.assertRaises(errors.NothingToUndoError):
                it.undo()
            self.assertEqual(it.update(auto_checkpoint=False)["auto_checkpoint"], False)

    def test_a_command_outlives_the_daemon_that_was_asked(self) -> None:
        pid = self.pyro.status_daemon()["pid"]
        pieces = []
        with self.it.stream_exec("echo one; while [ ! -e go ]; do sleep 0.1; done; echo two", timeout_seconds=300) as stream:
            pieces.append(next(stream).text)
            kill_and_wait(pid)
            # The next call starts the next daemon, which takes the machine over.
            self.it.write_file("go", text="")
            pieces.extend(piece.text for piece in stream)
            self.assertEqual(stream.result()["exit_code"], 0)
        self.assertEqual("".join(pieces), "one\ntwo\n")
        self.assertNotEqual(self.pyro.status_daemon()["pid"], pid)

    def test_asyncio_does_the_same_side_by_side(self) -> None:
        async def work() -> list[str]:
            async with AsyncPyro(**scratch.client(self.home)) as pyro:
                it = pyro.workspace(self.it.workspace_id)
                results = await asyncio.gather(*(it.exec(["echo", str(number)]) for number in range(4)))
                async with it.stream_exec("cat", stdin=True) as stream:
                    await stream.write_stdin(b"x")
                    await stream.close_stdin()
                    texts = [piece.text async for piece in stream]
                begun: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
                task = asyncio.create_task(it.exec("sleep 600", timeout_seconds=0, on_event=begun.set_result))
                await begun
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                self.assertEqual((await it.list_jobs(running=True))["running_count"], 0)
                return [result["stdout"] for result in results] + texts

        self.assertEqual(asyncio.run(work()), ["0\n", "1\n", "2\n", "3\n", "x"])

    def test_garbage_is_told_and_not_made(self) -> None:
        self.assertTrue(self.pyro.collect_garbage(dry_run=True)["dry_run"])


if __name__ == "__main__":
    unittest.main()
