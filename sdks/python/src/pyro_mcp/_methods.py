"""Every operation as a method that blocks.

Written by `cargo xtask generate` from the table of operations; do not edit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import _operations
from ._output import MOST_COLLECTED_BYTES
from ._sync_base import SyncBase

if TYPE_CHECKING:
    from typing import Any, BinaryIO, Callable, Mapping, Sequence

    from ._input import Source
    from ._output import Output
    from ._streams import CommandStream
    from ._text import Bytes, Command, HostPath
    from ._workspaces import TemporaryWorkspace
    from .types import *


class Methods(SyncBase):
    """Every operation."""

    def list_environments(self) -> list[Environment]:
        """Lists the environments and says which are installed."""
        return (self._call(_operations.ENV_LIST, {}))["environments"]

    def inspect_environment(
        self,
        environment: str,
        *,
        verify: bool = False,
    ) -> Environment:
        """Shows one environment; with verify, reads every file of it and compares digests.

        - `environment`: Its name.
        - `verify`: Read every file and compare it with its recorded digest.

        Raises, beside what any operation may raise: UnknownEnvironmentError, EnvironmentDamagedError.
        """
        return self._call(_operations.ENV_INSPECT, {"environment": environment, "verify": verify})

    def pull_environment(
        self,
        environment: str,
        *,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> PulledEnvironment:
        """Makes an environment ready to use, telling how far it has come.

        - `environment`: Its name.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownEnvironmentError, EnvironmentFailedError,
        HostRequirementError, DiskFullError, NotYetSupportedError.
        """
        return self._work(_operations.ENV_PULL, {"environment": environment}, on_progress)

    def import_environment(
        self,
        name: str,
        source_path: HostPath,
        *,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> PulledEnvironment:
        """Makes an environment from a directory or a tar archive that holds a root file system with a kernel.

        - `name`: Name to give it.
        - `source_path`: Absolute path of a directory or a tar archive on the host, readable by the daemon's
          user. It must hold a kernel.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: EnvironmentFailedError, HostRequirementError,
        DiskFullError, FileFailedError, NotYetSupportedError.
        """
        return self._work(_operations.ENV_IMPORT, {"name": name, "source_path": source_path}, on_progress)

    def prune_environments(self) -> PruneResult:
        """Removes left-overs of earlier versions and of unfinished work, and templates that no environment
        leads to; never a current environment."""
        return self._call(_operations.ENV_PRUNE, {})

    def run_in_vm(
        self,
        environment: str,
        command: Command,
        *,
        allow_host_compat: bool = False,
        cwd: Bytes | None = None,
        env: Mapping[str, Bytes] | None = None,
        mem_mib: int = 1024,
        network: bool = False,
        timeout_seconds: int = 30,
        ttl_seconds: int = 600,
        user: str | None = None,
        vcpu_count: int = 1,
        stdin: Source | None = None,
        on_output: Callable[[Output], object] | None = None,
        on_event: Callable[[dict[str, Any]], object] | None = None,
        max_output_bytes: int = MOST_COLLECTED_BYTES,
    ) -> RunResult:
        """Runs a command in a fresh machine and streams its output. The machine is gone afterwards.

        - `environment`: Name of an environment, e.g. `debian:12`.
        - `command`: What to run.
        - `allow_host_compat`: Accepted for compatibility. Nothing ever runs on the host.
        - `cwd`: Working directory in the guest, absolute; `/workspace` when absent.
        - `env`: Environment variables for the command, added to the guest's own.
        - `mem_mib`: Memory in MiB.
        - `network`: Give the machine a network. A later release will; now it is refused.
        - `timeout_seconds`: The command is killed after this many seconds, with everything it started.
        - `ttl_seconds`: The machine ends by itself after this many seconds, whatever happens to the host's
          side, or 0 for no such bound. Never earlier than the timeout.
        - `user`: Account in the guest by name or number; root when absent.
        - `vcpu_count`: Virtual processors.
        - `stdin`: Standard input; empty when absent.
        - `on_output`: Is given what the command writes, as it comes.
        - `on_event`: Is told what happens beside the output: phases, progress, that the command has begun.
        - `max_output_bytes`: At most so much of each output in the result; all of it is counted.

        Raises, beside what any operation may raise: InvalidSizeError, LimitReachedError, MissingCommandError,
        NotYetSupportedError, UnknownEnvironmentError, EnvironmentDamagedError, EnvironmentFailedError,
        HostRequirementError, DiskFullError, StartFailedError, MachineLostError, MachineExpiredError,
        GuestMisbehavedError, GuestRefusedError.
        """
        result: RunResult = self._collect(_operations.RUN, {
            "environment": environment,
            "command": command,
            "allow_host_compat": allow_host_compat,
            "cwd": cwd,
            "env": env,
            "mem_mib": mem_mib,
            "network": network,
            "timeout_seconds": timeout_seconds,
            "ttl_seconds": ttl_seconds,
            "user": user,
            "vcpu_count": vcpu_count,
        }, stdin, on_output, on_event, max_output_bytes)
        return result

    def stream_run_in_vm(
        self,
        environment: str,
        command: Command,
        *,
        allow_host_compat: bool = False,
        cwd: Bytes | None = None,
        env: Mapping[str, Bytes] | None = None,
        mem_mib: int = 1024,
        network: bool = False,
        timeout_seconds: int = 30,
        ttl_seconds: int = 600,
        user: str | None = None,
        vcpu_count: int = 1,
        stdin: bool = False,
        on_event: Callable[[dict[str, Any]], object] | None = None,
    ) -> CommandStream[RunReport]:
        """Runs a command in a fresh machine and streams its output. The machine is gone afterwards.

        The same as a stream: what the command writes is there as it comes.

        - `environment`: Name of an environment, e.g. `debian:12`.
        - `command`: What to run.
        - `allow_host_compat`: Accepted for compatibility. Nothing ever runs on the host.
        - `cwd`: Working directory in the guest, absolute; `/workspace` when absent.
        - `env`: Environment variables for the command, added to the guest's own.
        - `mem_mib`: Memory in MiB.
        - `network`: Give the machine a network. A later release will; now it is refused.
        - `timeout_seconds`: The command is killed after this many seconds, with everything it started.
        - `ttl_seconds`: The machine ends by itself after this many seconds, whatever happens to the host's
          side, or 0 for no such bound. Never earlier than the timeout.
        - `user`: Account in the guest by name or number; root when absent.
        - `vcpu_count`: Virtual processors.
        - `stdin`: True if `write_stdin` of the stream will be used.
        - `on_event`: Is told what happens beside the output: phases, progress, that the command has begun.

        Raises, beside what any operation may raise: InvalidSizeError, LimitReachedError, MissingCommandError,
        NotYetSupportedError, UnknownEnvironmentError, EnvironmentDamagedError, EnvironmentFailedError,
        HostRequirementError, DiskFullError, StartFailedError, MachineLostError, MachineExpiredError,
        GuestMisbehavedError, GuestRefusedError.
        """
        return self._stream(_operations.RUN, {
            "environment": environment,
            "command": command,
            "allow_host_compat": allow_host_compat,
            "cwd": cwd,
            "env": env,
            "mem_mib": mem_mib,
            "network": network,
            "timeout_seconds": timeout_seconds,
            "ttl_seconds": ttl_seconds,
            "user": user,
            "vcpu_count": vcpu_count,
        }, stdin, on_event)

    def create_vm(
        self,
        environment: str,
        *,
        allow_host_compat: bool = False,
        attach: bool | None = None,
        ends_with_callers: bool | None = None,
        idempotency_key: str | None = None,
        mem_mib: int = 1024,
        network: bool = False,
        purpose: VmPurpose | None = None,
        ttl_seconds: int = 600,
        vcpu_count: int = 1,
    ) -> Vm:
        """Makes an unnamed machine, which runs at once; or gives that of an earlier request which was the
        same.

        - `environment`: Name of an environment, e.g. `debian:12`.
        - `allow_host_compat`: Accepted for compatibility. Nothing ever runs on the host.
        - `attach`: Without an idempotency key: give the machine that a request of the same content made, as
          long as its command has not ended.
        - `ends_with_callers`: Only callers keep the machine: `ttl_seconds` counts from when the last one went
          away, also if its command runs on.
        - `idempotency_key`: A text of the caller's choice for this one call. Another request with the same
          key and otherwise the same content makes nothing: it gives the machine that was made, or `kept` if
          that is gone.
        - `mem_mib`: Memory in MiB.
        - `network`: Give the machine a network. A later release will; now it is refused.
        - `purpose`: The command that the machine is for. It is not run by that; it tells what an idempotency
          key or `attach` means.
        - `ttl_seconds`: The machine is deleted after this many seconds without use; 0 for never.
        - `vcpu_count`: Virtual processors.

        Raises, beside what any operation may raise: InvalidSizeError, MissingCommandError,
        NotYetSupportedError, IdempotencyConflictError, LimitReachedError, UnknownEnvironmentError,
        EnvironmentDamagedError, EnvironmentFailedError, HostRequirementError, DiskFullError.
        """
        return self._call(_operations.VM_CREATE, {
            "environment": environment,
            "allow_host_compat": allow_host_compat,
            "attach": attach,
            "ends_with_callers": ends_with_callers,
            "idempotency_key": idempotency_key,
            "mem_mib": mem_mib,
            "network": network,
            "purpose": purpose,
            "ttl_seconds": ttl_seconds,
            "vcpu_count": vcpu_count,
        })

    def start_vm(
        self,
        vm_id: str,
    ) -> Vm:
        """Starts a machine that was stopped.

        - `vm_id`: Which.

        Raises, beside what any operation may raise: UnknownVmError, WorkspaceStateError, LimitReachedError,
        HostRequirementError, DiskFullError, StartFailedError, MachineLostError, GuestMisbehavedError,
        GuestRefusedError.
        """
        return self._call(_operations.VM_START, {"vm_id": vm_id})

    def exec_vm(
        self,
        vm_id: str,
        command: Command,
        *,
        timeout_seconds: int = 30,
        on_output: Callable[[Output], object] | None = None,
        on_event: Callable[[dict[str, Any]], object] | None = None,
        max_output_bytes: int = MOST_COLLECTED_BYTES,
    ) -> RunResult:
        """Runs a command in a machine, streams its output, and deletes the machine.

        - `vm_id`: Which.
        - `command`: What: a string is a shell line, an array an argument vector.
        - `timeout_seconds`: The command is killed after this many seconds, with everything it started.
        - `on_output`: Is given what the command writes, as it comes.
        - `on_event`: Is told what happens beside the output: phases, progress, that the command has begun.
        - `max_output_bytes`: At most so much of each output in the result; all of it is counted.

        Raises, beside what any operation may raise: UnknownVmError, WorkspaceStateError, InvalidSizeError,
        MissingCommandError, NeverStartedError, WorkUnknownError, MachineLostError, MachineExpiredError,
        GuestMisbehavedError, GuestRefusedError.
        """
        result: RunResult = self._collect(_operations.VM_EXEC, {"vm_id": vm_id, "command": command, "timeout_seconds": timeout_seconds}, None, on_output, on_event, max_output_bytes)
        return result

    def stream_exec_vm(
        self,
        vm_id: str,
        command: Command,
        *,
        timeout_seconds: int = 30,
        on_event: Callable[[dict[str, Any]], object] | None = None,
    ) -> CommandStream[RunReport]:
        """Runs a command in a machine, streams its output, and deletes the machine.

        The same as a stream: what the command writes is there as it comes.

        - `vm_id`: Which.
        - `command`: What: a string is a shell line, an array an argument vector.
        - `timeout_seconds`: The command is killed after this many seconds, with everything it started.
        - `on_event`: Is told what happens beside the output: phases, progress, that the command has begun.

        Raises, beside what any operation may raise: UnknownVmError, WorkspaceStateError, InvalidSizeError,
        MissingCommandError, NeverStartedError, WorkUnknownError, MachineLostError, MachineExpiredError,
        GuestMisbehavedError, GuestRefusedError.
        """
        return self._stream(_operations.VM_EXEC, {"vm_id": vm_id, "command": command, "timeout_seconds": timeout_seconds}, None, on_event)

    def stop_vm(
        self,
        vm_id: str,
    ) -> Vm:
        """Stops a machine. Its disk stays.

        - `vm_id`: Which.

        Raises, beside what any operation may raise: UnknownVmError.
        """
        return self._call(_operations.VM_STOP, {"vm_id": vm_id})

    def delete_vm(
        self,
        vm_id: str,
        *,
        unless_used: bool | None = None,
    ) -> VmDeleted:
        """Deletes a machine.

        - `vm_id`: Which.
        - `unless_used`: Leave it to somebody else who waits for a command in it now.

        Raises, beside what any operation may raise: UnknownVmError.
        """
        return self._call(_operations.VM_DELETE, {"vm_id": vm_id, "unless_used": unless_used})

    def status_vm(
        self,
        vm_id: str,
    ) -> Vm:
        """Says everything about a machine.

        - `vm_id`: Which.

        Raises, beside what any operation may raise: UnknownVmError.
        """
        return self._call(_operations.VM_STATUS, {"vm_id": vm_id})

    def network_info_vm(
        self,
        vm_id: str,
    ) -> VmNetworkInfo:
        """Says how a machine is connected.

        - `vm_id`: Which.

        Raises, beside what any operation may raise: UnknownVmError.
        """
        return self._call(_operations.VM_NETWORK_INFO, {"vm_id": vm_id})

    def reap_expired(self) -> VmsReaped:
        """Deletes the machines that are past their time."""
        return self._call(_operations.VM_REAP_EXPIRED, {})

    def create_workspace(
        self,
        environment: str,
        *,
        allow_host_compat: bool = False,
        auto_checkpoint: bool = False,
        disk_mib: int | None = None,
        exclude: Sequence[str] | None = None,
        idle_sleep_seconds: int = 0,
        labels: Mapping[str, str] | None = None,
        mem_mib: int = 1024,
        name: str | None = None,
        network_policy: NetworkPolicy = "off",
        secrets: Sequence[SecretSource] | None = None,
        seed_git: bool = False,
        seed_path: HostPath | None = None,
        ttl_seconds: int = 600,
        vcpu_count: int = 1,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Workspace:
        """Makes a workspace: a machine that lasts, filled from a directory or an archive on the host. Whole
        or not at all.

        - `environment`: Name of an environment, e.g. `debian:12`.
        - `allow_host_compat`: Accepted for compatibility. Nothing ever runs on the host.
        - `auto_checkpoint`: Whether a checkpoint is taken before each command, patch and write, so that they
          can be undone.
        - `disk_mib`: Writable disk in MiB; the daemon's default when absent. Only what is written takes
          space.
        - `exclude`: Patterns in the syntax of `.gitignore` of what is left out, beside those in the
          directory's `.pyroignore`.
        - `idle_sleep_seconds`: Seconds without use after which the machine is saved and its memory freed,
          until it is used; 0 for never.
        - `labels`: Labels to find it by.
        - `mem_mib`: Memory in MiB.
        - `name`: Name to find it by.
        - `network_policy`: What the machine may reach; only `off` in this release.
        - `secrets`: Secrets. A later release will take them; now they are refused.
        - `seed_git`: Of a directory in a Git work tree, takes only what Git tracks, as it is now, uncommitted
          edits included.
        - `seed_path`: Absolute path on the host of a directory or a `.tar`, `.tar.gz`, `.tgz` or `.tar.zst`;
          empty when absent.
        - `ttl_seconds`: The machine is stopped after this many seconds without any use; 0 for never. Nothing
          is deleted: `workspace_start` starts it again.
        - `vcpu_count`: Virtual processors.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: InvalidSizeError, NotYetSupportedError,
        LimitReachedError, UnknownEnvironmentError, EnvironmentDamagedError, EnvironmentFailedError,
        HostRequirementError, DiskFullError, GuestDiskFullError, StartFailedError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, SeedFailedError, BadArchiveError, FileFailedError.
        """
        return self._work(_operations.WORKSPACE_CREATE, {
            "environment": environment,
            "allow_host_compat": allow_host_compat,
            "auto_checkpoint": auto_checkpoint,
            "disk_mib": disk_mib,
            "exclude": exclude,
            "idle_sleep_seconds": idle_sleep_seconds,
            "labels": labels,
            "mem_mib": mem_mib,
            "name": name,
            "network_policy": network_policy,
            "secrets": secrets,
            "seed_git": seed_git,
            "seed_path": seed_path,
            "ttl_seconds": ttl_seconds,
            "vcpu_count": vcpu_count,
        }, on_progress)

    def temporary_workspace(
        self,
        environment: str,
        *,
        allow_host_compat: bool = False,
        auto_checkpoint: bool = False,
        disk_mib: int | None = None,
        exclude: Sequence[str] | None = None,
        idle_sleep_seconds: int = 0,
        labels: Mapping[str, str] | None = None,
        mem_mib: int = 1024,
        name: str | None = None,
        network_policy: NetworkPolicy = "off",
        secrets: Sequence[SecretSource] | None = None,
        seed_git: bool = False,
        seed_path: HostPath | None = None,
        ttl_seconds: int = 600,
        vcpu_count: int = 1,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> TemporaryWorkspace:
        """Makes a workspace: a machine that lasts, filled from a directory or an archive on the host. Whole
        or not at all.

        The same for a `with` block, with a handle of it: when the block is left, it is deleted.

        - `environment`: Name of an environment, e.g. `debian:12`.
        - `allow_host_compat`: Accepted for compatibility. Nothing ever runs on the host.
        - `auto_checkpoint`: Whether a checkpoint is taken before each command, patch and write, so that they
          can be undone.
        - `disk_mib`: Writable disk in MiB; the daemon's default when absent. Only what is written takes
          space.
        - `exclude`: Patterns in the syntax of `.gitignore` of what is left out, beside those in the
          directory's `.pyroignore`.
        - `idle_sleep_seconds`: Seconds without use after which the machine is saved and its memory freed,
          until it is used; 0 for never.
        - `labels`: Labels to find it by.
        - `mem_mib`: Memory in MiB.
        - `name`: Name to find it by.
        - `network_policy`: What the machine may reach; only `off` in this release.
        - `secrets`: Secrets. A later release will take them; now they are refused.
        - `seed_git`: Of a directory in a Git work tree, takes only what Git tracks, as it is now, uncommitted
          edits included.
        - `seed_path`: Absolute path on the host of a directory or a `.tar`, `.tar.gz`, `.tgz` or `.tar.zst`;
          empty when absent.
        - `ttl_seconds`: The machine is stopped after this many seconds without any use; 0 for never. Nothing
          is deleted: `workspace_start` starts it again.
        - `vcpu_count`: Virtual processors.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: InvalidSizeError, NotYetSupportedError,
        LimitReachedError, UnknownEnvironmentError, EnvironmentDamagedError, EnvironmentFailedError,
        HostRequirementError, DiskFullError, GuestDiskFullError, StartFailedError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, SeedFailedError, BadArchiveError, FileFailedError.
        """
        from ._workspaces import TemporaryWorkspace

        return TemporaryWorkspace(self, lambda: self.create_workspace(
            environment,
            allow_host_compat=allow_host_compat,
            auto_checkpoint=auto_checkpoint,
            disk_mib=disk_mib,
            exclude=exclude,
            idle_sleep_seconds=idle_sleep_seconds,
            labels=labels,
            mem_mib=mem_mib,
            name=name,
            network_policy=network_policy,
            secrets=secrets,
            seed_git=seed_git,
            seed_path=seed_path,
            ttl_seconds=ttl_seconds,
            vcpu_count=vcpu_count,
            on_progress=on_progress,
        ))

    def list_workspaces(
        self,
        *,
        cursor: str | None = None,
        labels: Mapping[str, str] | None = None,
        limit: int | None = None,
        name: str | None = None,
        state: WorkspaceState | None = None,
    ) -> WorkspaceList:
        """Lists workspaces, the one that was used last first.

        - `cursor`: Go on where the page with this `next_cursor` ended. A workspace that is used meanwhile
          moves to the front of the list, and may be seen twice or not at all.
        - `labels`: Only those with all of these labels.
        - `limit`: At most so many; as many as may be when absent.
        - `name`: Only those of this name.
        - `state`: Only those in this state.

        Raises, beside what any operation may raise: InvalidSizeError.
        """
        return self._call(_operations.WORKSPACE_LIST, {
            "cursor": cursor,
            "labels": labels,
            "limit": limit,
            "name": name,
            "state": state,
        })

    def update_workspace(
        self,
        workspace_id: str,
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

        - `workspace_id`: Which.
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
        return self._call(_operations.WORKSPACE_UPDATE, {
            "workspace": workspace_id,
            "auto_checkpoint": auto_checkpoint,
            "clear_labels": clear_labels,
            "clear_name": clear_name,
            "idle_sleep_seconds": idle_sleep_seconds,
            "labels": labels,
            "name": name,
            "ttl_seconds": ttl_seconds,
        })

    def status_workspace(
        self,
        workspace_id: str,
    ) -> Workspace:
        """Says everything about a workspace. That does not extend its life.

        - `workspace_id`: Which.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError.
        """
        return self._call(_operations.WORKSPACE_STATUS, {"workspace": workspace_id})

    def summarize_workspace(
        self,
        workspace_id: str,
        *,
        max_chars: int = 4000,
        since: int | str | None = None,
    ) -> WorkspaceSummary:
        """Says in few words what happened in a workspace since it was made, or since an earlier summary.

        - `workspace_id`: Where.
        - `max_chars`: At most so many characters of JSON; counts stay, lists get shorter.
        - `since`: Only what came after this: the `cursor` of an earlier summary, or a command. Everything
          when absent.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError, UnknownSequenceError.
        """
        return self._call(_operations.WORKSPACE_SUMMARY, {"workspace": workspace_id, "max_chars": max_chars, "since": since})

    def wait_workspace(
        self,
        workspace_id: str,
        *,
        after: int | None = None,
        timeout_seconds: int | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> WorkspaceRevision:
        """Waits until something changes in a workspace: its state, its commands, its files. That does not
        extend its life.

        - `workspace_id`: Where.
        - `after`: The `revision` that is known; waits for another one. Without, the revision of now is given
          at once.
        - `timeout_seconds`: Wait at most this long; then the result says that nothing changed. As long as it
          takes when absent.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError.
        """
        return self._work(_operations.WORKSPACE_WAIT, {
            "workspace": workspace_id,
            "after": after,
            "timeout_seconds": timeout_seconds,
        }, on_progress)

    def stop_workspace(
        self,
        workspace_id: str,
    ) -> Workspace:
        """Shuts the machine of a workspace down cleanly. The disk stays.

        - `workspace_id`: Which.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError.
        """
        return self._call(_operations.WORKSPACE_STOP, {"workspace": workspace_id})

    def start_workspace(
        self,
        workspace_id: str,
    ) -> Workspace:
        """Starts a machine from the disk of a workspace.

        - `workspace_id`: Which.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceBusyError, LimitReachedError, EnvironmentDamagedError,
        HostRequirementError, DiskFullError, StartFailedError, MachineLostError, GuestMisbehavedError,
        GuestRefusedError.
        """
        return self._call(_operations.WORKSPACE_START, {"workspace": workspace_id})

    def delete_workspace(
        self,
        workspace_id: str,
        *,
        force: bool = False,
    ) -> WorkspaceDeleted:
        """Deletes a workspace and everything in it.

        - `workspace_id`: Which.
        - `force`: Also while commands run in it. Without, that is refused with `workspace_busy`.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceBusyError.
        """
        return self._call(_operations.WORKSPACE_DELETE, {"workspace": workspace_id, "force": force})

    def exec_workspace(
        self,
        workspace_id: str,
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
        stdin: Source | None = None,
        on_output: Callable[[Output], object] | None = None,
        on_event: Callable[[dict[str, Any]], object] | None = None,
        max_output_bytes: int = MOST_COLLECTED_BYTES,
    ) -> ExecResult:
        """Runs a command in a workspace, at most once, and streams its output.

        - `workspace_id`: Where.
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
        result: ExecResult = self._collect(_operations.WORKSPACE_EXEC, {
            "workspace": workspace_id,
            "command": command,
            "attach": attach,
            "cwd": cwd,
            "detach": detach,
            "env": env,
            "idempotency_key": idempotency_key,
            "secret_env": secret_env,
            "timeout_seconds": timeout_seconds,
            "user": user,
        }, stdin, on_output, on_event, max_output_bytes)
        return result

    def stream_exec_workspace(
        self,
        workspace_id: str,
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
    ) -> CommandStream[ExecReport]:
        """Runs a command in a workspace, at most once, and streams its output.

        The same as a stream: what the command writes is there as it comes.

        - `workspace_id`: Where.
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
        return self._stream(_operations.WORKSPACE_EXEC, {
            "workspace": workspace_id,
            "command": command,
            "attach": attach,
            "cwd": cwd,
            "detach": detach,
            "env": env,
            "idempotency_key": idempotency_key,
            "secret_env": secret_env,
            "timeout_seconds": timeout_seconds,
            "user": user,
        }, stdin, on_event)

    def logs_workspace(
        self,
        workspace_id: str,
        *,
        after: int | None = None,
        before: int | None = None,
        failed: bool = False,
        limit: int = 100,
        max_output_bytes: int = 65536,
        with_output: bool = True,
    ) -> WorkspaceLogs:
        """Gives the history of a workspace's commands, by the page, with the end of their output.

        - `workspace_id`: Whose.
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
        return self._call(_operations.WORKSPACE_LOGS, {
            "workspace": workspace_id,
            "after": after,
            "before": before,
            "failed": failed,
            "limit": limit,
            "max_output_bytes": max_output_bytes,
            "with_output": with_output,
        })

    def read_workspace_output(
        self,
        workspace_id: str,
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

        - `workspace_id`: Whose.
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
        return self._call(_operations.WORKSPACE_OUTPUT, {
            "workspace": workspace_id,
            "command": command,
            "encoding": encoding,
            "from_byte": from_byte,
            "from_line": from_line,
            "grep": grep,
            "ignore_case": ignore_case,
            "lines": lines,
            "max_bytes": max_bytes,
            "stream": stream,
            "tail": tail,
        })

    def list_workspace_jobs(
        self,
        workspace_id: str,
        *,
        running: bool = False,
    ) -> JobList:
        """Lists the commands of a workspace that run, and the detached ones that have ended.

        - `workspace_id`: Whose.
        - `running`: Only those that run.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError.
        """
        return self._call(_operations.WORKSPACE_JOB_LIST, {"workspace": workspace_id, "running": running})

    def wait_workspace_job(
        self,
        workspace_id: str,
        job: int | str,
        *,
        timeout_seconds: int | None = None,
        on_output: Callable[[Output], object] | None = None,
        on_event: Callable[[dict[str, Any]], object] | None = None,
        max_output_bytes: int = MOST_COLLECTED_BYTES,
    ) -> ExecResult:
        """Waits until a command ends, and streams its output if asked to.

        - `workspace_id`: Whose.
        - `job`: Which.
        - `timeout_seconds`: Wait at most this long; then the result says that it runs on, and it does. As
          long as it takes when absent.
        - `on_output`: Is given what the command writes, as it comes.
        - `on_event`: Is told what happens beside the output: phases, progress, that the command has begun.
        - `max_output_bytes`: At most so much of each output in the result; all of it is counted.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        UnknownJobError.
        """
        result: ExecResult = self._collect(_operations.WORKSPACE_JOB_WAIT, {
            "workspace": workspace_id,
            "job": job,
            "timeout_seconds": timeout_seconds,
        }, None, on_output, on_event, max_output_bytes)
        return result

    def stream_wait_workspace_job(
        self,
        workspace_id: str,
        job: int | str,
        *,
        timeout_seconds: int | None = None,
        on_event: Callable[[dict[str, Any]], object] | None = None,
    ) -> CommandStream[ExecReport]:
        """Waits until a command ends, and streams its output if asked to.

        The same as a stream: what the command writes is there as it comes.

        - `workspace_id`: Whose.
        - `job`: Which.
        - `timeout_seconds`: Wait at most this long; then the result says that it runs on, and it does. As
          long as it takes when absent.
        - `on_event`: Is told what happens beside the output: phases, progress, that the command has begun.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        UnknownJobError.
        """
        return self._stream(_operations.WORKSPACE_JOB_WAIT, {
            "workspace": workspace_id,
            "job": job,
            "timeout_seconds": timeout_seconds,
        }, None, on_event)

    def logs_workspace_job(
        self,
        workspace_id: str,
        job: int | str,
        *,
        max_bytes: int = 65536,
    ) -> JobLogs:
        """Gives the end of a command's output.

        - `workspace_id`: Whose.
        - `job`: Which.
        - `max_bytes`: At most so much of each stream, the last bytes.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError, UnknownJobError.
        """
        return self._call(_operations.WORKSPACE_JOB_LOGS, {"workspace": workspace_id, "job": job, "max_bytes": max_bytes})

    def kill_workspace_job(
        self,
        workspace_id: str,
        job: int | str,
        *,
        signal: JobSignal = "TERM",
    ) -> JobKilled:
        """Sends a signal to a command and all that it started.

        - `workspace_id`: Whose.
        - `job`: Which.
        - `signal`: Which signal.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, UnknownJobError.
        """
        return self._call(_operations.WORKSPACE_JOB_KILL, {"workspace": workspace_id, "job": job, "signal": signal})

    def list_workspace_files(
        self,
        workspace_id: str,
        path: Bytes = "/workspace",
        *,
        after: Bytes | None = None,
        limit: int = 20000,
        recursive: bool = False,
    ) -> FileList:
        """Lists a directory of a workspace.

        - `workspace_id`: Whose.
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
        return self._call(_operations.WORKSPACE_FILE_LIST, {
            "workspace": workspace_id,
            "path": path,
            "after": after,
            "limit": limit,
            "recursive": recursive,
        })

    def stat_workspace_file(
        self,
        workspace_id: str,
        path: Bytes,
        *,
        sha256: bool = False,
    ) -> FileStat:
        """Says what is at a path of a workspace.

        - `workspace_id`: Whose.
        - `path`: What.
        - `sha256`: Whether a file's SHA-256 is wanted.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathNotFoundError, PathEscapesError.
        """
        return self._call(_operations.WORKSPACE_FILE_STAT, {"workspace": workspace_id, "path": path, "sha256": sha256})

    def read_workspace_file(
        self,
        workspace_id: str,
        path: Bytes,
        *,
        encoding: WantedEncoding = "utf-8",
        first_line: int | None = None,
        last_line: int | None = None,
        max_bytes: int = 65536,
        offset: int | None = None,
    ) -> FileRead:
        """Reads a file of a workspace, or a part of it.

        - `workspace_id`: Whose.
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
        return self._call(_operations.WORKSPACE_FILE_READ, {
            "workspace": workspace_id,
            "path": path,
            "encoding": encoding,
            "first_line": first_line,
            "last_line": last_line,
            "max_bytes": max_bytes,
            "offset": offset,
        })

    def write_workspace_file(
        self,
        workspace_id: str,
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

        - `workspace_id`: Whose.
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
        return self._call(_operations.WORKSPACE_FILE_WRITE, {
            "workspace": workspace_id,
            "path": path,
            "append": append,
            "content_base64": content,
            "create_only": create_only,
            "first_line": first_line,
            "last_line": last_line,
            "mode": mode,
            "text": text,
        })

    def replace_in_workspace_file(
        self,
        workspace_id: str,
        path: Bytes,
        old_text: Bytes,
        new_text: Bytes,
        *,
        count: int = 1,
    ) -> FileReplaced:
        """Replaces text in a file of a workspace, if it is there exactly so often as expected.

        - `workspace_id`: Whose.
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
        return self._call(_operations.WORKSPACE_FILE_REPLACE, {
            "workspace": workspace_id,
            "path": path,
            "old_text": old_text,
            "new_text": new_text,
            "count": count,
        })

    def make_workspace_directory(
        self,
        workspace_id: str,
        path: Bytes,
        *,
        create_only: bool = False,
        mode: int | str | None = None,
    ) -> FileChanged:
        """Makes a directory in a workspace, and those above it.

        - `workspace_id`: Whose.
        - `path`: Which.
        - `create_only`: Fails with `already_exists` if it is there.
        - `mode`: Permission bits; 0755 when absent.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathEscapesError, AlreadyExistsError,
        WrongFileTypeError, GuestDiskFullError.
        """
        return self._call(_operations.WORKSPACE_FILE_MKDIR, {
            "workspace": workspace_id,
            "path": path,
            "create_only": create_only,
            "mode": mode,
        })

    def move_workspace_file(
        self,
        workspace_id: str,
        source: Bytes,
        target: Bytes,
        *,
        overwrite: bool = False,
    ) -> FileChanged:
        """Moves a file or a directory within a workspace.

        - `workspace_id`: Whose.
        - `source`: From.
        - `target`: To, the new path itself. Directories above are made.
        - `overwrite`: Whether a file that is there is replaced.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathNotFoundError, PathEscapesError,
        AlreadyExistsError, WrongFileTypeError, GuestDiskFullError.
        """
        return self._call(_operations.WORKSPACE_FILE_MOVE, {
            "workspace": workspace_id,
            "from": source,
            "to": target,
            "overwrite": overwrite,
        })

    def copy_workspace_file(
        self,
        workspace_id: str,
        source: Bytes,
        target: Bytes,
        *,
        overwrite: bool = False,
        recursive: bool = False,
    ) -> FileChanged:
        """Copies a file or a directory within a workspace.

        - `workspace_id`: Whose.
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
        return self._call(_operations.WORKSPACE_FILE_COPY, {
            "workspace": workspace_id,
            "from": source,
            "to": target,
            "overwrite": overwrite,
            "recursive": recursive,
        })

    def delete_workspace_file(
        self,
        workspace_id: str,
        path: Bytes,
        *,
        missing_ok: bool = False,
        recursive: bool = False,
    ) -> FileChanged:
        """Deletes a file or a directory of a workspace.

        - `workspace_id`: Whose.
        - `path`: Which.
        - `missing_ok`: Whether it is fine if nothing is there.
        - `recursive`: Whether a directory goes with all that it holds.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PathNotFoundError, PathEscapesError,
        DirectoryNotEmptyError.
        """
        return self._call(_operations.WORKSPACE_FILE_DELETE, {
            "workspace": workspace_id,
            "path": path,
            "missing_ok": missing_ok,
            "recursive": recursive,
        })

    def glob_workspace_files(
        self,
        workspace_id: str,
        pattern: str,
        *,
        limit: int = 20000,
        path: Bytes = "/workspace",
        respect_gitignore: bool = False,
        skip_hidden: bool = False,
    ) -> FileGlob:
        """Finds paths of a workspace that match a pattern.

        - `workspace_id`: Where.
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
        return self._call(_operations.WORKSPACE_FILE_GLOB, {
            "workspace": workspace_id,
            "pattern": pattern,
            "limit": limit,
            "path": path,
            "respect_gitignore": respect_gitignore,
            "skip_hidden": skip_hidden,
        })

    def grep_workspace_files(
        self,
        workspace_id: str,
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

        - `workspace_id`: Where.
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
        return self._call(_operations.WORKSPACE_FILE_GREP, {
            "workspace": workspace_id,
            "pattern": pattern,
            "context": context,
            "fixed": fixed,
            "ignore_case": ignore_case,
            "include": include,
            "limit": limit,
            "max_line_bytes": max_line_bytes,
            "names_only": names_only,
            "path": path,
            "respect_gitignore": respect_gitignore,
        })

    def download_workspace_file(
        self,
        workspace_id: str,
        path: Bytes,
        target: HostPath | BinaryIO,
        *,
        force: bool = False,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> FileDownloaded:
        """Reads a whole file of a workspace, of any length.

        - `workspace_id`: Whose.
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
        return self._download(_operations.WORKSPACE_FILE_DOWNLOAD, {"workspace": workspace_id, "path": path}, target, force, on_progress)

    def upload_workspace_file(
        self,
        workspace_id: str,
        source: HostPath | Source,
        path: Bytes,
        *,
        create_only: bool = False,
        mode: int | str | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> FileWritten:
        """Writes a whole file of a workspace, of any length, in one step.

        - `workspace_id`: Whose.
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
        return self._upload(_operations.WORKSPACE_FILE_UPLOAD, {
            "workspace": workspace_id,
            "path": path,
            "create_only": create_only,
            "mode": mode,
        }, source, on_progress)

    def apply_workspace_patch(
        self,
        workspace_id: str,
        *,
        patch: Bytes,
        check: bool = False,
        reverse: bool = False,
    ) -> PatchResult:
        """Applies a patch to the files of a workspace, all of it or nothing.

        - `workspace_id`: Where.
        - `patch`: The patch, at most `MAX_PATCH_BYTES`.
        - `check`: Only says what would happen.
        - `reverse`: Applies it backwards.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceExpiredError, WorkspaceStalledError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError, LimitReachedError, HostRequirementError, StartFailedError,
        SnapshotDamagedError, SnapshotFailedError, DiskFullError, PatchMalformedError, PatchRejectedError,
        PathEscapesError, WrongFileTypeError, FileTooLargeError, GuestDiskFullError, ConflictError.
        """
        return self._call(_operations.WORKSPACE_PATCH_APPLY, {
            "workspace": workspace_id,
            "patch": patch,
            "check": check,
            "reverse": reverse,
        })

    def diff_workspace(
        self,
        workspace_id: str,
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

        - `workspace_id`: Where.
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
        return self._call(_operations.WORKSPACE_DIFF, {
            "workspace": workspace_id,
            "against": against,
            "context": context,
            "max_bytes": max_bytes,
            "name_only": name_only,
            "no_renames": no_renames,
            "paths": paths,
            "stat": stat,
        })

    def push_workspace_sync(
        self,
        workspace_id: str,
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

        - `workspace_id`: Where to.
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
        return self._work(_operations.WORKSPACE_SYNC_PUSH, {
            "workspace": workspace_id,
            "source_path": source_path,
            "delete": delete,
            "dest": dest,
            "dry_run": dry_run,
            "exclude": exclude,
            "git": git,
        }, on_progress)

    def pull_workspace_sync(
        self,
        workspace_id: str,
        target_path: HostPath | None = None,
        *,
        dry_run: bool = False,
        exclude: Sequence[str] | None = None,
        paths: Sequence[Bytes] | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> SyncPulled:
        """Brings what changed in a workspace back to a directory of the host; what both sides changed is only
        told.

        - `workspace_id`: Where from.
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
        return self._work(_operations.WORKSPACE_SYNC_PULL, {
            "workspace": workspace_id,
            "target_path": target_path,
            "dry_run": dry_run,
            "exclude": exclude,
            "paths": paths,
        }, on_progress)

    def export_workspace(
        self,
        workspace_id: str,
        path: Bytes = "/workspace",
        *,
        force: bool = False,
        format: ExportFormat = "tree",
        output_path: HostPath | BinaryIO,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> WorkspaceExported:
        """Takes a file, a directory, or everything that changed out of a workspace.

        - `workspace_id`: Where from.
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
        return self._export(_operations.WORKSPACE_EXPORT, {
            "workspace": workspace_id,
            "path": path,
            "force": force,
            "format": format,
        }, output_path, on_progress)

    def list_workspace_disk(
        self,
        workspace_id: str,
        path: Bytes = "/workspace",
        *,
        after: Bytes | None = None,
        limit: int = 20000,
        recursive: bool = False,
    ) -> DiskList:
        """Lists a directory on the disk of a stopped workspace, anywhere in its guest.

        - `workspace_id`: Whose.
        - `path`: What.
        - `after`: Only entries after this path, for the next page.
        - `limit`: At most so many entries.
        - `recursive`: Also what is in directories below.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError, WorkspaceStateError, PathNotFoundError, PathEscapesError, WrongFileTypeError,
        DiskDamagedError.
        """
        return self._call(_operations.WORKSPACE_DISK_LIST, {
            "workspace": workspace_id,
            "path": path,
            "after": after,
            "limit": limit,
            "recursive": recursive,
        })

    def read_workspace_disk(
        self,
        workspace_id: str,
        path: Bytes,
        *,
        encoding: WantedEncoding = "utf-8",
        max_bytes: int = 65536,
        offset: int = 0,
    ) -> DiskRead:
        """Reads a file on the disk of a stopped workspace, or a part of it.

        - `workspace_id`: Whose.
        - `path`: Which.
        - `encoding`: How the bytes shall stand in JSON.
        - `max_bytes`: At most so many bytes.
        - `offset`: First byte, from 0.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        InvalidSizeError, WorkspaceStateError, PathNotFoundError, PathEscapesError, WrongFileTypeError,
        DiskDamagedError.
        """
        return self._call(_operations.WORKSPACE_DISK_READ, {
            "workspace": workspace_id,
            "path": path,
            "encoding": encoding,
            "max_bytes": max_bytes,
            "offset": offset,
        })

    def export_workspace_disk(
        self,
        workspace_id: str,
        output_path: HostPath,
        *,
        force: bool = False,
        merged: bool = False,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> DiskExported:
        """Takes the disk of a stopped workspace to the host, or all its guest sees.

        - `workspace_id`: Whose.
        - `output_path`: Absolute path on the host.
        - `force`: Replace what is at `output_path`.
        - `merged`: Everything the guest sees, as a tar archive, instead of the writable disk alone.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, OutputExistsError, FileFailedError, DiskFullError, DiskDamagedError.
        """
        return self._work(_operations.WORKSPACE_DISK_EXPORT, {
            "workspace": workspace_id,
            "output_path": output_path,
            "force": force,
            "merged": merged,
        }, on_progress)

    def save_workspace(
        self,
        workspace_id: str,
        output_path: HostPath,
        *,
        force: bool = False,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> WorkspaceSaved:
        """Takes a stopped workspace to the host as one file.

        - `workspace_id`: Which.
        - `output_path`: Absolute path on the host.
        - `force`: Replace what is at `output_path`.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, OutputExistsError, FileFailedError, FileTooLargeError, DiskFullError,
        DiskDamagedError.
        """
        return self._work(_operations.WORKSPACE_SAVE, {"workspace": workspace_id, "output_path": output_path, "force": force}, on_progress)

    def load_workspace(
        self,
        input_path: HostPath,
        *,
        labels: Mapping[str, str] | None = None,
        name: str | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Workspace:
        """Makes a stopped workspace of a file that `workspace_save` made. Whole or not at all.

        - `input_path`: Absolute path of the archive on the host.
        - `labels`: Labels beside the archive's, or instead of those with the same keys.
        - `name`: Another name than the archive's.
        - `on_progress`: Is told how far it has come.

        Raises, beside what any operation may raise: BadArchiveError, WrongFileTypeError, ConflictError,
        FileFailedError, EnvironmentMismatchError, NotYetSupportedError, LimitReachedError,
        UnknownEnvironmentError, EnvironmentDamagedError, EnvironmentFailedError, HostRequirementError,
        DiskFullError.
        """
        return self._work(_operations.WORKSPACE_LOAD, {"input_path": input_path, "labels": labels, "name": name}, on_progress)

    def create_snapshot(
        self,
        workspace_id: str,
        snapshot_name: str,
        *,
        comment: str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> SnapshotResult:
        """Takes a snapshot of a workspace: memory, processes, devices and disk, or of a stopped one its disk.

        - `workspace_id`: Of which.
        - `snapshot_name`: Its name, which no other snapshot of the workspace has.
        - `comment`: Why it is taken, at most `MAX_COMMENT_CHARS` characters.
        - `labels`: Labels.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, SnapshotExistsError, LimitReachedError, SnapshotFailedError, DiskFullError,
        MachineLostError.
        """
        return self._call(_operations.SNAPSHOT_CREATE, {
            "workspace": workspace_id,
            "snapshot_name": snapshot_name,
            "comment": comment,
            "labels": labels,
        })

    def list_snapshots(
        self,
        workspace_id: str,
    ) -> SnapshotList:
        """Lists the snapshots of a workspace.

        - `workspace_id`: Of which.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError.
        """
        return self._call(_operations.SNAPSHOT_LIST, {"workspace": workspace_id})

    def inspect_snapshot(
        self,
        workspace_id: str,
        snapshot_name: str,
    ) -> SnapshotResult:
        """Says everything about a snapshot of a workspace.

        - `workspace_id`: Of which.
        - `snapshot_name`: Its name or id.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        UnknownSnapshotError.
        """
        return self._call(_operations.SNAPSHOT_INSPECT, {"workspace": workspace_id, "snapshot_name": snapshot_name})

    def delete_snapshot(
        self,
        workspace_id: str,
        snapshot_name: str,
    ) -> SnapshotDeleted:
        """Deletes a snapshot of a workspace. What others share with it stays.

        - `workspace_id`: Of which.
        - `snapshot_name`: Its name or id.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        UnknownSnapshotError.
        """
        return self._call(_operations.SNAPSHOT_DELETE, {"workspace": workspace_id, "snapshot_name": snapshot_name})

    def reset_workspace(
        self,
        workspace_id: str,
        *,
        snapshot: str = "baseline",
    ) -> WorkspaceReset:
        """Has a workspace go on from a snapshot, with all that ran in it.

        - `workspace_id`: Which.
        - `snapshot`: The snapshot's name or id.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceBusyError, UnknownSnapshotError, SnapshotDamagedError,
        LimitReachedError, HostRequirementError, DiskFullError, StartFailedError, MachineLostError,
        GuestMisbehavedError, GuestRefusedError.
        """
        return self._call(_operations.WORKSPACE_RESET, {"workspace": workspace_id, "snapshot": snapshot})

    def undo_workspace(
        self,
        workspace_id: str,
        *,
        steps: int = 1,
    ) -> WorkspaceUndone:
        """Goes back before the last calls of a workspace with automatic checkpoints.

        - `workspace_id`: Which.
        - `steps`: How many calls.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, WorkspaceBusyError, NothingToUndoError, SnapshotDamagedError,
        SnapshotFailedError, LimitReachedError, HostRequirementError, DiskFullError, StartFailedError,
        MachineLostError, GuestMisbehavedError, GuestRefusedError.
        """
        return self._call(_operations.WORKSPACE_UNDO, {"workspace": workspace_id, "steps": steps})

    def timeline_workspace(
        self,
        workspace_id: str,
    ) -> Timeline:
        """Says which calls of a workspace with automatic checkpoints can be undone.

        - `workspace_id`: Of which.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError.
        """
        return self._call(_operations.WORKSPACE_TIMELINE, {"workspace": workspace_id})

    def fork_workspace(
        self,
        workspace_id: str,
        *,
        count: int = 1,
        labels: Mapping[str, str] | None = None,
        name_prefix: str | None = None,
        snapshot: str | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> WorkspaceForked:
        """Makes workspaces that begin from the state of another one, with all that runs in it; all or none.

        - `workspace_id`: From which.
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
        return self._work(_operations.WORKSPACE_FORK, {
            "workspace": workspace_id,
            "count": count,
            "labels": labels,
            "name_prefix": name_prefix,
            "snapshot": snapshot,
        }, on_progress)

    def sleep_workspace(
        self,
        workspace_id: str,
    ) -> Workspace:
        """Saves the machine of a workspace and ends it, until the workspace is used.

        - `workspace_id`: Which.

        Raises, beside what any operation may raise: UnknownWorkspaceError, AmbiguousNameError,
        WorkspaceStateError, LimitReachedError, SnapshotFailedError, DiskFullError, MachineLostError.
        """
        return self._call(_operations.WORKSPACE_SLEEP, {"workspace": workspace_id})

    def collect_garbage(
        self,
        *,
        dry_run: bool = False,
    ) -> GcResult:
        """Removes what the daemon keeps without need, or says what it would remove and why. Never a
        workspace.

        - `dry_run`: Only says what would be removed, and why.
        """
        return self._call(_operations.GC, {"dry_run": dry_run})

    def status_daemon(self) -> Status:
        """Says how the daemon is."""
        return self._ask(_operations.STATUS, {})

    def stop_daemon(
        self,
        *,
        force: bool = False,
    ) -> ShutdownResult:
        """Ends the daemon.

        - `force`: End also the runs in work. Without, a daemon in use refuses with `daemon_busy`.

        Raises, beside what any operation may raise: DaemonBusyError.
        """
        return self._ask(_operations.SHUTDOWN, {"force": force})
