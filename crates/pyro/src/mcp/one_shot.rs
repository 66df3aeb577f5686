//! A machine for one command: made, used and deleted by one call, unless the command outlasts it.
//!
//! The machine has no name, and its command is a job like any other, so a command that runs on can be waited for, and an
//! output that was cut be read in parts. While nobody waits, the machine goes after [`ABANDONED_SECONDS`]; when an answer has
//! promised that it can be asked again, at the time to live that the caller gave.

use std::time::Duration;

use pyro_api::{
    Client, ErrorBody, ErrorCode,
    operation::{CreateVm, DeleteVm, StartVm, StopVm, UpdateWorkspace},
    run::CommandLine,
    vm::{Vm, VmCreateRequest, VmDeleteRequest, VmStartRequest, VmStopRequest},
    workspace::{
        exec::WorkspaceExecRequest, identity::WorkspaceRef, lifecycle::WorkspaceUpdateRequest,
        view::WorkspaceState,
    },
};
use tokio::{sync::oneshot, time::Instant};

use super::{
    command_answer::{CommandAnswer, Place, parse_job, parse_output, read_output},
    follow::{self, Followed},
    progress,
    tool::ToolCall,
};

/// Seconds after which a machine goes for which nobody waits.
const ABANDONED_SECONDS: u64 = 60;

/// How much longer than a call's patience the making of a machine may take, so that the answer still comes in time.
const RESERVE: Duration = Duration::from_secs(5);

/// Makes a machine, runs the command, and deletes the machine unless it is still needed.
pub(super) async fn run(
    call: &ToolCall,
    tool: &str,
    request: &VmCreateRequest,
    command: CommandLine,
    timeout_seconds: u64,
    max_chars: usize,
) -> Result<CommandAnswer, ErrorBody> {
    request.check()?;
    let vm_id = make(call, VmCreateRequest { ttl_seconds: ABANDONED_SECONDS, ..request.clone() }).await?;
    run_in(call, tool, &vm_id, request.ttl_seconds, (command, timeout_seconds), max_chars).await
}

/// Runs a command in a machine that is there, and deletes the machine unless it is still needed.
pub(super) async fn run_in(
    call: &ToolCall,
    tool: &str,
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
        Ok(followed) => settle(call, tool, vm_id, ttl_seconds, &followed).await,
        // What nobody knows the end of can still be asked for.
        Err(error) if error.code == ErrorCode::DaemonLost => Err(named(error, vm_id)),
        Err(error) => {
            // The failure is what is to be told; what is left goes with its time.
            let _deleted = delete(&call.client, vm_id).await;
            Err(error)
        }
    }
}

/// Waits for a command that runs on, or ends it.
pub(super) async fn again(
    call: &ToolCall,
    tool: &str,
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
    let answer = CommandAnswer::new(&followed, Place::Machine(vm_id), tool);
    if followed.report.state.is_live() {
        return Ok(answer);
    }
    end(&call.client, vm_id, answer).await
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
    tool: &str,
    vm_id: &str,
    ttl_seconds: u64,
    followed: &Followed,
) -> Result<CommandAnswer, ErrorBody> {
    let answer = CommandAnswer::new(followed, Place::Machine(vm_id), tool);
    let runs_on = followed.report.state.is_live();
    if runs_on || answer.is_cut() {
        let update = WorkspaceUpdateRequest {
            ttl_seconds: Some(ttl_seconds),
            ..WorkspaceUpdateRequest::new(WorkspaceRef::new(vm_id)?)
        };
        call.client.call::<UpdateWorkspace>(&update).await?;
    }
    if runs_on {
        return Ok(answer);
    }
    end(&call.client, vm_id, answer).await
}

/// Deletes a machine whose command has ended. If an output was cut, only the machine ends; what it wrote stays for its time.
async fn end(client: &Client, vm_id: &str, answer: CommandAnswer) -> Result<CommandAnswer, ErrorBody> {
    if answer.is_cut() {
        client.call::<StopVm>(&VmStopRequest { vm_id: vm_id.to_owned() }).await?;
        return Ok(answer);
    }
    delete(client, vm_id).await?;
    Ok(answer.cleaned_up(vm_id))
}

async fn delete(client: &Client, vm_id: &str) -> Result<(), ErrorBody> {
    client.call::<DeleteVm>(&VmDeleteRequest { vm_id: vm_id.to_owned() }).await?;
    Ok(())
}

/// Makes a machine, as long as the client waits. What is made for nobody is deleted; its template is there the next time.
async fn make(call: &ToolCall, request: VmCreateRequest) -> Result<String, ErrorBody> {
    let (made, mut taken) = oneshot::channel();
    let client = call.client.clone();
    tokio::spawn(async move {
        let outcome = started(&client, &request).await;
        if let Err(Ok(vm)) = made.send(outcome) {
            // Nobody waits; its time to live ends it if this fails.
            let _deleted = delete(&client, &vm.vm_id).await;
        }
    });
    let mut told = tokio::time::interval_at(Instant::now() + progress::INTERVAL, progress::INTERVAL);
    loop {
        tokio::select! {
            made = &mut taken => {
                let lost = |_| ErrorBody::new(ErrorCode::Internal, "the making of the machine failed by a fault of pyro");
                return made.map_err(lost)?.map(|vm| vm.vm_id);
            }
            () = call.cancel.cancelled() => {
                return Err(ErrorBody::new(ErrorCode::Cancelled, "the client cancelled the call").with_work_started(false));
            }
            _ = told.tick() => call.progress.tell("preparing the machine").await,
            () = tokio::time::sleep_until(call.deadline + RESERVE) => return Err(not_ready()),
        }
    }
}

async fn started(client: &Client, request: &VmCreateRequest) -> Result<Vm, ErrorBody> {
    let vm = client.call::<CreateVm>(request).await?;
    match vm.state {
        WorkspaceState::Started => Ok(vm),
        _ => Ok(client.call::<StartVm>(&VmStartRequest { vm_id: vm.vm_id }).await?),
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
