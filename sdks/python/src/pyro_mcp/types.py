"""What operations answer, as types. All of them are plain dictionaries.

Written by `cargo xtask generate` from the table of operations; do not edit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    from ._text import Command

#: What a path is.
ArtifactType = Literal["file", "directory", "symlink", "special"]

#: How a path changed.
ChangeStatus = Literal["added", "modified", "deleted", "type_changed", "renamed", "copied"]

#: What became of a command.
CommandState = Literal["starting", "running", "finished", "never_started", "unknown"]

#: In which form a disk is taken.
DiskFormat = Literal["ext4", "tar"]

#: How bytes stand in JSON.
Encoding = Literal["utf-8", "base64"]

#: In which form.
ExportFormat = Literal["tree", "tar", "patch"]

#: A signal that jobs can be sent.
JobSignal = Literal["HUP", "INT", "TERM", "KILL"]

#: What a machine may reach.
NetworkPolicy = Literal["off", "egress", "egress+published-ports"]

#: One of the two outputs.
OutputStream = Literal["stdout", "stderr"]

#: How a machine goes on.
Resumed = Literal["memory", "boot"]

#: What a seed was.
SeedMode = Literal["empty", "directory", "tar_archive"]

#: What a snapshot is for.
SnapshotKind = Literal["baseline", "named", "checkpoint"]

#: Why a workspace has no machine.
StopReason = Literal["requested", "expired", "machine_lost", "host_restarted", "powered_off", "start_failed"]

#: What is being done to a workspace.
Transition = Literal["creating", "starting", "falling_asleep", "stopping", "deleting"]

#: How bytes shall stand in JSON.
WantedEncoding = Literal["auto", "utf-8", "base64"]

#: Whether a workspace has a machine.
WorkspaceState = Literal["created", "started", "stopped", "sleeping"]


class Cleanup(TypedDict):
    """What became of the machine of a run."""

    #: The machine.
    vm_id: str
    #: Whether its process and all its files are gone.
    deleted: bool
    #: `post_exec_cleanup`.
    reason: str


class _CommandRecordRequired(TypedDict):
    #: Its number in the workspace, from 1.
    sequence: int
    #: The job that it is.
    job_id: str
    #: The command as one line, secrets hidden.
    command: str
    #: Working directory.
    cwd: str
    #: What became of it.
    state: CommandState
    #: Its exit status, as in `ExecReport`; null while it runs, and when nobody knows.
    exit_code: int | None
    #: The signal that ended it.
    signal: int | None
    #: Whether the timeout ended it.
    timed_out: bool
    #: Whether the guest ran out of memory meanwhile.
    out_of_memory: bool
    #: Whether it was begun to go on without its caller.
    detached: bool
    #: Whether it ran when the snapshot was taken that the workspace went on from, or was forked from. What it
    #: had written before is not kept here, and no key names it.
    restored: bool
    #: Seconds that it may run; null: no bound.
    timeout_seconds: int | None
    #: How long it ran, or has run up to now.
    duration_ms: int
    #: How it was run.
    execution_mode: str
    #: When it was put on record.
    recorded_at: float
    #: When it ended.
    ended_at: float | None
    #: Name of the file of its standard output, `NNNNNN.stdout`.
    stdout_file: str
    #: Name of the file of its standard error, `NNNNNN.stderr`.
    stderr_file: str
    #: All bytes of standard output.
    stdout_bytes: int
    #: All bytes of standard error.
    stderr_bytes: int
    #: Bytes of standard output that are not kept any more, for the quota.
    stdout_dropped_bytes: int
    #: Bytes of standard error that are not kept any more, for the quota.
    stderr_dropped_bytes: int


class CommandRecord(_CommandRecordRequired, total=False):
    """A command on record."""

    #: Environment variables that it was given, secrets hidden.
    env: dict[str, str]
    #: The idempotency key that it was given.
    idempotency_key: str | None
    #: What else is to be known of it, as that its input broke off; one line.
    note: str | None
    #: Account, if one was named.
    user: str | None


class _DiffEntryRequired(TypedDict):
    #: Relative to `/workspace`.
    path: str
    #: How it changed.
    status: ChangeStatus
    #: What it is now; what it was, if it is gone.
    artifact_type: ArtifactType
    #: Its part of the patch; null if it has none.
    text_patch: str | None
    #: Whether either side is binary.
    binary: bool
    #: What was there; null: nothing.
    old: DiffSide | None
    #: What is there; null: nothing.
    new: DiffSide | None


class DiffEntry(_DiffEntryRequired, total=False):
    """A path that changed."""

    #: Lines added, where they were counted.
    added_lines: int | None
    #: The path before, if it has another name now.
    old_path: str | None
    #: Lines removed, where they were counted.
    removed_lines: int | None


class _DiffSideRequired(TypedDict):
    #: What it is.
    artifact_type: ArtifactType
    #: Permission bits.
    mode: str
    #: Size of a file; 0 for everything else.
    size_bytes: int


class DiffSide(_DiffSideRequired, total=False):
    """One side of a change."""

    #: SHA-256 of the content of a binary file, hexadecimal.
    sha256: str | None


class _DiffSummaryRequired(TypedDict):
    #: All.
    total: int
    #: New.
    added: int
    #: Other content, mode or target.
    modified: int
    #: Gone.
    deleted: int
    #: Another type.
    type_changed: int
    #: Another name.
    renamed: int
    #: With a text in the patch.
    text_patched: int
    #: Without one: binary files, directories.
    non_text: int


class DiffSummary(_DiffSummaryRequired, total=False):
    """How many paths changed and how."""

    #: Lines added, where they were counted.
    added_lines: int | None
    #: Lines removed, where they were counted.
    removed_lines: int | None


class DiskExported(TypedDict):
    """A disk was taken out."""

    #: Whose.
    workspace_id: str
    #: Where it is on the host.
    output_path: str
    #: In which form.
    disk_format: DiskFormat
    #: Length of the file.
    bytes_written: int
    #: What it takes on the host's disk; less than its length where it has holes.
    allocated_bytes: int


class DiskList(TypedDict):
    """What is in a directory of a disk."""

    #: Whose.
    workspace_id: str
    #: Absolute in the guest.
    path: str
    #: As it was asked.
    recursive: bool
    #: In order of their paths; a directory stands before what is in it.
    entries: list[FileEntry]
    #: Whether there is more.
    truncated: bool
    #: There is more: ask for it with this as `after`.
    next_after: str | None


class _DiskReadRequired(TypedDict):
    #: Whose.
    workspace_id: str
    #: Absolute in the guest.
    path: str
    #: Size of the whole file.
    size_bytes: int
    #: As it was asked.
    max_bytes: int
    #: The bytes, as text with replacement characters where they are no UTF-8, unless asked otherwise.
    content: str
    #: How they stand in `content`.
    encoding: Encoding
    #: Whether there is more of the file.
    truncated: bool
    #: Place of the first byte.
    offset: int
    #: How many bytes `content` stands for.
    bytes_read: int
    #: Permission bits.
    mode: str


class DiskRead(_DiskReadRequired, total=False):
    """A file of a disk, or a part of one."""

    #: The exact bytes, only where `content` has replacement characters for some of them.
    content_base64: str | None


class _EnvironmentRequired(TypedDict):
    #: Name, e.g. `debian:12`.
    name: str
    #: Version of the recipe.
    version: str
    #: One sentence.
    description: str
    #: Packages that people rely on.
    default_packages: list[str]
    #: Distribution, e.g. `debian`.
    distribution: str
    #: Its version, e.g. `12`.
    distribution_version: str
    #: Contract's name of the platform, e.g. `linux-x86_64`.
    platform: str
    #: Registry that it comes from; null, as none does yet.
    oci_registry: str | None
    #: Repository in that registry.
    oci_repository: str | None
    #: Reference in that repository.
    oci_reference: str | None
    #: Digest of what it was made from, hexadecimal; known once installed.
    source_digest: str | None
    #: Releases of pyro that can use it, as a semantic version range.
    compatibility: str
    #: Version of the list of environments.
    catalog_version: str
    #: Whether it is ready to use.
    installed: bool
    #: Directory of all environments.
    cache_dir: str
    #: Directory of this one, also when it is not there yet.
    install_dir: str


class Environment(_EnvironmentRequired, total=False):
    """An environment as everybody sees it."""

    #: The file that records its digests; only when installed.
    install_manifest: str | None
    #: Result of reading every file; only when that was asked for.
    verified: bool | None


class EnvironmentList(TypedDict):
    """All environments."""

    #: Version of the list.
    catalog_version: str
    #: Sorted by name.
    environments: list[Environment]


class ExecReport(TypedDict):
    """How a command ended, or that it runs on; the result on the wire. Output went before it as frames."""

    #: Where it ran.
    workspace_id: str
    #: The environment of the workspace.
    environment: str
    #: That environment's version, as far as it has one.
    environment_version: str | None
    #: The command as one line, secrets hidden.
    command: str
    #: The command's exit status; 128 + n when signal n ended it; 124 when the timeout did; null while it
    #: runs, and when nobody knows.
    exit_code: int | None
    #: How long it ran, or has run up to now.
    duration_ms: int
    #: How it was run.
    execution_mode: str
    #: Its number in the workspace, from 1.
    sequence: int
    #: Working directory.
    cwd: str
    #: The job that it is.
    job_id: str
    #: Whether it has ended.
    state: CommandState
    #: Whether it was begun by an earlier request: one with the same idempotency key, or one that this
    #: attached to.
    attached: bool
    #: The signal that ended the command.
    signal: int | None
    #: Whether the timeout ended the command. Its output up to then is complete.
    timed_out: bool
    #: Whether the guest ran out of memory meanwhile.
    out_of_memory: bool
    #: `kvm` or `emulated`, as measured.
    isolation: str | None
    #: All bytes of standard output, also those that were not passed on.
    stdout_bytes: int
    #: All bytes of standard error, also those that were not passed on.
    stderr_bytes: int
    #: Bytes of standard output that are not kept any more, for the quota.
    stdout_dropped_bytes: int
    #: Bytes of standard error that are not kept any more, for the quota.
    stderr_dropped_bytes: int


_FileChangedWords = TypedDict("_FileChangedWords", {"from": "str | None"}, total=False)


class _FileChangedRequired(TypedDict):
    #: Whose.
    workspace_id: str
    #: Absolute in the guest; of a move or a copy, the new one.
    path: str
    #: Whether anything was to be done.
    changed: bool
    #: How it was done.
    execution_mode: str


class FileChanged(_FileChangedRequired, _FileChangedWords, total=False):
    """Something was made, moved, copied or deleted."""

    #: Of a copy, bytes of regular files.
    bytes_written: int | None
    #: Of a copy, entries made.
    entry_count: int | None


class FileDownloaded(TypedDict):
    """A whole file was read."""

    #: Whose.
    workspace_id: str
    #: Absolute in the guest.
    path: str
    #: Bytes that were sent: the size of the file.
    size_bytes: int
    #: Permission bits.
    mode: str
    #: How it was done.
    execution_mode: str


class _FileEntryRequired(TypedDict):
    #: Absolute in the guest.
    path: str
    #: What it is.
    artifact_type: ArtifactType
    #: Size of a file; of a symbolic link the length of its target; 0 for everything else.
    size_bytes: int
    #: Where a symbolic link points, as it stands there.
    link_target: str | None
    #: Permission bits.
    mode: str
    #: Owner.
    uid: int
    #: Group.
    gid: int
    #: When its content was changed last.
    modified_at: float


class FileEntry(_FileEntryRequired, total=False):
    """A path and what is there."""

    #: SHA-256 of a file's content, hexadecimal, where it was asked for.
    sha256: str | None


class _FileGlobRequired(TypedDict):
    #: Where.
    workspace_id: str
    #: Below which directory, absolute in the guest.
    path: str
    #: As it was asked.
    pattern: str
    #: How many there are here.
    count: int
    #: In order of their paths.
    entries: list[FileEntry]
    #: Whether there are more.
    truncated: bool
    #: How it was done.
    execution_mode: str


class FileGlob(_FileGlobRequired, total=False):
    """Paths that were found."""

    #: What could not be looked at, and why.
    notes: list[str]


class _FileGrepRequired(TypedDict):
    #: Where.
    workspace_id: str
    #: Below which directory, or in which file, absolute in the guest.
    path: str
    #: As it was asked.
    pattern: str
    #: How many lines match, or with `names_only` how many files, as far as they are listed.
    count: int
    #: In order of path and line.
    matches: list[FileMatch]
    #: Whether there are more.
    truncated: bool
    #: How it was done.
    execution_mode: str


class FileGrep(_FileGrepRequired, total=False):
    """Lines that were found."""

    #: What could not be looked at, and why.
    notes: list[str]


class _FileListRequired(TypedDict):
    #: Whose.
    workspace_id: str
    #: Absolute in the guest.
    path: str
    #: As it was asked.
    recursive: bool
    #: In order of their paths; a directory stands before what is in it.
    entries: list[FileEntry]
    #: How it was done.
    execution_mode: str
    #: Whether there is more.
    truncated: bool
    #: There is more: ask for it with this as `after`.
    next_after: str | None


class FileList(_FileListRequired, total=False):
    """What is in a directory."""

    #: What could not be looked at, and why.
    notes: list[str]


class _FileMatchRequired(TypedDict):
    #: The file, absolute in the guest.
    path: str
    #: Whether it only stands beside a match.
    is_context: bool


class FileMatch(_FileMatchRequired, total=False):
    """A line that matches, one beside it, or a file with `names_only`."""

    #: Number of the line, from 1; absent with `names_only`.
    line: int | None
    #: How many lines of the file match; only with `names_only`.
    line_count: int | None
    #: Its text without the end of line, cut if it is very long; absent with `names_only`.
    text: str | None


class _FileReadRequired(TypedDict):
    #: Whose.
    workspace_id: str
    #: Absolute in the guest.
    path: str
    #: Size of the whole file.
    size_bytes: int
    #: As it was asked.
    max_bytes: int
    #: The bytes, as text with replacement characters where they are no UTF-8, unless asked otherwise.
    content: str
    #: How they stand in `content`.
    encoding: Encoding
    #: Whether `max_bytes` cut off what was asked for.
    truncated: bool
    #: How it was done.
    execution_mode: str
    #: Place of the first byte; null when lines were asked for.
    offset: int | None
    #: How many bytes `content` stands for.
    bytes_read: int
    #: Number of the first line, when lines were asked for.
    first_line: int | None
    #: Lines in the whole file, when lines were asked for and its end was reached.
    total_lines: int | None
    #: Permission bits.
    mode: str


class FileRead(_FileReadRequired, total=False):
    """A file, or a part of one."""

    #: The exact bytes, only where `content` has replacement characters for some of them.
    content_base64: str | None


class FileReplaced(TypedDict):
    """Text was replaced."""

    #: Whose.
    workspace_id: str
    #: Absolute in the guest.
    path: str
    #: How often.
    count: int
    #: Lines where the old text began, from 1; at most 1,000.
    lines: list[int]
    #: Size of the file now.
    size_bytes: int
    #: How it was done.
    execution_mode: str


class _FileStatRequired(TypedDict):
    #: Whose.
    workspace_id: str
    #: Absolute in the guest.
    path: str
    #: What it is.
    artifact_type: ArtifactType
    #: Size of a file; of a symbolic link the length of its target; 0 for everything else.
    size_bytes: int
    #: Where a symbolic link points, as it stands there.
    link_target: str | None
    #: Permission bits.
    mode: str
    #: Owner.
    uid: int
    #: Group.
    gid: int
    #: When its content was changed last.
    modified_at: float


class FileStat(_FileStatRequired, total=False):
    """One path."""

    #: SHA-256 of a file's content, hexadecimal, where it was asked for.
    sha256: str | None


class FileWritten(TypedDict):
    """A file was written."""

    #: Whose.
    workspace_id: str
    #: Absolute in the guest.
    path: str
    #: Size of the file now.
    size_bytes: int
    #: Bytes that were taken.
    bytes_written: int
    #: How it was done.
    execution_mode: str
    #: Whether the file was not there before.
    created: bool
    #: Permission bits.
    mode: str


class _GcItemRequired(TypedDict):
    #: What it is: `machine`, `kept_environment`, `template` or `workspace_files`.
    kind: str
    #: Where it is.
    path: str
    #: Why it is of no use, in words.
    reason: str
    #: What it takes on disk.
    size_bytes: int


class GcItem(_GcItemRequired, total=False):
    """A thing that is kept without need."""

    #: Why it could not be removed, if it could not.
    failure: str | None


class GcResult(TypedDict):
    """What was removed, or would be."""

    #: Whether it was only looked at.
    dry_run: bool
    #: How many things were removed, or would be.
    count: int
    #: What these took on disk, together.
    bytes_freed: int
    #: Each thing, those that could not be removed too.
    items: list[GcItem]


class _JobKilledRequired(TypedDict):
    #: Whose.
    workspace_id: str
    #: Which signal was asked for; what ended the command, if one did, is in `signal`.
    sent_signal: JobSignal
    #: Whether the command ran. If not, nothing was sent.
    signalled: bool
    #: Its number in the workspace, from 1.
    sequence: int
    #: The job that it is.
    job_id: str
    #: The command as one line, secrets hidden.
    command: str
    #: Working directory.
    cwd: str
    #: What became of it.
    state: CommandState
    #: Its exit status, as in `ExecReport`; null while it runs, and when nobody knows.
    exit_code: int | None
    #: The signal that ended it.
    signal: int | None
    #: Whether the timeout ended it.
    timed_out: bool
    #: Whether the guest ran out of memory meanwhile.
    out_of_memory: bool
    #: Whether it was begun to go on without its caller.
    detached: bool
    #: Whether it ran when the snapshot was taken that the workspace went on from, or was forked from. What it
    #: had written before is not kept here, and no key names it.
    restored: bool
    #: Seconds that it may run; null: no bound.
    timeout_seconds: int | None
    #: How long it ran, or has run up to now.
    duration_ms: int
    #: How it was run.
    execution_mode: str
    #: When it was put on record.
    recorded_at: float
    #: When it ended.
    ended_at: float | None
    #: Name of the file of its standard output, `NNNNNN.stdout`.
    stdout_file: str
    #: Name of the file of its standard error, `NNNNNN.stderr`.
    stderr_file: str
    #: All bytes of standard output.
    stdout_bytes: int
    #: All bytes of standard error.
    stderr_bytes: int
    #: Bytes of standard output that are not kept any more, for the quota.
    stdout_dropped_bytes: int
    #: Bytes of standard error that are not kept any more, for the quota.
    stderr_dropped_bytes: int


class JobKilled(_JobKilledRequired, total=False):
    """A signal was sent, or there was nobody to take it."""

    #: Environment variables that it was given, secrets hidden.
    env: dict[str, str]
    #: The idempotency key that it was given.
    idempotency_key: str | None
    #: What else is to be known of it, as that its input broke off; one line.
    note: str | None
    #: Account, if one was named.
    user: str | None


class JobList(TypedDict):
    """Jobs."""

    #: Whose.
    workspace_id: str
    #: How many are listed.
    count: int
    #: How many of the workspace's commands run.
    running_count: int
    #: In order of their numbers, at most the newest 1,000.
    jobs: list[CommandRecord]


class _JobLogsRequired(TypedDict):
    #: Whose.
    workspace_id: str
    #: Its number in the workspace, from 1.
    sequence: int
    #: The job that it is.
    job_id: str
    #: The command as one line, secrets hidden.
    command: str
    #: Working directory.
    cwd: str
    #: What became of it.
    state: CommandState
    #: Its exit status, as in `ExecReport`; null while it runs, and when nobody knows.
    exit_code: int | None
    #: The signal that ended it.
    signal: int | None
    #: Whether the timeout ended it.
    timed_out: bool
    #: Whether the guest ran out of memory meanwhile.
    out_of_memory: bool
    #: Whether it was begun to go on without its caller.
    detached: bool
    #: Whether it ran when the snapshot was taken that the workspace went on from, or was forked from. What it
    #: had written before is not kept here, and no key names it.
    restored: bool
    #: Seconds that it may run; null: no bound.
    timeout_seconds: int | None
    #: How long it ran, or has run up to now.
    duration_ms: int
    #: How it was run.
    execution_mode: str
    #: When it was put on record.
    recorded_at: float
    #: When it ended.
    ended_at: float | None
    #: Name of the file of its standard output, `NNNNNN.stdout`.
    stdout_file: str
    #: Name of the file of its standard error, `NNNNNN.stderr`.
    stderr_file: str
    #: All bytes of standard output.
    stdout_bytes: int
    #: All bytes of standard error.
    stderr_bytes: int
    #: Bytes of standard output that are not kept any more, for the quota.
    stdout_dropped_bytes: int
    #: Bytes of standard error that are not kept any more, for the quota.
    stderr_dropped_bytes: int
    #: Standard output as text, with replacement characters where it is no UTF-8.
    stdout: str
    #: Standard error as text, with replacement characters where it is no UTF-8.
    stderr: str
    #: Whether `stdout` is only a part.
    stdout_truncated: bool
    #: Whether `stderr` is only a part.
    stderr_truncated: bool


class JobLogs(_JobLogsRequired, total=False):
    """A command with the end of its output."""

    #: Environment variables that it was given, secrets hidden.
    env: dict[str, str]
    #: The idempotency key that it was given.
    idempotency_key: str | None
    #: What else is to be known of it, as that its input broke off; one line.
    note: str | None
    #: The exact bytes, only when standard error is no UTF-8.
    stderr_base64: str | None
    #: The exact bytes, only when standard output is no UTF-8.
    stdout_base64: str | None
    #: Account, if one was named.
    user: str | None


class LastCommand(TypedDict):
    """The newest command that has ended."""

    #: Its number.
    sequence: int
    #: What it was, as one line.
    command: str
    #: Where it ran.
    cwd: str
    #: Its exit status; null when nobody knows.
    exit_code: int | None
    #: How long it ran.
    duration_ms: int
    #: How it was run.
    execution_mode: str


class _LogEntryRequired(TypedDict):
    #: Its number in the workspace, from 1.
    sequence: int
    #: The job that it is.
    job_id: str
    #: The command as one line, secrets hidden.
    command: str
    #: Working directory.
    cwd: str
    #: What became of it.
    state: CommandState
    #: Its exit status, as in `ExecReport`; null while it runs, and when nobody knows.
    exit_code: int | None
    #: The signal that ended it.
    signal: int | None
    #: Whether the timeout ended it.
    timed_out: bool
    #: Whether the guest ran out of memory meanwhile.
    out_of_memory: bool
    #: Whether it was begun to go on without its caller.
    detached: bool
    #: Whether it ran when the snapshot was taken that the workspace went on from, or was forked from. What it
    #: had written before is not kept here, and no key names it.
    restored: bool
    #: Seconds that it may run; null: no bound.
    timeout_seconds: int | None
    #: How long it ran, or has run up to now.
    duration_ms: int
    #: How it was run.
    execution_mode: str
    #: When it was put on record.
    recorded_at: float
    #: When it ended.
    ended_at: float | None
    #: Name of the file of its standard output, `NNNNNN.stdout`.
    stdout_file: str
    #: Name of the file of its standard error, `NNNNNN.stderr`.
    stderr_file: str
    #: All bytes of standard output.
    stdout_bytes: int
    #: All bytes of standard error.
    stderr_bytes: int
    #: Bytes of standard output that are not kept any more, for the quota.
    stdout_dropped_bytes: int
    #: Bytes of standard error that are not kept any more, for the quota.
    stderr_dropped_bytes: int
    #: Standard output as text, with replacement characters where it is no UTF-8.
    stdout: str
    #: Standard error as text, with replacement characters where it is no UTF-8.
    stderr: str
    #: Whether `stdout` is only a part.
    stdout_truncated: bool
    #: Whether `stderr` is only a part.
    stderr_truncated: bool


class LogEntry(_LogEntryRequired, total=False):
    """A command of the history with the end of its output."""

    #: Environment variables that it was given, secrets hidden.
    env: dict[str, str]
    #: The idempotency key that it was given.
    idempotency_key: str | None
    #: What else is to be known of it, as that its input broke off; one line.
    note: str | None
    #: The exact bytes, only when standard error is no UTF-8.
    stderr_base64: str | None
    #: The exact bytes, only when standard output is no UTF-8.
    stdout_base64: str | None
    #: Account, if one was named.
    user: str | None


class OutputMatch(TypedDict):
    """A line that matches."""

    #: Its number, from 1; null when it cannot be said.
    line: int | None
    #: Place of its first byte in the whole output.
    byte: int
    #: Its text without the end of line, cut if it is very long.
    text: str


class _OutputPieceRequired(TypedDict):
    #: Whose.
    workspace_id: str
    #: Which command.
    sequence: int
    #: The job that it is.
    job_id: str
    #: Which output.
    stream: OutputStream
    #: What became of the command; while it is live there may be more.
    state: CommandState
    #: The bytes; empty with `grep`.
    content: str
    #: How they stand in `content`.
    encoding: Encoding
    #: Number of the first line, from 1; null when it cannot be said, because earlier output was dropped.
    first_line: int | None
    #: Lines in this part, a last one without its end included.
    line_count: int
    #: Place of the first byte in the whole output.
    first_byte: int
    #: Place after the last byte that was looked at: the `from_byte` to go on with.
    next_byte: int
    #: All bytes of the output up to now.
    total_bytes: int
    #: How many of them are not kept any more, for the quota.
    dropped_bytes: int
    #: Whether there is more after this part.
    truncated: bool


class OutputPiece(_OutputPieceRequired, total=False):
    """A part of one command's output."""

    #: Lines that match; only with `grep`.
    matches: list[OutputMatch] | None


