//! A machine for one command: made, used and deleted by one call, unless the command outlasts it.
//!
//! The machine has no name, and its command is a job like any other, so a command that runs on can be waited for, and an
//! output that was cut be read in parts. The daemon knows what the machine is for: a call with the same idempotency key
//! gets it, or what is kept of it, and so does an identical call as long as the command has not ended. Only callers keep
//! it: it goes some time after the last one, or, when an answer has promised that it can be asked again, after the time to
//! live that the caller gave.

use std::time::Duration;

use pyro_api::{
    Client, ErrorBody, ErrorCode,
    operation::{CreateVm, DeleteVm, StopVm, UpdateWorkspace},
    run::CommandLine,
    vm::{Vm, VmCreateRequest, VmDeleteRequest, VmPurpose, VmStopRequest},
    workspace::{
        command::{CommandRef, LogEntry},
        exec::{ExecReport, WorkspaceExecRequest},
        identity::WorkspaceRef,
        lifecycle::WorkspaceUpdateRequest,
        view::WorkspaceState,
    },
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    command_answer::{CommandAnswer, Place, parse_job, parse_output, read_output},
    excerpt::HeadAndTail,
    follow::{self, Followed},
    progress,
    tool::ToolCall,
};

/// The tool that all of this is for, and to which its answers point.
const TOOL: &str = "vm_run";

/// How much longer than a call's patience the making of a machine may take, so that the answer still comes in time.
const RESERVE: Duration = Duration::from_secs(5);

/// The key of the only command of a machine.
const ONLY_COMMAND: &str = "the-only-command";
/// Its number.
const FIRST: CommandRef = CommandRef(1);

/// So often a machine is looked for anew that another call had removed just before this one used it.
const MOST_MACHINES: usize = 3;

/// Makes a machine, or finds that of a call which is the same, runs the command, and deletes the machine unless it is still
/// needed.
pub(super) async fn run(
    call: &ToolCall,
    request: &VmCreateRequest,
    purpose: VmPurpose,
    max_chars: usize,
) -> Result<CommandAnswer, ErrorBody> {
    let asked = VmCreateRequest {
        ttl_seconds: call.abandon_after.as_secs(),
        ends_with_callers: true,
        attach: request.idempotency_key.is_none(),
        purpose: Some(purpose.clone()),
        ..request.clone()
    };
    request.check()?;
    asked.check()?;
    let mut left = MOST_MACHINES;
    loop {
        left -= 1;
        // Without a machine nothing was run.
        let vm = make(call, asked.clone()).await.map_err(|error| error.with_work_started(false))?;
        match follow_in(call, &vm, &purpose, max_chars).await {
            Err(error) if vm.attached && is_gone(&error) && left > 0 => {}
            Ok(Ran::Here(followed)) => {
                return settle(call, &vm.vm_id, request.ttl_seconds, &followed).await;
            }
            Ok(Ran::Kept(followed)) => {
                return Ok(CommandAnswer::new(&followed, Place::Gone(&vm.vm_id), TOOL).cleaned_up(&vm.vm_id));
            }
            Err(error) => return Err(broken_off(call, &vm.vm_id, !vm.attached, error).await),
        }
    }
}

/// Where a command ran that was followed.
enum Ran {
    Here(Box<Followed>),
    /// In a machine that is gone.
    Kept(Box<Followed>),
}

/// Runs the command, once; or follows it where it runs; or takes what is kept of it.
async fn follow_in(
    call: &ToolCall,
    vm: &Vm,
    purpose: &VmPurpose,
    max_chars: usize,
) -> Result<Ran, ErrorBody> {
    if let Some(kept) = &vm.kept {
        return Ok(Ran::Kept(Box::new(followed(vm, kept, max_chars))));
    }
    let machine = WorkspaceRef::new(&vm.vm_id)?;
    let followed = match vm.state {
        WorkspaceState::Stopped => follow::wait(call, &machine, FIRST, max_chars).await?,
        _ => {
            let request = WorkspaceExecRequest {
                timeout_seconds: Some(purpose.timeout_seconds),
                idempotency_key: Some(ONLY_COMMAND.to_owned()),
                ..WorkspaceExecRequest::new(machine, purpose.command.clone())
            };
            request.check()?;
            follow::exec(call, &request, max_chars).await?
        }
    };
    Ok(Ran::Here(Box::new(followed)))
}

