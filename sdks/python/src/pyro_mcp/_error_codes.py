"""Error codes as exceptions.

Written by `cargo xtask generate` from the table of operations; do not edit.
"""

from __future__ import annotations

from ._errors import PyroError


class UsageError(PyroError, ValueError):
    """The command line is malformed: an unknown flag, a missing argument."""

    code = "usage"
    retryable = False


class MissingCommandError(PyroError, ValueError):
    """No command was given to run."""

    code = "missing_command"
    retryable = False


class InvalidRequestError(PyroError, ValueError):
    """A request is malformed: not JSON, an unknown field, a value of the wrong kind."""

    code = "invalid_request"
    retryable = False


class InvalidSizeError(PyroError, ValueError):
    """A number of processors, an amount of memory or a time is out of its range."""

    code = "invalid_size"
    retryable = False


class NotYetSupportedError(PyroError, ValueError):
    """The request asks for something that a later release will do."""

    code = "not_yet_supported"
    retryable = False


class UnknownEnvironmentError(PyroError, ValueError):
    """There is no environment of that name."""

    code = "unknown_environment"
    retryable = False


class EnvironmentDamagedError(PyroError):
    """The files of an environment are damaged."""

    code = "environment_damaged"
    retryable = False


class EnvironmentFailedError(PyroError):
    """An environment could not be made: packages could not be had, or what was given cannot become one."""

    code = "environment_failed"
    retryable = True


class EnvironmentMismatchError(PyroError):
    """The environment of that name is another one here than the one that an archive was made with, and its
    disk fits no other."""

    code = "environment_mismatch"
    retryable = False


class StoreFailedError(PyroError):
    """The store on disk could not be used."""

    code = "store_failed"
    retryable = False


class HostRequirementError(PyroError):
    """The host lacks something: a program, a permission, an ability of its kernel."""

    code = "host_requirement"
    retryable = False


class DiskFullError(PyroError):
    """The host's disk is full."""

    code = "disk_full"
    retryable = False


class HostExhaustedError(PyroError):
    """The host has not enough memory, processes or file descriptors at the moment."""

    code = "host_exhausted"
    retryable = True


class StartFailedError(PyroError):
    """The machine did not come to life."""

    code = "start_failed"
    retryable = True


class MachineLostError(PyroError):
    """The machine ended while it was in use: its process was killed, or its guest stopped. A workspace keeps
    its disk; of anything else nothing is left."""

    code = "machine_lost"
    retryable = True


class MachineExpiredError(PyroError):
    """The machine reached the end of the life that it was given (`ttl_seconds`)."""

    code = "machine_expired"
    retryable = False


class GuestMisbehavedError(PyroError):
    """The guest broke the rules of the protocol between host and guest."""

    code = "guest_misbehaved"
    retryable = True


class GuestRefusedError(PyroError):
    """The guest could not do what it was asked: it lacks memory, process slots or disk space, or an ability."""

    code = "guest_refused"
    retryable = False


class CancelledError(PyroError):
    """The caller went away or asked to stop."""

    code = "cancelled"
    retryable = False


class DaemonUnavailableError(PyroError):
    """The daemon could not be started or reached."""

    code = "daemon_unavailable"
    retryable = True


class DaemonLostError(PyroError):
    """The daemon ended before it answered; the work may have been done in part, and nothing half-done is
    kept."""

    code = "daemon_lost"
    retryable = True


class DaemonBusyError(PyroError):
    """The daemon is in use and was not told to stop regardless."""

    code = "daemon_busy"
    retryable = True


class IncompatibleVersionError(PyroError):
    """Client and daemon do not speak a common version of the contract."""

    code = "incompatible_version"
    retryable = False


class UnknownOperationError(PyroError, ValueError):
    """There is no operation at that route."""

    code = "unknown_operation"
    retryable = False


class ForbiddenError(PyroError):
    """The caller may not use this daemon, or not that path of the host."""

    code = "forbidden"
    retryable = False


class FileFailedError(PyroError):
    """A file of the caller's could not be read or written."""

    code = "file_failed"
    retryable = False


class UnknownWorkspaceError(PyroError, ValueError):
    """There is no workspace of that id or name."""

    code = "unknown_workspace"
    retryable = False


class AmbiguousNameError(PyroError, ValueError):
    """Several workspaces have that name. The hint lists them."""

    code = "ambiguous_name"
    retryable = False


class WorkspaceStateError(PyroError):
    """The workspace is in a state in which this cannot be done, e.g. stopped. The text says in which."""

    code = "workspace_state"
    retryable = False


class WorkspaceExpiredError(PyroError):
    """Nobody used the workspace for its lifetime, so its machine was stopped; `workspace start` starts it
    again."""

    code = "workspace_expired"
    retryable = False


class WorkspaceBusyError(PyroError):
    """Commands run in the workspace, and it was not told to go regardless; or its disk is being read, and
    nothing may start on it."""

    code = "workspace_busy"
    retryable = False