class ParentView(TypedDict):
    """The workspace that another one was forked from."""

    #: Which; it may be gone.
    workspace_id: str
    #: From which of its snapshots; null: from how it was.
    snapshot_name: str | None


class _PatchResultRequired(TypedDict):
    #: Where.
    workspace_id: str
    #: Whether anything changed; with `check`, would change.
    changed: bool
    #: How many files changed and how.
    summary: PatchSummary
    #: In the order of the patch, as many as one answer can hold.
    entries: list[PatchedFile]
    #: The patch as it was given.
    patch: str
    #: How it was done.
    execution_mode: str
    #: Whether it was only tried.
    checked_only: bool


class PatchResult(_PatchResultRequired, total=False):
    """A patch was applied, or would apply."""

    #: How many files changed that `entries` has no room for. They count in `summary.total` and nowhere else.
    left_out_count: int


class PatchSummary(TypedDict):
    """How many files changed and how."""

    #: All.
    total: int
    #: New ones, copies included.
    added: int
    #: Other content or mode.
    modified: int
    #: Gone.
    deleted: int
    #: Another name.
    renamed: int


class _PatchedFileRequired(TypedDict):
    #: Absolute in the guest.
    path: str
    #: How it changed.
    status: ChangeStatus


class PatchedFile(_PatchedFileRequired, total=False):
    """A file of a patch."""

    #: Of a rename or a copy, the path before.
    old_path: str | None
    #: Parts that applied elsewhere than they said.
    shifted: list[ShiftedHunk]


