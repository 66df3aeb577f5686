//! One-shot machines in single steps.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use pyro_api::{
    ErrorBody, ErrorCode,
    frame::Kind,
    run::{CapturedOutput, Cleanup, Collected, EXECUTION_MODE, RunEvent, RunReport},
    vm::{Vm, VmCreateRequest, VmDeleteRequest, VmDeleted, VmExecRequest, VmNetworkInfo, VmsReaped},
    workspace::{command::LogEntry, view::WorkspaceState},
};
use pyro_workspace::{
    Error, Host, StartKind,
    commands::{ExecEvent, ExecIo, ExecRequest},
    workspaces::{
        Call, Called, CreateIo, CreateRequest, KeptCommand, OneShotOutcome, WorkspaceRecord, WorkspaceView,
    },
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{
    commands::{command_line, contract_record, exec_failure},
    convert::{self, Ending},
    lifecycle::ttl,
    milliseconds, seconds,
};
use crate::daemon::{
    convert::error_body,
    handler::{StreamOutput, Streams},
};

pub(in crate::daemon) async fn create(host: &Host, request: VmCreateRequest) -> Result<Vm, ErrorBody> {
    request.check()?;
    let create = CreateRequest {
        vcpus: u8::try_from(request.vcpu_count).unwrap_or(u8::MAX),
        mem_mib: request.mem_mib,
        ttl: ttl(request.ttl_seconds),
        allow_host_compat: request.allow_host_compat,
        call: call(&request),
        ends_with_callers: request.ends_with_callers,
        ..CreateRequest::new(request.environment)
    };
    let (events, mut told) = mpsc::channel(16);
    let io = CreateIo { events, cancel: CancellationToken::new() };
    let unheard = async { while told.recv().await.is_some() {} };
    let one_shots = host.workspaces().one_shots();
    let (called, ()) = tokio::join!(one_shots.call(create, io), unheard);
    Ok(match called.map_err(body)? {
        Called::Made(view) => vm(&view),
        Called::Found(view) => Vm { attached: true, ..vm(&view) },
        Called::Gone(kept) => gone(*kept),
    })
}

/// What tells a call from others, if it is to be told.
fn call(request: &VmCreateRequest) -> Option<Call> {
    let is_told = request.attach || request.idempotency_key.is_some();
    let key = request.idempotency_key.clone();
    // How it is named, and how long the machine stays, is not what is asked.
    let asked = VmCreateRequest {
        idempotency_key: None,
        attach: false,
        ttl_seconds: 0,
        ends_with_callers: false,
        ..request.clone()
    };
    let text = serde_json::to_string(&asked).ok()?;
    is_told.then(|| Call::new(key, text.as_bytes()))
}

/// A machine of which only the account is left.
fn gone(kept: KeptCommand) -> Vm {
    let KeptCommand { machine: record, command, stdout, stderr } = kept;
    let end = |bytes: Option<Vec<u8>>, total_bytes| {
        let bytes = bytes.unwrap_or_default();
        let mut collected = Collected::up_to(bytes.len());
        collected.push(&bytes);
        if (bytes.len() as u64) < total_bytes {
            collected.cut();
        }
        collected
    };
    let output = CapturedOutput::new(
        &end(stdout, command.stdout.total_bytes),
        &end(stderr, command.stderr.total_bytes),
    );
    Vm {
        state: WorkspaceState::Stopped,
        expires_at: None,
        attached: true,
        kept: Some(Box::new(LogEntry { record: contract_record(&command), output })),
        ..vm_of(&record, BTreeMap::new())
    }
}

pub(in crate::daemon) async fn start(host: &Host, id: &str) -> Result<Vm, ErrorBody> {
    host.workspaces().one_shots().start(id).await.map(|view| vm(&view)).map_err(body)
}

pub(in crate::daemon) async fn stop(host: &Host, id: &str) -> Result<Vm, ErrorBody> {
    host.workspaces().one_shots().stop(id).await.map(|view| vm(&view)).map_err(body)
}

pub(in crate::daemon) async fn status(host: &Host, id: &str) -> Result<Vm, ErrorBody> {
    host.workspaces().one_shots().view(id).await.map(|view| vm(&view)).map_err(body)
}

pub(in crate::daemon) async fn delete(host: &Host, request: VmDeleteRequest) -> Result<VmDeleted, ErrorBody> {
    let one_shots = host.workspaces().one_shots();
    let (id, deleted) = match request.unless_used {
        true => one_shots.delete_unless_used(&request.vm_id).await.map_err(body)?,
        false => (one_shots.delete(&request.vm_id).await.map_err(body)?, true),
    };
    let reason = if deleted { "explicit_delete" } else { "in_use" };
    Ok(VmDeleted { vm_id: id.to_string(), deleted, reason: reason.to_owned() })
}

pub(in crate::daemon) async fn network_info(host: &Host, id: &str) -> Result<VmNetworkInfo, ErrorBody> {
    let id = host.workspaces().one_shots().resolve(id).map_err(body)?;
    Ok(VmNetworkInfo {
        vm_id: id.to_string(),
        network_enabled: false,
        outbound_connectivity_expected: false,
        reason: Some("machines have no network in this release".to_owned()),
    })
}

pub(in crate::daemon) async fn reap(host: &Host) -> Result<VmsReaped, ErrorBody> {
    let reaped = host.workspaces().one_shots().reap().await.map_err(body)?;
    let deleted_vm_ids: Vec<String> = reaped.iter().map(ToString::to_string).collect();
    Ok(VmsReaped { count: deleted_vm_ids.len() as u64, deleted_vm_ids })
}

pub(in crate::daemon) async fn exec(
    host: &Host,
    request: VmExecRequest,
    streams: Streams,
) -> Result<RunReport, ErrorBody> {
    request.check()?;
    let begun = Instant::now();
    let Streams { output, stdin, cancel } = streams;
    let (events, told) = mpsc::channel(16);
    let exec = ExecRequest {
        timeout: Some(Duration::from_secs(request.timeout_seconds)),
        ..ExecRequest::new(command_line(&request.command))
    };
    let one_shots = host.workspaces().one_shots();
    let running = one_shots.exec(&request.vm_id, exec, ExecIo { events, stdin, cancel });
    let (outcome, accepted) = tokio::join!(running, tell(told, &output, &request.vm_id));
    let OneShotOutcome { machine: view, command: outcome, cleanup } =
        outcome.map_err(|error| exec_body(error, accepted))?;
    let record = &outcome.command;
    let Ending { exit_code, signal, timed_out, out_of_memory } = Ending::of(record);
    let machine = view.machine.as_ref();
    let start = match machine.and_then(|machine| machine.start) {
        Some(StartKind::Booted) => "booted",
        Some(StartKind::Restored) | None => "restored",
    };
    let vm_id = view.record.id.to_string();
    Ok(RunReport {
        environment: view.record.environment.clone(),
        environment_version: Some(view.record.environment_version.clone()),
        command: record.command.clone(),
        exit_code: exit_code.unwrap_or_default(),
        signal,
        timed_out,
        out_of_memory,
        duration_ms: milliseconds(begun.elapsed()),
        command_duration_ms: convert::duration_ms(record),
        phases_ms: BTreeMap::new(),
        execution_mode: EXECUTION_MODE.to_owned(),
        isolation: machine.map(|machine| convert::isolation(machine.isolation)).unwrap_or_default(),
        start: start.to_owned(),
        stdout_bytes: record.stdout.total_bytes,
        stderr_bytes: record.stderr.total_bytes,
        cleanup: Cleanup {
            vm_id: vm_id.clone(),
            deleted: cleanup.is_ok(),
            reason: "post_exec_cleanup".to_owned(),
        },
        vm_id,
    })
}

/// Passes on what happens to the command. Its number, as far as that was heard of.
async fn tell(mut events: mpsc::Receiver<ExecEvent>, output: &StreamOutput, vm_id: &str) -> Option<u64> {
    let mut accepted = None;
    while let Some(event) = events.recv().await {
        let sent = match event {
            ExecEvent::Accepted { sequence, .. } => {
                accepted = Some(sequence);
                let phase = RunEvent::Phase { phase: "execute".to_owned(), vm_id: Some(vm_id.to_owned()) };
                output.event(&phase).await
            }
            ExecEvent::Stdout(bytes) => output.bytes(Kind::Stdout, bytes).await,
            ExecEvent::Stderr(bytes) => output.bytes(Kind::Stderr, bytes).await,
            ExecEvent::Dropped { .. } => Ok(()),
        };
        // Dropping the channel tells the library that nobody waits any more.
        if sent.is_err() {
            break;
        }
    }
    accepted
}

fn vm(view: &WorkspaceView) -> Vm {
    vm_of(&view.record, convert::metadata(view))
}

fn vm_of(record: &WorkspaceRecord, metadata: BTreeMap<String, String>) -> Vm {
    Vm {
        vm_id: record.id.to_string(),
        environment: record.environment.clone(),
        environment_version: Some(record.environment_version.clone()),
        vcpu_count: record.shape.vcpus.into(),
        mem_mib: record.shape.mem_mib,
        ttl_seconds: record.ttl.map_or(0, |ttl| ttl.as_secs()),
        created_at: seconds(record.created_at),
        expires_at: record.expires_at().map(seconds),
        state: convert::state(record),
        network_enabled: false,
        allow_host_compat: record.allow_host_compat,
        guest_ip: None,
        tap_name: None,
        execution_mode: convert::execution_mode(record).to_owned(),
        metadata,
        attached: false,
        kept: None,
    }
}

/// The failure of a command, with what became of it. A machine has no jobs.
fn exec_body(error: Error, accepted: Option<u64>) -> ErrorBody {
    let failure = exec_failure(&error, accepted, None);
    let told = body(error);
    match failure.work {
        Some(work) => told.with_work(work, None),
        None => told,
    }
}

/// Here it is machines that are named, and they do not outlive their command.
fn body(error: Error) -> ErrorBody {
    match error {
        Error::UnknownWorkspace { reference } => {
            ErrorBody::new(ErrorCode::UnknownVm, format!("there is no machine `{reference}`"))
        }
        Error::WorkspaceMachineLost { reason, console } => {
            error_body(&Error::MachineLost { reason, console, work_started: true })
        }
        Error::WorkspaceExpired { workspace, .. } => ErrorBody::new(
            ErrorCode::MachineExpired,
            format!("machine `{workspace}` was not used within its time to live and is about to be deleted"),
        ),
        error => {
            let hint = error.hint().filter(|hint| !hint.contains("pyro workspace"));
            ErrorBody { hint, ..error_body(&error) }
        }
    }
}

#[cfg(test)]
mod tests {
    use pyro_api::error::Work;
    use pyro_workspace::{commands::Fate, workspaces::WorkspaceId};

    use super::*;

    #[test]
    fn nothing_is_said_of_workspaces() {
        let workspace = || WorkspaceId::from_bytes([0; 6]);
        let stopped = Error::WrongState {
            operation: "work in it",
            workspace: workspace(),
            state: "stopped",
            reason: "is stopped".into(),
        };
        for (error, code) in [
            (Error::UnknownWorkspace { reference: "x".into() }, ErrorCode::UnknownVm),
            (
                Error::WorkspaceExpired { operation: "work in it", workspace: workspace() },
                ErrorCode::MachineExpired,
            ),
            (
                Error::WorkspaceMachineLost { reason: "killed".into(), console: String::new() },
                ErrorCode::MachineLost,
            ),
            (stopped, ErrorCode::WrongState),
        ] {
            let body = body(error);
            assert_eq!(body.code, code);
            assert!(body.hint.is_none_or(|hint| !hint.contains("workspace")), "{code}");
        }
    }

    #[test]
    fn a_command_that_failed_says_whether_it_ran() {
        let absent = exec_body(Error::UnknownWorkspace { reference: "x".into() }, None);
        assert_eq!((absent.code, absent.work), (ErrorCode::UnknownVm, Some(Work::NeverStarted)));
        let lost = Error::CommandLost { sequence: 1, fate: Fate::Unknown, reason: "x".into() };
        let lost = exec_body(lost, Some(1));
        assert_eq!((lost.code, lost.work, lost.job_id), (ErrorCode::WorkUnknown, Some(Work::Unknown), None));
    }
}