class WorkspaceStalledError(PyroError):
    """The machine pauses because the host's disk is full; it goes on by itself when there is room."""

    code = "workspace_stalled"
    retryable = True


class LimitReachedError(PyroError):
    """A limit is reached: the number of workspaces, or the memory or disk of all together. The text says what
    is in use."""

    code = "limit_reached"
    retryable = False


class SeedFailedError(PyroError, ValueError):
    """The workspace's seed could not be read or unpacked. Nothing of the workspace is left."""

    code = "seed_failed"
    retryable = False


class BadArchiveError(PyroError, ValueError):
    """An archive is damaged, has members that no archive may have, or is of a newer release."""

    code = "bad_archive"
    retryable = False


class IdempotencyConflictError(PyroError):
    """The idempotency key was used before for another request."""

    code = "idempotency_conflict"
    retryable = False


class WorkUnknownError(PyroError):
    """Nobody knows whether the command ran: its machine was lost before it could say."""

    code = "work_unknown"
    retryable = False


class NeverStartedError(PyroError):
    """The command never ran; the text says why not. It may be run again, with another idempotency key if it
    had one."""

    code = "never_started"
    retryable = False


class UnknownJobError(PyroError, ValueError):
    """The workspace has no job of that id."""

    code = "unknown_job"
    retryable = False


class UnknownSequenceError(PyroError, ValueError):
    """The workspace has no command of that number."""

    code = "unknown_sequence"
    retryable = False


class PathNotFoundError(PyroError):
    """There is nothing at that path of the workspace."""

    code = "path_not_found"
    retryable = False


class PathEscapesError(PyroError, ValueError):
    """The path leads out of `/workspace`, by itself or through a link."""

    code = "path_escapes"
    retryable = False


class AlreadyExistsError(PyroError):
    """Something is there already."""

    code = "already_exists"
    retryable = False


class WrongFileTypeError(PyroError):
    """What is at the path is of another type than the operation wants, e.g. a directory instead of a file."""

    code = "wrong_file_type"
    retryable = False


class DirectoryNotEmptyError(PyroError):
    """The directory is not empty, and nothing was said about what is in it."""

    code = "directory_not_empty"
    retryable = False


class FileTooLargeError(PyroError, ValueError):
    """A file, a patch or an answer is longer than allowed."""

    code = "file_too_large"
    retryable = False


class CountMismatchError(PyroError):
    """The text is there another number of times than expected. Nothing was replaced."""

    code = "count_mismatch"
    retryable = False


class BadPatternError(PyroError, ValueError):
    """A pattern is malformed."""

    code = "bad_pattern"
    retryable = False


class PatchMalformedError(PyroError, ValueError):
    """The patch cannot be understood, or has parts of a kind that is not taken. Nothing was applied."""

    code = "patch_malformed"
    retryable = False


class PatchRejectedError(PyroError):
    """The patch does not fit the files. Nothing was applied."""

    code = "patch_rejected"
    retryable = False


class GuestDiskFullError(PyroError):
    """The disk of the workspace is full."""

    code = "guest_disk_full"
    retryable = False


class ConflictError(PyroError):
    """Files changed while they were worked on. Nothing was done."""

    code = "conflict"
    retryable = True


class UntrustedJournalError(PyroError):
    """A directory of the host has a journal of an unfinished change that was not written there by this user's
    pyro, or cannot be read. Nothing was touched; the hint says what to do."""

    code = "untrusted_journal"
    retryable = False


class DiskDamagedError(PyroError):
    """The disk of a workspace is damaged, or has something that this release cannot read. The disk is as it
    was."""

    code = "disk_damaged"
    retryable = False


class UnknownSnapshotError(PyroError):
    """The workspace has no snapshot of that name."""

    code = "unknown_snapshot"
    retryable = False


class NothingToUndoError(PyroError):
    """There are not so many steps in the timeline of the workspace that can be undone."""

    code = "nothing_to_undo"
    retryable = False


class SnapshotExistsError(PyroError):
    """The workspace has a snapshot of that name already."""

    code = "snapshot_exists"
    retryable = False


class SnapshotDamagedError(PyroError):
    """A file of a snapshot is missing or is not as it was saved. The text names it; the workspace is as it
    was."""

    code = "snapshot_damaged"
    retryable = False


class SnapshotFailedError(PyroError):
    """The machine could not be saved: this host does not allow its memory to be read, or it was started by an
    earlier release."""

    code = "snapshot_failed"
    retryable = False


class OutputExistsError(PyroError):
    """There is something at the output path, and it was not said to replace it."""

    code = "output_exists"
    retryable = False


class UnknownVmError(PyroError, ValueError):
    """There is no machine of that id."""

    code = "unknown_vm"
    retryable = False


class InternalError(PyroError):
    """A fault of this program."""

    code = "internal"
    retryable = False