class PruneResult(TypedDict):
    """What was removed."""

    #: Names of the removed directories, sorted.
    deleted_environment_dirs: list[str]
    #: How many.
    count: int
    #: How many templates were removed that no installed environment leads to; 0 also where no machine can be
    #: had, and so no template be told from another.
    templates_removed: int


class _PullViewRequired(TypedDict):
    #: Absolute in the guest.
    source_path: str
    #: The directory on the host.
    destination: str
    #: Entries that were written.
    entry_count: int
    #: Bytes of the regular files among them.
    bytes_written: int
    #: Paths that were made or changed.
    changed_count: int
    #: Paths that were deleted.
    deleted_count: int
    #: How many conflicts there are.
    conflict_count: int
    #: The first 1,000 paths that were made, changed or deleted.
    changes: list[SyncChange]
    #: The first 1,000 paths that both sides changed. Nothing was written there.
    conflicts: list[SyncConflict]
    #: Whether it was only tried.
    dry_run: bool


class PullView(_PullViewRequired, total=False):
    """What was pulled."""

    #: What was left out and why.
    notes: list[str]


class _PulledEnvironmentRequired(TypedDict):
    #: Name, e.g. `debian:12`.
    name: str
    #: Version of the recipe.
    version: str
    #: One sentence.
    description: str
    #: Packages that people rely on.
    default_packages: list[str]
    #: Distribution, e.g. `debian`.
    distribution: str
    #: Its version, e.g. `12`.
    distribution_version: str
    #: Contract's name of the platform, e.g. `linux-x86_64`.
    platform: str
    #: Registry that it comes from; null, as none does yet.
    oci_registry: str | None
    #: Repository in that registry.
    oci_repository: str | None
    #: Reference in that repository.
    oci_reference: str | None
    #: Digest of what it was made from, hexadecimal; known once installed.
    source_digest: str | None
    #: Releases of pyro that can use it, as a semantic version range.
    compatibility: str
    #: Version of the list of environments.
    catalog_version: str
    #: Whether it is ready to use.
    installed: bool
    #: Directory of all environments.
    cache_dir: str
    #: Directory of this one, also when it is not there yet.
    install_dir: str
    #: Path of its kernel.
    kernel_image: str
    #: Path of its root image.
    rootfs_image: str
    #: Where it came from.
    source: str


