"""Every operation on one workspace as a method for asyncio.

Written by `cargo xtask generate` from the table of operations; do not edit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ._output import MOST_COLLECTED_BYTES

if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Mapping, Sequence

    from ._async_methods import AsyncMethods
    from ._async_streams import AsyncCommandStream
    from ._input import AsyncSource
    from ._output import Output
    from ._text import Bytes, Command, HostPath
    from .types import *


class AsyncWorkspaceHandle:
    """Every operation on one workspace."""

    def __init__(self, pyro: AsyncMethods, workspace_id: str) -> None:
        self._pyro = pyro
        #: Its id, or the name that it was asked for by.
        self.workspace_id = workspace_id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.workspace_id!r})"

    async def update(
        self,
        *,
        auto_checkpoint: bool | None = None,
        clear_labels: Sequence[str] | None = None,
        clear_name: bool = False,
        idle_sleep_seconds: int | None = None,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
        ttl_seconds: int | None = None,
    ) -> Workspace:
        """Changes the name, the labels or the lifetime of a workspace.

        - `auto_checkpoint`: Whether a checkpoint is taken before each command, patch and write. Those that
          are there stay.
        - `clear_labels`: Labels to take away, after those above were added; it is no fault if they are not
          there.
        - `clear_name`: It shall have no name.
        - `idle_sleep_seconds`: How long its machine may stay unused before it sleeps; 0 for ever.
        - `labels`: Labels to add, or to give another value.
        - `name`: Its new name.
        - `ttl_seconds`: Its new lifetime, from now on; 0 for no bound.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError.
        """
        return await self._pyro.update_workspace(
            self.workspace_id,
            auto_checkpoint=auto_checkpoint,
            clear_labels=clear_labels,
            clear_name=clear_name,
            idle_sleep_seconds=idle_sleep_seconds,
            labels=labels,
            name=name,
            ttl_seconds=ttl_seconds,
        )

    async def status(self) -> Workspace:
        """Says everything about a workspace. That does not extend its life.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError.
        """
        return await self._pyro.status_workspace(self.workspace_id)

    async def summarize(
        self,
        *,
        max_chars: int = 4000,
        since: int | str | None = None,
    ) -> WorkspaceSummary:
        """Says in few words what happened in a workspace since it was made, or since an earlier summary.

        - `max_chars`: At most so many characters of JSON; counts stay, lists get shorter.
        - `since`: Only what came after this: the `cursor` of an earlier summary, or a command. Everything
          when absent.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError, UnknownSequenceError.
        """
        return await self._pyro.summarize_workspace(self.workspace_id, max_chars=max_chars, since=since)

    async def wait(
        self,
        *,
        after: int | None = None,
        timeout_seconds: int | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> WorkspaceRevision:
        """Waits until something changes in a workspace: its state, its commands, its files. That does not
        extend its life.

        - `after`: The `revision` that is known; waits for another one. Without, the revision of now is given
          at once.
        - `timeout_seconds`: Wait at most this long; then the result says that nothing changed. As long as it
          takes when absent.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError.
        """
        return await self._pyro.wait_workspace(
            self.workspace_id,
            after=after,
            timeout_seconds=timeout_seconds,
            on_progress=on_progress,
        )

    async def stop(self) -> Workspace:
        """Shuts the machine of a workspace down cleanly. The disk stays.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError.
        """
        return await self._pyro.stop_workspace(self.workspace_id)

    async def start(self) -> Workspace:
        """Starts a machine from the disk of a workspace.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceBusyError, LimitReachedError, EnvironmentDamagedError,
        HostRequirementError, DiskFullError, StartFailedError, MachineLostError, GuestMisbehavedError,
        GuestRefusedError.
        """
        return await self._pyro.start_workspace(self.workspace_id)

    async def delete(
        self,
        *,
        force: bool = False,
    ) -> WorkspaceDeleted:
        """Deletes a workspace and everything in it.

        - `force`: Also while commands run in it. Without, that is refused with `workspace_busy`.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceBusyError.
        """
        return await self._pyro.delete_workspace(self.workspace_id, force=force)

    async def exec(
        self,
        command: Command,
        *,
        attach: bool | None = None,
        cwd: Bytes | None = None,
        detach: bool = False,
        env: Mapping[str, Bytes] | None = None,
        idempotency_key: str | None = None,
        secret_env: Mapping[str, str] | None = None,
        timeout_seconds: int | None = None,
        user: str | None = None,
        stdin: AsyncSource | None = None,
        on_output: Callable[[Output], object] | None = None,
        on_event: Callable[[dict[str, Any]], object] | None = None,
        max_output_bytes: int = MOST_COLLECTED_BYTES,
    ) -> ExecResult:
        """Runs a command in a workspace, at most once, and streams its output.

        - `command`: What: a string is a shell line, an array an argument vector.
        - `attach`: Without an idempotency key: follow a command of the same content that runs now, if there
          is one, instead of beginning another. Such a command goes on without its caller.
        - `cwd`: Working directory: absolute, or relative to `/workspace`, which it is when absent.
        - `detach`: Answer as soon as the command runs. It goes on without the caller.
        - `env`: Environment variables for the command, added to the guest's own.
        - `idempotency_key`: A text of the caller's choice for this one call. A second request with the same
          key and otherwise the same content runs nothing: it follows the running command, or gives the stored
          result.
        - `secret_env`: Environment variables that hold secrets. A later release will do that; now it is
          refused.
        - `timeout_seconds`: The command is killed after this many seconds, with everything it started, or 0
          for never. When absent: 30 s, and never with `detach`.
        - `user`: Account in the guest by name or number; root when absent.
        - `stdin`: Standard input; empty when absent.
        - `on_output`: Is given what the command writes, as it comes.
        - `on_event`: Is told what happens beside the output: phases, progress, that the command has begun.
        - `max_output_bytes`: At most so much of each output in the result; all of it is counted.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, InvalidSizeError, MissingCommandError,
        NotYetSupportedError, IdempotencyConflictError, NeverStartedError, WorkUnknownError.
        """
        return await self._pyro.exec_workspace(
            self.workspace_id,
            command,
            attach=attach,
            cwd=cwd,
            detach=detach,
            env=env,
            idempotency_key=idempotency_key,
            secret_env=secret_env,
            timeout_seconds=timeout_seconds,
            user=user,
            stdin=stdin,
            on_output=on_output,
            on_event=on_event,
            max_output_bytes=max_output_bytes,
        )

    def stream_exec(
        self,
        command: Command,
        *,
        attach: bool | None = None,
        cwd: Bytes | None = None,
        detach: bool = False,
        env: Mapping[str, Bytes] | None = None,
        idempotency_key: str | None = None,
        secret_env: Mapping[str, str] | None = None,
        timeout_seconds: int | None = None,
        user: str | None = None,
        stdin: bool = False,
        on_event: Callable[[dict[str, Any]], object] | None = None,
    ) -> AsyncCommandStream[ExecReport]:
        """Runs a command in a workspace, at most once, and streams its output.

        The same as a stream: what the command writes is there as it comes.

        - `command`: What: a string is a shell line, an array an argument vector.
        - `attach`: Without an idempotency key: follow a command of the same content that runs now, if there
          is one, instead of beginning another. Such a command goes on without its caller.
        - `cwd`: Working directory: absolute, or relative to `/workspace`, which it is when absent.
        - `detach`: Answer as soon as the command runs. It goes on without the caller.
        - `env`: Environment variables for the command, added to the guest's own.
        - `idempotency_key`: A text of the caller's choice for this one call. A second request with the same
          key and otherwise the same content runs nothing: it follows the running command, or gives the stored
          result.
        - `secret_env`: Environment variables that hold secrets. A later release will do that; now it is
          refused.
        - `timeout_seconds`: The command is killed after this many seconds, with everything it started, or 0
          for never. When absent: 30 s, and never with `detach`.
        - `user`: Account in the guest by name or number; root when absent.
        - `stdin`: True if `write_stdin` of the stream will be used.
        - `on_event`: Is told what happens beside the output: phases, progress, that the command has begun.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, InvalidSizeError, MissingCommandError,
        NotYetSupportedError, IdempotencyConflictError, NeverStartedError, WorkUnknownError.
        """
        return self._pyro.stream_exec_workspace(
            self.workspace_id,
            command,
            attach=attach,
            cwd=cwd,
            detach=detach,
            env=env,
            idempotency_key=idempotency_key,
            secret_env=secret_env,
            timeout_seconds=timeout_seconds,
            user=user,
            stdin=stdin,
            on_event=on_event,
        )

    async def logs(
        self,
        *,
        after: int | None = None,
        before: int | None = None,
        failed: bool = False,
        limit: int = 100,
        max_output_bytes: int = 65536,
        with_output: bool = True,
    ) -> WorkspaceLogs:
        """Gives the history of a workspace's commands, by the page, with the end of their output.

        - `after`: Only commands after this number; then the oldest of them that fit.
        - `before`: Only commands before this number.
        - `failed`: Only commands that ended with another exit status than 0, or of which nobody knows how
          they ended.
        - `limit`: At most so many commands, the newest that fit the rest of the request.
        - `max_output_bytes`: At most so much of each stream of each command.
        - `with_output`: Whether their output is wanted too.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError.
        """
        return await self._pyro.logs_workspace(
            self.workspace_id,
            after=after,
            before=before,
            failed=failed,
            limit=limit,
            max_output_bytes=max_output_bytes,
            with_output=with_output,
        )

    async def read_output(
        self,
        command: int | str,
        *,
        encoding: WantedEncoding = "auto",
        from_byte: int | None = None,
        from_line: int | None = None,
        grep: str | None = None,
        ignore_case: bool = False,
        lines: int | None = None,
        max_bytes: int = 65536,
        stream: OutputStream = "stdout",
        tail: int | None = None,
    ) -> OutputPiece:
        """Gives a part of one command's output, by lines or bytes, or its lines that match.

        - `command`: Which command.
        - `encoding`: How they shall stand in JSON.
        - `from_byte`: First byte, from 0.
        - `from_line`: First line, from 1.
        - `grep`: Only lines that match this regular expression, as `OutputPiece::matches`.
        - `ignore_case`: For `grep`, case does not matter.
        - `lines`: At most so many lines; with `grep`, so many that match.
        - `max_bytes`: At most so many bytes.
        - `stream`: Which of its outputs.
        - `tail`: The last so many lines; with `grep`, the last so many that match.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError, UnknownSequenceError, BadPatternError.
        """
        return await self._pyro.read_workspace_output(
            self.workspace_id,
            command,
            encoding=encoding,
            from_byte=from_byte,
            from_line=from_line,
            grep=grep,
            ignore_case=ignore_case,
            lines=lines,
            max_bytes=max_bytes,
            stream=stream,
            tail=tail,
        )

    async def list_jobs(
        self,
        *,
        running: bool = False,
    ) -> JobList:
        """Lists the commands of a workspace that run, and the detached ones that have ended.

        - `running`: Only those that run.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError.
        """
        return await self._pyro.list_workspace_jobs(self.workspace_id, running=running)

    async def wait_job(
        self,
        job: int | str,
        *,
        timeout_seconds: int | None = None,
        on_output: Callable[[Output], object] | None = None,
        on_event: Callable[[dict[str, Any]], object] | None = None,
        max_output_bytes: int = MOST_COLLECTED_BYTES,
    ) -> ExecResult:
        """Waits until a command ends, and streams its output if asked to.

        - `job`: Which.
        - `timeout_seconds`: Wait at most this long; then the result says that it runs on, and it does. As
          long as it takes when absent.
        - `on_output`: Is given what the command writes, as it comes.
        - `on_event`: Is told what happens beside the output: phases, progress, that the command has begun.
        - `max_output_bytes`: At most so much of each output in the result; all of it is counted.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        UnknownJobError.
        """
        return await self._pyro.wait_workspace_job(
            self.workspace_id,
            job,
            timeout_seconds=timeout_seconds,
            on_output=on_output,
            on_event=on_event,
            max_output_bytes=max_output_bytes,
        )

    def stream_wait_job(
        self,
        job: int | str,
        *,
        timeout_seconds: int | None = None,
        on_event: Callable[[dict[str, Any]], object] | None = None,
    ) -> AsyncCommandStream[ExecReport]:
        """Waits until a command ends, and streams its output if asked to.

        The same as a stream: what the command writes is there as it comes.

        - `job`: Which.
        - `timeout_seconds`: Wait at most this long; then the result says that it runs on, and it does. As
          long as it takes when absent.
        - `on_event`: Is told what happens beside the output: phases, progress, that the command has begun.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        UnknownJobError.
        """
        return self._pyro.stream_wait_workspace_job(
            self.workspace_id,
            job,
            timeout_seconds=timeout_seconds,
            on_event=on_event,
        )

    async def logs_job(
        self,
        job: int | str,
        *,
        max_bytes: int = 65536,
    ) -> JobLogs:
        """Gives the end of a command's output.

        - `job`: Which.
        - `max_bytes`: At most so much of each stream, the last bytes.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError, UnknownJobError.
        """
        return await self._pyro.logs_workspace_job(self.workspace_id, job, max_bytes=max_bytes)

    async def kill_job(
        self,
        job: int | str,
        *,
        signal: JobSignal = "TERM",
    ) -> JobKilled:
        """Sends a signal to a command and all that it started.

        - `job`: Which.
        - `signal`: Which signal.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, UnknownJobError.
        """
        return await self._pyro.kill_workspace_job(self.workspace_id, job, signal=signal)

    async def list_files(
        self,
        path: Bytes = "/workspace",
        *,
        after: Bytes | None = None,
        limit: int = 20000,
        recursive: bool = False,
    ) -> FileList:
        """Lists a directory of a workspace.

        - `path`: What.
        - `after`: Only entries after this path, for the next page.
        - `limit`: At most so many entries.
        - `recursive`: Also what is in directories below.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, InvalidSizeError, PathNotFoundError,
        PathEscapesError.
        """
        return await self._pyro.list_workspace_files(self.workspace_id, path, after=after, limit=limit, recursive=recursive)

    async def stat_file(
        self,
        path: Bytes,
        *,
        sha256: bool = False,
    ) -> FileStat:
        """Says what is at a path of a workspace.

        - `path`: What.
        - `sha256`: Whether a file's SHA-256 is wanted.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathNotFoundError, PathEscapesError.
        """
        return await self._pyro.stat_workspace_file(self.workspace_id, path, sha256=sha256)

    async def read_file(
        self,
        path: Bytes,
        *,
        encoding: WantedEncoding = "utf-8",
        first_line: int | None = None,
        last_line: int | None = None,
        max_bytes: int = 65536,
        offset: int | None = None,
    ) -> FileRead:
        """Reads a file of a workspace, or a part of it.

        - `path`: Which.
        - `encoding`: How the bytes shall stand in JSON.
        - `first_line`: First line, from 1.
        - `last_line`: Last line, included.
        - `max_bytes`: At most so many bytes.
        - `offset`: First byte, from 0.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, InvalidSizeError, PathNotFoundError,
        PathEscapesError, WrongFileTypeError.
        """
        return await self._pyro.read_workspace_file(
            self.workspace_id,
            path,
            encoding=encoding,
            first_line=first_line,
            last_line=last_line,
            max_bytes=max_bytes,
            offset=offset,
        )

    async def write_file(
        self,
        path: Bytes,
        *,
        append: bool = False,
        content: bytes | None = None,
        create_only: bool = False,
        first_line: int | None = None,
        last_line: int | None = None,
        mode: int | str | None = None,
        text: str | None = None,
    ) -> FileWritten:
        """Writes a file of a workspace, in one step.

        - `path`: Which.
        - `append`: Adds to the end of the file, which is made if it is not there.
        - `content`: The content as bytes.
        - `create_only`: Fails with `already_exists` if something is there.
        - `first_line`: Replaces only the lines from here, from 1, to `last_line`. Where lines follow, the
          content gets a line's end if it has none.
        - `last_line`: The last line that is replaced; one less than `first_line` inserts before that.
        - `mode`: Permission bits; those of the file that is there, or 0644, when absent.
        - `text`: The content as text; either this or `content`.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathNotFoundError, PathEscapesError,
        AlreadyExistsError, WrongFileTypeError, FileTooLargeError, GuestDiskFullError, ConflictError.
        """
        return await self._pyro.write_workspace_file(
            self.workspace_id,
            path,
            append=append,
            content=content,
            create_only=create_only,
            first_line=first_line,
            last_line=last_line,
            mode=mode,
            text=text,
        )

    async def replace_in_file(
        self,
        path: Bytes,
        old_text: Bytes,
        new_text: Bytes,
        *,
        count: int = 1,
    ) -> FileReplaced:
        """Replaces text in a file of a workspace, if it is there exactly so often as expected.

        - `path`: Which.
        - `old_text`: What must be there.
        - `new_text`: What comes in its place; nothing when empty.
        - `count`: How often it must be there; 0: at least once, and all are replaced.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathNotFoundError, PathEscapesError,
        WrongFileTypeError, CountMismatchError, FileTooLargeError, GuestDiskFullError, ConflictError.
        """
        return await self._pyro.replace_in_workspace_file(self.workspace_id, path, old_text, new_text, count=count)

    async def make_directory(
        self,
        path: Bytes,
        *,
        create_only: bool = False,
        mode: int | str | None = None,
    ) -> FileChanged:
        """Makes a directory in a workspace, and those above it.

        - `path`: Which.
        - `create_only`: Fails with `already_exists` if it is there.
        - `mode`: Permission bits; 0755 when absent.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathEscapesError, AlreadyExistsError,
        WrongFileTypeError, GuestDiskFullError.
        """
        return await self._pyro.make_workspace_directory(self.workspace_id, path, create_only=create_only, mode=mode)

    async def move_file(
        self,
        source: Bytes,
        target: Bytes,
        *,
        overwrite: bool = False,
    ) -> FileChanged:
        """Moves a file or a directory within a workspace.

        - `source`: From.
        - `target`: To, the new path itself. Directories above are made.
        - `overwrite`: Whether a file that is there is replaced.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathNotFoundError, PathEscapesError,
        AlreadyExistsError, WrongFileTypeError, GuestDiskFullError.
        """
        return await self._pyro.move_workspace_file(self.workspace_id, source, target, overwrite=overwrite)

    async def copy_file(
        self,
        source: Bytes,
        target: Bytes,
        *,
        overwrite: bool = False,
        recursive: bool = False,
    ) -> FileChanged:
        """Copies a file or a directory within a workspace.

        - `source`: From.
        - `target`: To, the new path itself. Directories above are made.
        - `overwrite`: Whether a file that is there is replaced.
        - `recursive`: Whether a directory may be copied.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathNotFoundError, PathEscapesError,
        AlreadyExistsError, WrongFileTypeError, GuestDiskFullError.
        """
        return await self._pyro.copy_workspace_file(
            self.workspace_id,
            source,
            target,
            overwrite=overwrite,
            recursive=recursive,
        )

    async def delete_file(
        self,
        path: Bytes,
        *,
        missing_ok: bool = False,
        recursive: bool = False,
    ) -> FileChanged:
        """Deletes a file or a directory of a workspace.

        - `path`: Which.
        - `missing_ok`: Whether it is fine if nothing is there.
        - `recursive`: Whether a directory goes with all that it holds.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathNotFoundError, PathEscapesError,
        DirectoryNotEmptyError.
        """
        return await self._pyro.delete_workspace_file(self.workspace_id, path, missing_ok=missing_ok, recursive=recursive)

    async def glob_files(
        self,
        pattern: str,
        *,
        limit: int = 20000,
        path: Bytes = "/workspace",
        respect_gitignore: bool = False,
        skip_hidden: bool = False,
    ) -> FileGlob:
        """Finds paths of a workspace that match a pattern.

        - `pattern`: Over the path relative to `path`; `*` stays within a directory, `**` crosses them.
        - `limit`: At most so many entries.
        - `path`: Below which directory.
        - `respect_gitignore`: Leave out what `.gitignore` files name.
        - `skip_hidden`: Leave out names that begin with a dot.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, InvalidSizeError, PathNotFoundError,
        PathEscapesError, WrongFileTypeError, BadPatternError.
        """
        return await self._pyro.glob_workspace_files(
            self.workspace_id,
            pattern,
            limit=limit,
            path=path,
            respect_gitignore=respect_gitignore,
            skip_hidden=skip_hidden,
        )

    async def grep_files(
        self,
        pattern: str,
        *,
        context: int = 0,
        fixed: bool = False,
        ignore_case: bool = False,
        include: Sequence[str] | None = None,
        limit: int = 1000,
        max_line_bytes: int = 2000,
        names_only: bool = False,
        path: Bytes = "/workspace",
        respect_gitignore: bool = False,
    ) -> FileGrep:
        """Finds lines in files of a workspace that match a pattern.

        - `pattern`: Regular expression, or a plain text with `fixed`.
        - `context`: Lines shown before and after.
        - `fixed`: The pattern is a plain text.
        - `ignore_case`: Case does not matter.
        - `include`: Only in files whose path relative to `path` matches one of these.
        - `limit`: At most so many lines.
        - `max_line_bytes`: At most so many bytes of each line.
        - `names_only`: Only the names of the files, each with how many lines match.
        - `path`: Below which directory, or in which file.
        - `respect_gitignore`: Leave out what `.gitignore` files name.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, InvalidSizeError, PathNotFoundError,
        PathEscapesError, WrongFileTypeError, BadPatternError.
        """
        return await self._pyro.grep_workspace_files(
            self.workspace_id,
            pattern,
            context=context,
            fixed=fixed,
            ignore_case=ignore_case,
            include=include,
            limit=limit,
            max_line_bytes=max_line_bytes,
            names_only=names_only,
            path=path,
            respect_gitignore=respect_gitignore,
        )

    async def download_file(
        self,
        path: Bytes,
        target: HostPath | BinaryIO,
        *,
        force: bool = False,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> FileDownloaded:
        """Reads a whole file of a workspace, of any length.

        - `path`: Which.
        - `target`: A file of this host to make, or an open binary file.
        - `force`: Whether a file that is there is replaced.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathNotFoundError, PathEscapesError,
        WrongFileTypeError.
        """
        return await self._pyro.download_workspace_file(self.workspace_id, path, target, force=force, on_progress=on_progress)

    async def upload_file(
        self,
        source: HostPath | AsyncSource,
        path: Bytes,
        *,
        create_only: bool = False,
        mode: int | str | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> FileWritten:
        """Writes a whole file of a workspace, of any length, in one step.

        - `source`: The content: a file of this host by its path, an open binary file, or pieces of bytes.
        - `path`: Which.
        - `create_only`: Fails with `already_exists` if something is there.
        - `mode`: Permission bits; those of the file that is there, or 0644, when absent.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathEscapesError, AlreadyExistsError,
        WrongFileTypeError, GuestDiskFullError.
        """
        return await self._pyro.upload_workspace_file(
            self.workspace_id,
            source,
            path,
            create_only=create_only,
            mode=mode,
            on_progress=on_progress,
        )

    async def apply_patch(
        self,
        *,
        patch: Bytes,
        check: bool = False,
        reverse: bool = False,
    ) -> PatchResult:
        """Applies a patch to the files of a workspace, all of it or nothing.

        - `patch`: The patch, at most `MAX_PATCH_BYTES`.
        - `check`: Only says what would happen.
        - `reverse`: Applies it backwards.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PatchMalformedError, PatchRejectedError,
        PathEscapesError, WrongFileTypeError, FileTooLargeError, GuestDiskFullError, ConflictError.
        """
        return await self._pyro.apply_workspace_patch(self.workspace_id, patch=patch, check=check, reverse=reverse)

    async def diff(
        self,
        *,
        against: str = "baseline",
        context: int | None = None,
        max_bytes: int = 2097152,
        name_only: bool = False,
        no_renames: bool = False,
        paths: Sequence[Bytes] | None = None,
        stat: bool = False,
    ) -> WorkspaceDiff:
        """Says what became of the files of a workspace, as a patch, as counts or as names.

        - `against`: Compared with what: `baseline`, `host`, or another workspace by its id or name. Told is
          what would make that like this one.
        - `context`: Lines of context; 3 when absent.
        - `max_bytes`: At most so much patch; what does not fit is named in `left_out`.
        - `name_only`: Give only what changed, no patch and no counts.
        - `no_renames`: Do not look for renames: they are a deletion and an addition then.
        - `paths`: Only these paths and what is below them.
        - `stat`: Count lines instead of giving the patch.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, InvalidSizeError, PathEscapesError,
        FileFailedError, BadArchiveError.
        """
        return await self._pyro.diff_workspace(
            self.workspace_id,
            against=against,
            context=context,
            max_bytes=max_bytes,
            name_only=name_only,
            no_renames=no_renames,
            paths=paths,
            stat=stat,
        )

    async def push_sync(
        self,
        source_path: HostPath,
        *,
        delete: bool = False,
        dest: Bytes = "/workspace",
        dry_run: bool = False,
        exclude: Sequence[str] | None = None,
        git: bool = False,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> SyncPushed:
        """Brings files of the host into a workspace, whole or not at all.

        - `source_path`: Absolute path on the host of a directory or a tar archive, as for a seed.
        - `delete`: Also delete what the source does not have, but for what `exclude` names.
        - `dest`: The directory that takes it; made if it is not there.
        - `dry_run`: Only says what would change.
        - `exclude`: Patterns in the syntax of `.gitignore` of what is neither sent nor deleted, beside those
          in `.pyroignore`.
        - `git`: Of a directory in a Git work tree, takes only what Git tracks, as it is now.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, InvalidSizeError, FileFailedError,
        BadArchiveError, PathEscapesError, WrongFileTypeError, GuestDiskFullError, ConflictError,
        UntrustedJournalError.
        """
        return await self._pyro.push_workspace_sync(
            self.workspace_id,
            source_path,
            delete=delete,
            dest=dest,
            dry_run=dry_run,
            exclude=exclude,
            git=git,
            on_progress=on_progress,
        )

    async def pull_sync(
        self,
        target_path: HostPath | None = None,
        *,
        dry_run: bool = False,
        exclude: Sequence[str] | None = None,
        paths: Sequence[Bytes] | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> SyncPulled:
        """Brings what changed in a workspace back to a directory of the host; what both sides changed is only
        told.

        - `target_path`: Absolute path of a directory on the host; when absent, the one that the workspace was
          filled from.
        - `dry_run`: Only says what would change.
        - `exclude`: Patterns in the syntax of `.gitignore` of what is not brought back, beside those in
          `.pyroignore`.
        - `paths`: Only these paths and what is below them.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, InvalidSizeError, FileFailedError,
        PathNotFoundError, PathEscapesError, ConflictError, UntrustedJournalError.
        """
        return await self._pyro.pull_workspace_sync(
            self.workspace_id,
            target_path,
            dry_run=dry_run,
            exclude=exclude,
            paths=paths,
            on_progress=on_progress,
        )

    async def export(
        self,
        path: Bytes = "/workspace",
        *,
        force: bool = False,
        format: ExportFormat = "tree",
        output_path: HostPath | BinaryIO,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> WorkspaceExported:
        """Takes a file, a directory, or everything that changed out of a workspace.

        - `path`: What; of a patch, what is below it.
        - `force`: Replace what is at `output_path`.
        - `format`: In which form.
        - `output_path`: What to make on this host, or an open binary file that takes the bytes.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathNotFoundError, PathEscapesError,
        WrongFileTypeError, OutputExistsError, FileFailedError.
        """
        return await self._pyro.export_workspace(
            self.workspace_id,
            path,
            force=force,
            format=format,
            output_path=output_path,
            on_progress=on_progress,
        )

    async def list_disk(
        self,
        path: Bytes = "/workspace",
        *,
        after: Bytes | None = None,
        limit: int = 20000,
        recursive: bool = False,
    ) -> DiskList:
        """Lists a directory on the disk of a stopped workspace, anywhere in its guest.

        - `path`: What.
        - `after`: Only entries after this path, for the next page.
        - `limit`: At most so many entries.
        - `recursive`: Also what is in directories below.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError, WorkspaceStateError, PathNotFoundError, PathEscapesError, WrongFileTypeError,
        DiskDamagedError.
        """
        return await self._pyro.list_workspace_disk(self.workspace_id, path, after=after, limit=limit, recursive=recursive)

    async def read_disk(
        self,
        path: Bytes,
        *,
        encoding: WantedEncoding = "utf-8",
        max_bytes: int = 65536,
        offset: int = 0,
    ) -> DiskRead:
        """Reads a file on the disk of a stopped workspace, or a part of it.

        - `path`: Which.
        - `encoding`: How the bytes shall stand in JSON.
        - `max_bytes`: At most so many bytes.
        - `offset`: First byte, from 0.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError, WorkspaceStateError, PathNotFoundError, PathEscapesError, WrongFileTypeError,
        DiskDamagedError.
        """
        return await self._pyro.read_workspace_disk(
            self.workspace_id,
            path,
            encoding=encoding,
            max_bytes=max_bytes,
            offset=offset,
        )

    async def export_disk(
        self,
        output_path: HostPath,
        *,
        force: bool = False,
        merged: bool = False,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> DiskExported:
        """Takes the disk of a stopped workspace to the host, or all its guest sees.

        - `output_path`: Absolute path on the host.
        - `force`: Replace what is at `output_path`.
        - `merged`: Everything the guest sees, as a tar archive, instead of the writable disk alone.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, OutputExistsError, FileFailedError, DiskFullError, DiskDamagedError.
        """
        return await self._pyro.export_workspace_disk(
            self.workspace_id,
            output_path,
            force=force,
            merged=merged,
            on_progress=on_progress,
        )

    async def save(
        self,
        output_path: HostPath,
        *,
        force: bool = False,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> WorkspaceSaved:
        """Takes a stopped workspace to the host as one file.

        - `output_path`: Absolute path on the host.
        - `force`: Replace what is at `output_path`.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, OutputExistsError, FileFailedError, FileTooLargeError, DiskFullError,
        DiskDamagedError.
        """
        return await self._pyro.save_workspace(self.workspace_id, output_path, force=force, on_progress=on_progress)

    async def create_snapshot(
        self,
        snapshot_name: str,
        *,
        comment: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> SnapshotResult:
        """Takes a snapshot of a workspace: memory, processes, devices and disk, or of a stopped one its disk.

        - `snapshot_name`: Its name, which no other snapshot of the workspace has.
        - `comment`: Why it is taken, at most `MAX_COMMENT_CHARS` characters.
        - `labels`: Labels.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, SnapshotExistsError, LimitReachedError, SnapshotFailedError, DiskFullError,
        MachineLostError.
        """
        return await self._pyro.create_snapshot(self.workspace_id, snapshot_name, comment=comment, labels=labels)

    async def list_snapshots(self) -> SnapshotList:
        """Lists the snapshots of a workspace.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError.
        """
        return await self._pyro.list_snapshots(self.workspace_id)

    async def inspect_snapshot(
        self,
        snapshot_name: str,
    ) -> SnapshotResult:
        """Says everything about a snapshot of a workspace.

        - `snapshot_name`: Its name or id.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        UnknownSnapshotError.
        """
        return await self._pyro.inspect_snapshot(self.workspace_id, snapshot_name)

    async def delete_snapshot(
        self,
        snapshot_name: str,
    ) -> SnapshotDeleted:
        """Deletes a snapshot of a workspace. What others share with it stays.

        - `snapshot_name`: Its name or id.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        UnknownSnapshotError.
        """
        return await self._pyro.delete_snapshot(self.workspace_id, snapshot_name)

    async def reset(
        self,
        *,
        snapshot: str = "baseline",
    ) -> WorkspaceReset:
        """Has a workspace go on from a snapshot, with all that ran in it.

        - `snapshot`: The snapshot's name or id.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceBusyError, UnknownSnapshotError, SnapshotDamagedError,
        LimitReachedError, HostRequirementError, DiskFullError, StartFailedError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError.
        """
        return await self._pyro.reset_workspace(self.workspace_id, snapshot=snapshot)

    async def undo(
        self,
        *,
        steps: int = 1,
    ) -> WorkspaceUndone:
        """Goes back before the last calls of a workspace with automatic checkpoints.

        - `steps`: How many calls.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceBusyError, NothingToUndoError, SnapshotDamagedError,
        SnapshotFailedError, LimitReachedError, HostRequirementError, DiskFullError, StartFailedError,
        MachineLostError, GuestMisbehavedError, GuestRefusedError.
        """
        return await self._pyro.undo_workspace(self.workspace_id, steps=steps)

    async def timeline(self) -> Timeline:
        """Says which calls of a workspace with automatic checkpoints can be undone.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError.
        """
        return await self._pyro.timeline_workspace(self.workspace_id)

    async def fork(
        self,
        *,
        count: int = 1,
        labels: Mapping[str, str] | None = None,
        name_prefix: str | None = None,
        snapshot: str | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> WorkspaceForked:
        """Makes workspaces that begin from the state of another one, with all that runs in it; all or none.

        - `count`: How many.
        - `labels`: Labels beside those of the parent.
        - `name_prefix`: Their names are this, `-` and a number from 1 on; without it they have none.
        - `snapshot`: From this snapshot of it; from how it is now when absent.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError, WorkspaceStateError, UnknownSnapshotError, SnapshotDamagedError,
        SnapshotFailedError, LimitReachedError, HostRequirementError, DiskFullError, StartFailedError,
        MachineLostError, GuestMisbehavedError, GuestRefusedError.
        """
        return await self._pyro.fork_workspace(
            self.workspace_id,
            count=count,
            labels=labels,
            name_prefix=name_prefix,
            snapshot=snapshot,
            on_progress=on_progress,
        )

    async def sleep(self) -> Workspace:
        """Saves the machine of a workspace and ends it, until the workspace is used.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, LimitReachedError, SnapshotFailedError, DiskFullError, MachineLostError.
        """
        return await self._pyro.sleep_workspace(self.workspace_id)