#: The exception of each code.
BY_CODE: dict[str, type[PyroError]] = {
    "usage": UsageError,
    "missing_command": MissingCommandError,
    "invalid_request": InvalidRequestError,
    "invalid_size": InvalidSizeError,
    "not_yet_supported": NotYetSupportedError,
    "unknown_environment": UnknownEnvironmentError,
    "environment_damaged": EnvironmentDamagedError,
    "environment_failed": EnvironmentFailedError,
    "environment_mismatch": EnvironmentMismatchError,
    "store_failed": StoreFailedError,
    "host_requirement": HostRequirementError,
    "disk_full": DiskFullError,
    "host_exhausted": HostExhaustedError,
    "start_failed": StartFailedError,
    "machine_lost": MachineLostError,
    "machine_expired": MachineExpiredError,
    "guest_misbehaved": GuestMisbehavedError,
    "guest_refused": GuestRefusedError,
    "cancelled": CancelledError,
    "daemon_unavailable": DaemonUnavailableError,
    "daemon_lost": DaemonLostError,
    "daemon_busy": DaemonBusyError,
    "incompatible_version": IncompatibleVersionError,
    "unknown_operation": UnknownOperationError,
    "forbidden": ForbiddenError,
    "file_failed": FileFailedError,
    "unknown_workspace": UnknownWorkspaceError,
    "ambiguous_name": AmbiguousNameError,
    "workspace_state": WorkspaceStateError,
    "workspace_expired": WorkspaceExpiredError,
    "workspace_busy": WorkspaceBusyError,
    "workspace_stalled": WorkspaceStalledError,
    "limit_reached": LimitReachedError,
    "seed_failed": SeedFailedError,
    "bad_archive": BadArchiveError,
    "idempotency_conflict": IdempotencyConflictError,
    "work_unknown": WorkUnknownError,
    "never_started": NeverStartedError,
    "unknown_job": UnknownJobError,
    "unknown_sequence": UnknownSequenceError,
    "path_not_found": PathNotFoundError,
    "path_escapes": PathEscapesError,
    "already_exists": AlreadyExistsError,
    "wrong_file_type": WrongFileTypeError,
    "directory_not_empty": DirectoryNotEmptyError,
    "file_too_large": FileTooLargeError,
    "count_mismatch": CountMismatchError,
    "bad_pattern": BadPatternError,
    "patch_malformed": PatchMalformedError,
    "patch_rejected": PatchRejectedError,
    "guest_disk_full": GuestDiskFullError,
    "conflict": ConflictError,
    "untrusted_journal": UntrustedJournalError,
    "disk_damaged": DiskDamagedError,
    "unknown_snapshot": UnknownSnapshotError,
    "nothing_to_undo": NothingToUndoError,
    "snapshot_exists": SnapshotExistsError,
    "snapshot_damaged": SnapshotDamagedError,
    "snapshot_failed": SnapshotFailedError,
    "output_exists": OutputExistsError,
    "unknown_vm": UnknownVmError,
    "internal": InternalError,
}

__all__ = [
    "AlreadyExistsError",
    "AmbiguousNameError",
    "BadArchiveError",
    "BadPatternError",
    "CancelledError",
    "ConflictError",
    "CountMismatchError",
    "DaemonBusyError",
    "DaemonLostError",
    "DaemonUnavailableError",
    "DirectoryNotEmptyError",
    "DiskDamagedError",
    "DiskFullError",
    "EnvironmentDamagedError",
    "EnvironmentFailedError",
    "EnvironmentMismatchError",
    "FileFailedError",
    "FileTooLargeError",
    "ForbiddenError",
    "GuestDiskFullError",
    "GuestMisbehavedError",
    "GuestRefusedError",
    "HostExhaustedError",
    "HostRequirementError",
    "IdempotencyConflictError",
    "IncompatibleVersionError",
    "InternalError",
    "InvalidRequestError",
    "InvalidSizeError",
    "LimitReachedError",
    "MachineExpiredError",
    "MachineLostError",
    "MissingCommandError",
    "NeverStartedError",
    "NotYetSupportedError",
    "NothingToUndoError",
    "OutputExistsError",
    "PatchMalformedError",
    "PatchRejectedError",
    "PathEscapesError",
    "PathNotFoundError",
    "SeedFailedError",
    "SnapshotDamagedError",
    "SnapshotExistsError",
    "SnapshotFailedError",
    "StartFailedError",
    "StoreFailedError",
    "UnknownEnvironmentError",
    "UnknownJobError",
    "UnknownOperationError",
    "UnknownSequenceError",
    "UnknownSnapshotError",
    "UnknownVmError",
    "UnknownWorkspaceError",
    "UntrustedJournalError",
    "UsageError",
    "WorkUnknownError",
    "WorkspaceBusyError",
    "WorkspaceExpiredError",
    "WorkspaceStalledError",
    "WorkspaceStateError",
    "WrongFileTypeError",
]