class PulledEnvironment(_PulledEnvironmentRequired, total=False):
    """An environment that is ready."""

    #: The file that records its digests; only when installed.
    install_manifest: str | None
    #: Result of reading every file; only when that was asked for.
    verified: bool | None


class _PushViewRequired(TypedDict):
    #: What the source was.
    mode: SeedMode
    #: Where on the host.
    source_path: str
    #: Absolute in the guest.
    destination: str
    #: Entries of the source.
    entry_count: int
    #: Bytes of its regular files.
    bytes_written: int
    #: Paths that were made or changed.
    changed_count: int
    #: Paths that were deleted.
    deleted_count: int
    #: The first 1,000 of them.
    changes: list[SyncChange]
    #: Whether it was only tried.
    dry_run: bool


class PushView(_PushViewRequired, total=False):
    """What was pushed."""

    #: What was left out and why.
    notes: list[str]


class _ResetViewRequired(TypedDict):
    #: The snapshot's name.
    snapshot_name: str
    #: What the snapshot is for.
    kind: SnapshotKind
    #: Always `/workspace`, and everything else in the guest.
    destination: str
    #: As in `Snapshot`.
    entry_count: int | None
    #: Of the baseline the contents of the seed; of others what their memory takes on the host.
    bytes_written: int
    #: Whether with its memory.
    resumed: Resumed