/// What is kept of a command, as if it had been followed to its end.
fn followed(vm: &Vm, kept: &LogEntry, max_chars: usize) -> Followed {
    let LogEntry { record, output } = kept;
    let text = |end: &str, truncated: bool| {
        let mut text = HeadAndTail::new(max_chars);
        if truncated {
            text.push("[… the beginning is not kept …]\n".as_bytes());
        }
        text.push(end.as_bytes());
        text
    };
    Followed {
        stdout: text(&output.stdout, output.stdout_truncated),
        stderr: text(&output.stderr, output.stderr_truncated),
        report: ExecReport {
            workspace_id: vm.vm_id.clone(),
            environment: vm.environment.clone(),
            environment_version: vm.environment_version.clone(),
            command: record.command.clone(),
            exit_code: record.exit_code,
            duration_ms: record.duration_ms,
            execution_mode: record.execution_mode.clone(),
            sequence: record.sequence,
            cwd: record.cwd.clone(),
            job_id: record.job_id.clone(),
            state: record.state,
            attached: true,
            signal: record.signal,
            timed_out: record.timed_out,
            out_of_memory: record.out_of_memory,
            isolation: None,
            stdout_bytes: record.stdout_bytes,
            stderr_bytes: record.stderr_bytes,
            stdout_dropped_bytes: record.stdout_dropped_bytes,
            stderr_dropped_bytes: record.stderr_dropped_bytes,
        },
    }
}

/// Runs a command in a machine that is there, and deletes the machine unless it is still needed.
pub(super) async fn run_in(
    call: &ToolCall,
    vm_id: &str,
    ttl_seconds: u64,
    (command, timeout_seconds): (CommandLine, u64),
    max_chars: usize,
) -> Result<CommandAnswer, ErrorBody> {
    let request = WorkspaceExecRequest {
        timeout_seconds: Some(timeout_seconds),
        ..WorkspaceExecRequest::new(WorkspaceRef::new(vm_id)?, command)
    };
    let ran = match request.check() {
        Ok(()) => follow::exec(call, &request, max_chars).await,
        Err(error) => Err(error),
    };
    match ran {
        Ok(followed) => settle(call, vm_id, ttl_seconds, &followed).await,
        Err(error) => Err(broken_off(call, vm_id, true, error).await),
    }
}

/// A command that was not followed to its end. The failure is what is to be told; what is left goes with its time.
async fn broken_off(call: &ToolCall, vm_id: &str, is_ours: bool, error: ErrorBody) -> ErrorBody {
    // What nobody knows the end of can still be asked for.
    if error.code == ErrorCode::DaemonLost {
        return named(error, vm_id);
    }
    if call.gone.is_cancelled() {
        return error;
    }
    // The daemon may not have noticed yet that whoever cancelled is gone.
    let unless_used = !(is_ours && error.code == ErrorCode::Cancelled);
    let _deleted = delete(&call.client, vm_id, unless_used).await;
    error
}

fn is_gone(error: &ErrorBody) -> bool {
    matches!(error.code, ErrorCode::UnknownWorkspace | ErrorCode::UnknownVm)
}

/// Waits for a command that runs on, or ends it.
pub(super) async fn again(
    call: &ToolCall,
    job_id: &str,
    kill: bool,
    max_chars: usize,
) -> Result<CommandAnswer, ErrorBody> {
    let (vm_id, job) = parse_job(job_id)?;
    let vm_id = vm_id.ok_or_else(|| not_of_a_machine(job_id))?;
    let machine = WorkspaceRef::new(vm_id)?;
    let followed = match kill {
        true => follow::kill(call, &machine, job, max_chars).await,
        false => follow::wait(call, &machine, job, max_chars).await,
    };
    let followed = followed.map_err(|error| gone(error, vm_id))?;
    let answer = CommandAnswer::new(&followed, Place::Machine(vm_id), TOOL);
    if followed.report.state.is_live() {
        return Ok(answer);
    }
    Ok(end(&call.client, vm_id, answer).await)
}

/// A part of what a command has written.
pub(super) async fn output(
    call: &ToolCall,
    output_id: &str,
    from: Option<u64>,
    grep: Option<String>,
    max_chars: usize,
) -> Result<CommandAnswer, ErrorBody> {
    let (vm_id, command, stream) = parse_output(output_id)?;
    let vm_id = vm_id.ok_or_else(|| not_of_a_machine(output_id))?;
    let machine = WorkspaceRef::new(vm_id)?;
    let read = read_output(&call.client, machine, (command, stream), from, grep, max_chars).await;
    read.map_err(|error| gone(error, vm_id))
}