class ResetView(_ResetViewRequired, total=False):
    """What a workspace goes on from."""

    #: Why it was booted though there might have been a memory.
    boot_reason: str | None


class RunReport(TypedDict):
    """How a run ended; the result on the wire. Output went before it as frames."""

    #: The machine, 12 hexadecimal digits. It is gone.
    vm_id: str
    #: The environment that was asked for.
    environment: str
    #: Its version, as far as it has one.
    environment_version: str | None
    #: The command as one line.
    command: str
    #: The command's exit status; 128 + n when signal n ended it; 124 when the timeout did.
    exit_code: int
    #: The signal that ended the command.
    signal: int | None
    #: Whether the timeout ended the command. Its output up to then is complete.
    timed_out: bool
    #: From the daemon's first sight of the request to the end of the clean-up.
    duration_ms: int
    #: Whether the guest ran out of memory meanwhile.
    out_of_memory: bool
    #: Wall time of the command in the guest.
    command_duration_ms: int
    #: Duration of each phase by name.
    phases_ms: dict[str, int]
    #: Always `EXECUTION_MODE`.
    execution_mode: str
    #: `kvm` or `emulated`, as measured.
    isolation: str
    #: `restored` (from a template) or `booted`.
    start: str
    #: All bytes of standard output, also those that a collecting client dropped.
    stdout_bytes: int
    #: All bytes of standard error, also those that a collecting client dropped.
    stderr_bytes: int
    #: What became of the machine.
    cleanup: Cleanup


class _SecretSourceRequired(TypedDict):
    #: Its name.
    name: str


class SecretSource(_SecretSourceRequired, total=False):
    """A secret, by value or by the path of a file on the host. Never shown."""

    #: The file that holds what is secret.
    file_path: str | None
    #: What is secret.
    value: str | None


class SecretView(TypedDict):
    """A secret by name."""

    #: Its name.
    name: str
    #: `literal` or `file`.
    source_kind: str


class _SeedViewRequired(TypedDict):
    #: What the seed was.
    mode: SeedMode
    #: Where on the host, if anywhere.
    seed_path: str | None
    #: Always `/workspace`.
    destination: str
    #: Entries made.
    entry_count: int
    #: Bytes of regular files.
    bytes_written: int


class SeedView(_SeedViewRequired, total=False):
    """What a workspace was filled with."""

    #: What was left out and why.
    notes: list[str]


class ShiftedHunk(TypedDict):
    """A part of a patch that applied elsewhere than it said."""

    #: Its number in the file, from 1.
    hunk: int
    #: The line where it applied.
    line: int
    #: How many lines after where it said; before, if negative.
    offset: int
    #: Lines of context that did not fit and were ignored.
    fuzz: int


class ShutdownResult(TypedDict):
    """The daemon is about to end."""

    #: The process that ends.
    pid: int
    #: Always true.
    stopping: bool


class Snapshot(TypedDict):
    """A snapshot."""

    #: Of which.
    workspace_id: str
    #: 12 hexadecimal digits.
    snapshot_id: str
    #: Its name.
    snapshot_name: str
    #: What it is for.
    kind: SnapshotKind
    #: When it was taken.
    created_at: float
    #: The snapshot that the workspace's state came from then; null: none, or it was deleted.
    parent: str | None
    #: Why it was taken.
    comment: str | None
    #: Sorted by key.
    labels: dict[str, str]
    #: Whether it has the memory of a machine, or only its disk.
    has_memory: bool
    #: Commands that ran in it.
    running_command_count: int
    #: How long the machine stood still for it; null: it had none.
    paused_ms: float | None
    #: What it alone takes on the host, as far as that can be told.
    size_bytes: int
    #: Whether the workspace's state came from it last.
    current: bool
    #: Entries of the seed, for the baseline; null for others, which nobody counted.
    entry_count: int | None
    #: What was written to keep it.
    bytes_written: int
    #: Whether it may be deleted.
    deletable: bool


class SnapshotDeleted(TypedDict):
    """A snapshot is gone."""

    #: Of which.
    workspace_id: str
    #: Which it was.
    snapshot_name: str
    #: Always true.
    deleted: bool


class SnapshotList(TypedDict):
    """The snapshots of a workspace."""

    #: Of which.
    workspace_id: str
    #: How many.
    count: int
    #: The baseline first, then the newest ones.
    snapshots: list[Snapshot]


class SnapshotResult(TypedDict):
    """A snapshot of a workspace: the answer of create and inspect."""

    #: Of which.
    workspace_id: str
    #: The snapshot.
    snapshot: Snapshot
    #: `guest_vsock` (`EXECUTION_MODE`).
    execution_mode: str


class Status(TypedDict):
    """How the daemon is."""

    #: Release of the program.
    version: str
    #: Newest version of the contract that it answers.
    api_version: int
    #: Oldest version of the contract that it answers.
    oldest_api_version: int
    #: Its process.
    pid: int
    #: Since its start.
    uptime_ms: int
    #: Machines that run now.
    live_machines: int
    #: Requests in work now, this one left out.
    requests: int
    #: Where it listens.
    socket: str
    #: Where it writes what happens.
    log: str


class Step(TypedDict):
    """A call before which a checkpoint was taken."""

    #: Counts the steps of a workspace.
    number: int
    #: When it was called.
    at: float
    #: What was called, one line. Secrets that are known are left out.
    call: str


class _SummaryCommandRequired(TypedDict):
    #: The job that it is.
    job_id: str
    #: Its beginning, secrets hidden.
    command: str
    #: What became of it.
    state: CommandState
    #: How long it ran, or has run up to now.
    duration_ms: int


class SummaryCommand(_SummaryCommandRequired, total=False):
    """A command."""

    #: Its exit status.
    exit_code: int | None
    #: Of a failure, the end of what it wrote: of standard error, or of standard output if that is empty.
    output_end: str | None
    #: Whether the timeout ended it.
    timed_out: bool


class SummaryCounts(TypedDict):
    """How many commands, and how they ended."""

    #: Those that began or ended in that time.
    total: int
    #: Those of them that ended otherwise than with exit code 0.
    failed: int
    #: Those of them that still run.
    running: int


class SummaryFile(TypedDict):
    """A file that changed."""

    #: Relative to `/workspace`.
    path: str
    #: How it changed.
    status: ChangeStatus


class _SummaryFilesRequired(TypedDict):
    #: All of them.
    total: int
    #: The last modified first, as many as there is room for.
    first: list[SummaryFile]


class SummaryFiles(_SummaryFilesRequired, total=False):
    """Files that changed. With `since`, those that are there count if they were modified since, and those
    that are gone always do, since nothing says when they went."""

    #: New ones.
    added: int
    #: Those that are gone.
    deleted: int
    #: Those with other content, another mode, type or name.
    modified: int


class SyncChange(TypedDict):
    """A path that changed, or would."""

    #: Relative to the directory that changes.
    path: str
    #: How.
    status: ChangeStatus


class SyncConflict(TypedDict):
    """A path that both sides changed since they were the same."""

    #: Relative to the directory that changes.
    path: str
    #: What the guest did.
    guest: ChangeStatus
    #: What happened on the host.
    host: ChangeStatus


class SyncPulled(TypedDict):
    """Changes were brought back."""

    #: Where from.
    workspace_id: str
    #: How it was done.
    execution_mode: str
    #: What was done.
    workspace_sync: PullView


class SyncPushed(TypedDict):
    """Files were brought into a workspace."""

    #: Where to.
    workspace_id: str
    #: How it was done.
    execution_mode: str
    #: What was done.
    workspace_sync: PushView


class Timeline(TypedDict):
    """The timeline of a workspace."""

    #: Of which.
    workspace_id: str
    #: Whether a checkpoint is taken before each call that may change something.
    auto_checkpoint: bool
    #: How many entries.
    count: int
    #: The oldest first.
    entries: list[TimelineEntry]


class TimelineEntry(TypedDict):
    """A state of the workspace that can be gone back to."""

    #: When it was so.
    at: float
    #: The call that came next; null: an undo left the workspace like this.
    step: Step | None
    #: Whether that call is behind the workspace's state of now; one that was undone is not.
    behind: bool
    #: The checkpoint, for `workspace_reset` and `workspace_fork`. A call that was undone shares it with the
    #: next one, if nothing came in between.
    snapshot_id: str
    #: What it alone takes on the host, as far as that can be told; 0 where it is shared.
    size_bytes: int


class _VmRequired(TypedDict):
    #: 12 hexadecimal digits.
    vm_id: str
    #: The environment that it was made from.
    environment: str
    #: That environment's version, as far as it has one.
    environment_version: str | None
    #: Virtual processors.
    vcpu_count: int
    #: Memory in MiB.
    mem_mib: int
    #: Seconds without use after which it is deleted; 0: never.
    ttl_seconds: int
    #: When it was made, in seconds since 1970.
    created_at: float
    #: When it will be deleted if nobody uses it; null: never.
    expires_at: float | None
    #: Whether it runs.
    state: WorkspaceState
    #: Whether it has a network.
    network_enabled: bool
    #: As it was asked; nothing ever runs on the host.
    allow_host_compat: bool
    #: Its address, if it has a network.
    guest_ip: str | None
    #: Always null: no network of ours has such a device.
    tap_name: str | None
    #: `guest_vsock` (`EXECUTION_MODE`); `pending` before it was started.
    execution_mode: str
    #: More, for people who look into things.
    metadata: dict[str, str]


class Vm(_VmRequired, total=False):
    """A machine."""

    #: Whether an earlier request made it.
    attached: bool
    #: The machine is gone, and this is kept of its command: how it ended, and the ends of its outputs.
    kept: LogEntry | None


class VmDeleted(TypedDict):
    """A machine is gone."""

    #: Which it was.
    vm_id: str
    #: Whether it is gone; false only with `unless_used`.
    deleted: bool
    #: `explicit_delete`, or `in_use`.
    reason: str


class _VmNetworkInfoRequired(TypedDict):
    #: Which.
    vm_id: str
    #: Whether it has one.
    network_enabled: bool
    #: Whether it reaches others.
    outbound_connectivity_expected: bool


class VmNetworkInfo(_VmNetworkInfoRequired, total=False):
    """The network of a machine. No machine has one in this release."""

    #: Why it has none.
    reason: str | None


class _VmPurposeRequired(TypedDict):
    #: What: a string is a shell line, an array an argument vector.
    command: Command


class VmPurpose(_VmPurposeRequired, total=False):
    """The command that a machine is for."""

    #: How long it may run.
    timeout_seconds: int


class VmsReaped(TypedDict):
    """Machines that were deleted."""

    #: Which.
    deleted_vm_ids: list[str]
    #: How many.
    count: int


class _WorkspaceRequired(TypedDict):
    #: 12 hexadecimal digits.
    workspace_id: str
    #: Its name, if it has one.
    name: str | None
    #: Sorted by key.
    labels: dict[str, str]
    #: The environment that it was made from.
    environment: str
    #: That environment's version, as far as it has one.
    environment_version: str | None
    #: Virtual processors.
    vcpu_count: int
    #: Memory in MiB.
    mem_mib: int
    #: Size of the writable disk in MiB.
    disk_mib: int
    #: What the disk takes on the host; absent when that cannot be said.
    disk_used_bytes: int | None
    #: Seconds without use after which the machine is stopped; 0: never.
    ttl_seconds: int
    #: When it was made.
    created_at: float
    #: When it was last used. Every operation that names the workspace is use, but for list, status, logs, job
    #: list, job logs and output.
    last_activity_at: float
    #: When the machine will be stopped if nobody uses it; null: never.
    expires_at: float | None
    #: Whether there is a machine.
    state: WorkspaceState
    #: What the machine may reach.
    network_policy: NetworkPolicy
    #: Whether it has a network.
    network_enabled: bool
    #: As it was asked; nothing ever runs on the host.
    allow_host_compat: bool
    #: Its address, if it has a network.
    guest_ip: str | None
    #: Always null: no network of ours has such a device.
    tap_name: str | None
    #: `guest_vsock` (`EXECUTION_MODE`); `pending` before the machine is there.
    execution_mode: str
    #: `kvm` or `emulated`, as measured; absent as long as there was no machine.
    isolation: str | None
    #: Always `/workspace`.
    workspace_path: str
    #: What it was filled with.
    workspace_seed: SeedView
    #: Secrets by name.
    secrets: list[SecretView]
    #: How many commands it was given.
    command_count: int
    #: How many of them run now.
    running_command_count: int
    #: The newest command that has ended.
    last_command: LastCommand | None
    #: How often it was reset.
    reset_count: int
    #: When it was last reset.
    last_reset_at: float | None
    #: How many snapshots it has, the baseline included.
    snapshot_count: int
    #: Seconds without use after which the machine is saved and sleeps; 0: never.
    idle_sleep_seconds: int
    #: Whether a checkpoint is taken before each command, patch and write.
    auto_checkpoint: bool
    #: How many services it has.
    service_count: int
    #: How many of them run now.
    running_service_count: int
    #: More, for people who look into things.
    metadata: dict[str, str]