async fn settle(
    call: &ToolCall,
    vm_id: &str,
    ttl_seconds: u64,
    followed: &Followed,
) -> Result<CommandAnswer, ErrorBody> {
    let answer = CommandAnswer::new(followed, Place::Machine(vm_id), TOOL);
    let runs_on = followed.report.state.is_live();
    if runs_on || answer.is_cut() {
        let update = WorkspaceUpdateRequest {
            ttl_seconds: Some(ttl_seconds),
            ..WorkspaceUpdateRequest::new(WorkspaceRef::new(vm_id)?)
        };
        let updated = call.client.call::<UpdateWorkspace>(&update).await.map_err(ErrorBody::from);
        match updated {
            Ok(_) => {}
            // Somebody who followed the same command was faster.
            Err(error) if is_gone(&error) => return Ok(answer.cleaned_up(vm_id)),
            // What runs on was promised its time.
            Err(error) if runs_on => return Err(error),
            Err(_) => {}
        }
    }
    if runs_on {
        return Ok(answer);
    }
    Ok(end(&call.client, vm_id, answer).await)
}

/// Deletes a machine whose command has ended, or leaves that to whoever else waits for the same command. If an output was
/// cut, only the machine ends; what it wrote stays for its time. The answer is told whatever becomes of the machine, which
/// goes some time after its last caller at the latest.
async fn end(client: &Client, vm_id: &str, answer: CommandAnswer) -> CommandAnswer {
    if answer.is_cut() {
        let stopped = client.call::<StopVm>(&VmStopRequest { vm_id: vm_id.to_owned() }).await;
        return match stopped.map_err(ErrorBody::from) {
            Err(error) if is_gone(&error) => answer.cleaned_up(vm_id),
            Ok(_) | Err(_) => answer,
        };
    }
    match delete(client, vm_id, true).await {
        Ok(true) => answer.cleaned_up(vm_id),
        Ok(false) | Err(_) => answer,
    }
}

/// Whether it is gone.
async fn delete(client: &Client, vm_id: &str, unless_used: bool) -> Result<bool, ErrorBody> {
    let request = VmDeleteRequest { unless_used, ..VmDeleteRequest::new(vm_id) };
    match client.call::<DeleteVm>(&request).await.map_err(ErrorBody::from) {
        Ok(done) => Ok(done.deleted),
        Err(error) if is_gone(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Makes a machine, as long as the client waits. One that is made after that is found by the next call that is the same, or
/// goes as any does whose caller went away.
async fn make(call: &ToolCall, request: VmCreateRequest) -> Result<Vm, ErrorBody> {
    let (made, mut taken) = oneshot::channel();
    let client = call.client.clone();
    tokio::spawn(async move {
        let _told = made.send(client.call::<CreateVm>(&request).await.map_err(ErrorBody::from));
    });
    let mut told = tokio::time::interval_at(Instant::now() + progress::INTERVAL, progress::INTERVAL);
    loop {
        tokio::select! {
            made = &mut taken => {
                let lost = |_| ErrorBody::new(ErrorCode::Internal, "the making of the machine failed by a fault of pyro");
                return made.map_err(lost)?;
            }
            () = call.cancel.cancelled() => {
                return Err(ErrorBody::new(ErrorCode::Cancelled, "the client cancelled the call").with_work_started(false));
            }
            _ = told.tick() => call.progress.tell("preparing the machine").await,
            () = tokio::time::sleep_until(call.deadline + RESERVE) => return Err(not_ready()),
        }
    }
}

fn not_ready() -> ErrorBody {
    let mut body = ErrorBody::new(
        ErrorCode::StartFailed,
        "the machine is still being prepared: the first use of an environment takes minutes",
    )
    .with_hint("call again with the same arguments; the preparation goes on meanwhile")
    .with_work_started(false);
    body.retryable = true;
    body
}

fn not_of_a_machine(name: &str) -> ErrorBody {
    ErrorBody::new(ErrorCode::InvalidRequest, format!("{name:?} is of no machine"))
        .with_hint("give it as the answer had it; what is of a workspace goes to workspace_exec")
        .with_work_started(false)
}

/// The job of a failure as a client has to name it.
fn named(mut error: ErrorBody, vm_id: &str) -> ErrorBody {
    if let Some(job_id) = error.job_id.take() {
        let job_id = format!("{vm_id}/{job_id}");
        error.hint =
            Some(format!("the command goes on and was not run twice; call again with job_id {job_id}"));
        error.job_id = Some(job_id);
    }
    error
}

fn gone(error: ErrorBody, vm_id: &str) -> ErrorBody {
    if error.code != ErrorCode::UnknownWorkspace {
        return named(error, vm_id);
    }
    ErrorBody::new(ErrorCode::UnknownVm, format!("the machine {vm_id} is gone, and what it wrote with it"))
        .with_hint("its time was over, or its result was delivered; run the command again")
}