class Workspace(_WorkspaceRequired, total=False):
    """Everything about a workspace: the answer of create, update, status, stop and start."""

    #: Why the machine was booted though there was a memory to go on with.
    boot_reason: str | None
    #: What went wrong last, in words, when something did.
    last_error: str | None
    #: The workspace that it was forked from.
    parent: ParentView | None
    #: Why the machine pauses, in words, e.g. because the host's disk is full. It goes on by itself.
    stalled: str | None
    #: Why there is no machine, when it is stopped.
    stop_reason: StopReason | None
    #: What is being done to it just now.
    transition: Transition | None


class WorkspaceDeleted(TypedDict):
    """A workspace is gone."""

    #: Which it was.
    workspace_id: str
    #: Always true.
    deleted: bool
    #: `explicit_delete`.
    reason: str


class _WorkspaceDiffRequired(TypedDict):
    #: Where.
    workspace_id: str
    #: Compared with what; of a workspace its id.
    against: str
    #: Whether anything changed.
    changed: bool
    #: How many paths changed and how.
    summary: DiffSummary
    #: In order of their paths.
    entries: list[DiffEntry]
    #: The patch, as `git apply` takes it: the text of all entries that have one.
    patch: str


class WorkspaceDiff(_WorkspaceDiffRequired, total=False):
    """What changed."""

    #: Paths whose text was left out because of `max_bytes`. `workspace_export` as patch has all.
    left_out: list[str]
    #: What is worth a word.
    notes: list[str]


class _WorkspaceExportedRequired(TypedDict):
    #: Where from.
    workspace_id: str
    #: What, absolute in the guest.
    workspace_path: str
    #: Where it is on the host; null when its bytes were sent.
    output_path: str | None
    #: What it is.
    artifact_type: ArtifactType
    #: In which form.
    format: ExportFormat
    #: Entries, the path itself included; of a patch, paths that changed.
    entry_count: int
    #: Bytes of regular files; of a patch and an archive, its length.
    bytes_written: int
    #: How it was done.
    execution_mode: str


class WorkspaceExported(_WorkspaceExportedRequired, total=False):
    """Something was taken out."""

    #: What was left out and why.
    notes: list[str]


class _WorkspaceForkedRequired(TypedDict):
    #: From which.
    workspace_id: str
    #: From which snapshot; null: from how it was.
    snapshot_name: str | None
    #: How many.
    count: int
    #: Whether they go on with its memory.
    resumed: Resumed
    #: They.
    workspaces: list[Workspace]


class WorkspaceForked(_WorkspaceForkedRequired, total=False):
    """Workspaces were made from another one."""

    #: Why they were booted though there might have been a memory.
    boot_reason: str | None


class WorkspaceList(TypedDict):
    """A page of workspaces."""

    #: How many there are on this page.
    count: int
    #: Last used first, then newest first, then by id.
    workspaces: list[WorkspaceListItem]
    #: What to ask for the next page with; null: this is the last one.
    next_cursor: str | None


class _WorkspaceListItemRequired(TypedDict):
    #: 12 hexadecimal digits.
    workspace_id: str
    #: Its name, if it has one.
    name: str | None
    #: Sorted by key.
    labels: dict[str, str]
    #: The environment that it was made from.
    environment: str
    #: Whether there is a machine.
    state: WorkspaceState
    #: When it was made.
    created_at: float
    #: When it was last used.
    last_activity_at: float
    #: When the machine will be stopped if nobody uses it; null: never.
    expires_at: float | None
    #: How many commands it was given.
    command_count: int
    #: How many of them run now.
    running_command_count: int
    #: How many services it has.
    service_count: int
    #: How many of them run now.
    running_service_count: int


class WorkspaceListItem(_WorkspaceListItemRequired, total=False):
    """One workspace of a list."""

    #: Why there is no machine, when it is stopped.
    stop_reason: StopReason | None
    #: What is being done to it just now.
    transition: Transition | None


class WorkspaceLogs(TypedDict):
    """A page of the history."""

    #: Whose.
    workspace_id: str
    #: How many commands are on this page.
    count: int
    #: How many commands the workspace has on record; with `failed`, how many of those failed.
    total_count: int
    #: In order of their numbers.
    entries: list[LogEntry]
    #: There are older ones: ask for them with this as `before`.
    next_before: int | None
    #: There are newer ones: ask for them with this as `after`.
    next_after: int | None


class _WorkspaceResetRequired(TypedDict):
    #: 12 hexadecimal digits.
    workspace_id: str
    #: Its name, if it has one.
    name: str | None
    #: Sorted by key.
    labels: dict[str, str]
    #: The environment that it was made from.
    environment: str
    #: That environment's version, as far as it has one.
    environment_version: str | None
    #: Virtual processors.
    vcpu_count: int
    #: Memory in MiB.
    mem_mib: int
    #: Size of the writable disk in MiB.
    disk_mib: int
    #: What the disk takes on the host; absent when that cannot be said.
    disk_used_bytes: int | None
    #: Seconds without use after which the machine is stopped; 0: never.
    ttl_seconds: int
    #: When it was made.
    created_at: float
    #: When it was last used. Every operation that names the workspace is use, but for list, status, logs, job
    #: list, job logs and output.
    last_activity_at: float
    #: When the machine will be stopped if nobody uses it; null: never.
    expires_at: float | None
    #: Whether there is a machine.
    state: WorkspaceState
    #: What the machine may reach.
    network_policy: NetworkPolicy
    #: Whether it has a network.
    network_enabled: bool
    #: As it was asked; nothing ever runs on the host.
    allow_host_compat: bool
    #: Its address, if it has a network.
    guest_ip: str | None
    #: Always null: no network of ours has such a device.
    tap_name: str | None
    #: `guest_vsock` (`EXECUTION_MODE`); `pending` before the machine is there.
    execution_mode: str
    #: `kvm` or `emulated`, as measured; absent as long as there was no machine.
    isolation: str | None
    #: Always `/workspace`.
    workspace_path: str
    #: What it was filled with.
    workspace_seed: SeedView
    #: Secrets by name.
    secrets: list[SecretView]
    #: How many commands it was given.
    command_count: int
    #: How many of them run now.
    running_command_count: int
    #: The newest command that has ended.
    last_command: LastCommand | None
    #: How often it was reset.
    reset_count: int
    #: When it was last reset.
    last_reset_at: float | None
    #: How many snapshots it has, the baseline included.
    snapshot_count: int
    #: Seconds without use after which the machine is saved and sleeps; 0: never.
    idle_sleep_seconds: int
    #: Whether a checkpoint is taken before each command, patch and write.
    auto_checkpoint: bool
    #: How many services it has.
    service_count: int
    #: How many of them run now.
    running_service_count: int
    #: More, for people who look into things.
    metadata: dict[str, str]
    #: What it goes on from.
    workspace_reset: ResetView


class WorkspaceReset(_WorkspaceResetRequired, total=False):
    """A workspace that was reset."""

    #: Why the machine was booted though there was a memory to go on with.
    boot_reason: str | None
    #: What went wrong last, in words, when something did.
    last_error: str | None
    #: The workspace that it was forked from.
    parent: ParentView | None
    #: Why the machine pauses, in words, e.g. because the host's disk is full. It goes on by itself.
    stalled: str | None
    #: Why there is no machine, when it is stopped.
    stop_reason: StopReason | None
    #: What is being done to it just now.
    transition: Transition | None


class WorkspaceRevision(TypedDict):
    """How far a workspace has come. Revisions grow, and are never the same for two states of a workspace.
    What is told of a workspace after its daemon was started anew is a change of everything."""

    #: Where.
    workspace_id: str
    #: Grows with every change.
    revision: int
    #: The revision when a command last began or ended.
    commands_revision: int
    #: The revision when files may have changed last: with an operation on files, and with the end of a
    #: command. What a command does to files while it runs is told with its end.
    files_revision: int
    #: Whether it is another one than the `after` of the request.
    changed: bool


class WorkspaceSaved(TypedDict):
    """A workspace was saved; it is as it was."""

    #: Which.
    workspace_id: str
    #: Where it is on the host.
    output_path: str
    #: Length of the file.
    bytes_written: int
    #: How much of the disk is in it, before compression; zeros are not.
    data_bytes: int
    #: SHA-256 of all of the file but its last 32 bytes, which are this digest.
    sha256: str


class _WorkspaceSummaryRequired(TypedDict):
    #: Where.
    workspace_id: str
    #: Whether there is a machine.
    state: WorkspaceState
    #: Give it as `since` to hear only what comes from now on.
    cursor: int | str


class WorkspaceSummary(_WorkspaceSummaryRequired, total=False):
    """What happened. What there is none of is absent."""

    #: Commands.
    commands: SummaryCounts | None
    #: Commands that failed, the newest first.
    failures: list[SummaryCommand]
    #: Files that are otherwise than the seed was.
    files: SummaryFiles | None
    #: Its name.
    name: str | None
    #: What could not be said, or has no room.
    notes: list[str]
    #: Commands that run now, whenever they began.
    running: list[SummaryCommand]


class _WorkspaceUndoneRequired(TypedDict):
    #: 12 hexadecimal digits.
    workspace_id: str
    #: Its name, if it has one.
    name: str | None
    #: Sorted by key.
    labels: dict[str, str]
    #: The environment that it was made from.
    environment: str
    #: That environment's version, as far as it has one.
    environment_version: str | None
    #: Virtual processors.
    vcpu_count: int
    #: Memory in MiB.
    mem_mib: int
    #: Size of the writable disk in MiB.
    disk_mib: int
    #: What the disk takes on the host; absent when that cannot be said.
    disk_used_bytes: int | None
    #: Seconds without use after which the machine is stopped; 0: never.
    ttl_seconds: int
    #: When it was made.
    created_at: float
    #: When it was last used. Every operation that names the workspace is use, but for list, status, logs, job
    #: list, job logs and output.
    last_activity_at: float
    #: When the machine will be stopped if nobody uses it; null: never.
    expires_at: float | None
    #: Whether there is a machine.
    state: WorkspaceState
    #: What the machine may reach.
    network_policy: NetworkPolicy
    #: Whether it has a network.
    network_enabled: bool
    #: As it was asked; nothing ever runs on the host.
    allow_host_compat: bool
    #: Its address, if it has a network.
    guest_ip: str | None
    #: Always null: no network of ours has such a device.
    tap_name: str | None
    #: `guest_vsock` (`EXECUTION_MODE`); `pending` before the machine is there.
    execution_mode: str
    #: `kvm` or `emulated`, as measured; absent as long as there was no machine.
    isolation: str | None
    #: Always `/workspace`.
    workspace_path: str
    #: What it was filled with.
    workspace_seed: SeedView
    #: Secrets by name.
    secrets: list[SecretView]
    #: How many commands it was given.
    command_count: int
    #: How many of them run now.
    running_command_count: int
    #: The newest command that has ended.
    last_command: LastCommand | None
    #: How often it was reset.
    reset_count: int
    #: When it was last reset.
    last_reset_at: float | None
    #: How many snapshots it has, the baseline included.
    snapshot_count: int
    #: Seconds without use after which the machine is saved and sleeps; 0: never.
    idle_sleep_seconds: int
    #: Whether a checkpoint is taken before each command, patch and write.
    auto_checkpoint: bool
    #: How many services it has.
    service_count: int
    #: How many of them run now.
    running_service_count: int
    #: More, for people who look into things.
    metadata: dict[str, str]
    #: What it goes on from.
    workspace_reset: ResetView
    #: The calls that are undone, the last one first.
    undone: list[Step]
    #: The checkpoint of what it was before; null: that of a step.
    left_snapshot_id: str | None


class WorkspaceUndone(_WorkspaceUndoneRequired, total=False):
    """A workspace that went back."""

    #: Why the machine was booted though there was a memory to go on with.
    boot_reason: str | None
    #: What went wrong last, in words, when something did.
    last_error: str | None
    #: The workspace that it was forked from.
    parent: ParentView | None
    #: Why the machine pauses, in words, e.g. because the host's disk is full. It goes on by itself.
    stalled: str | None
    #: Why there is no machine, when it is stopped.
    stop_reason: StopReason | None
    #: What is being done to it just now.
    transition: Transition | None


class _CapturedOutputRequired(TypedDict):
    #: Standard output as text, with replacement characters where it is no UTF-8.
    stdout: str
    #: Standard error as text, with replacement characters where it is no UTF-8.
    stderr: str
    #: Whether `stdout` is only a part.
    stdout_truncated: bool
    #: Whether `stderr` is only a part.
    stderr_truncated: bool


class CapturedOutput(_CapturedOutputRequired, total=False):
    """What a command wrote, inside of a result."""

    #: The exact bytes, only when standard output is no UTF-8.
    stdout_base64: str
    #: The exact bytes, only when standard error is no UTF-8.
    stderr_base64: str


class RunResult(RunReport, CapturedOutput):
    """How a run ended, with what it wrote."""


class ExecResult(ExecReport, CapturedOutput):
    """How a command of a workspace ended, with what it wrote."""


class _ProgressRequired(TypedDict):
    #: The step, a short phrase.
    step: str


class Progress(_ProgressRequired, total=False):
    """How far the step at hand has come."""

    #: The thing at hand, e.g. a path or a package; may be empty.
    detail: str
    #: Bytes of files that were passed in this step.
    bytes: int
    #: Entries that were passed in this step.
    entries: int
    #: Share of the whole work, 0 to 1; absent as long as nobody knows.
    fraction: float
