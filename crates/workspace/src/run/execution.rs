//! One command in a guest: start, feed, listen, wait.

use std::{
    convert::Infallible,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use bytes::Bytes;
use pyro_protocol::message;
use tokio::sync::mpsc;

use super::{CommandEnd, RunEvent, RunIo, RunRequest};
use crate::{
    error::Error,
    fault::{self, FaultPoint},
    guest_command::{HOME, TIMEOUT_GRACE, end_of, feed, refusal, variables},
    machine_directory::MachineDirectory,
    machine_start::millis,
    session::{GuestSession, InputStream, OutputKind, OutputStream, SessionError},
};

/// How the command went.
#[derive(Debug)]
pub(super) struct Execution {
    pub(super) end: CommandEnd,
    pub(super) out_of_memory: bool,
    pub(super) duration: Duration,
    pub(super) stdout_bytes: u64,
    pub(super) stderr_bytes: u64,
}

/// Runs the request's command and returns when it has ended and all its output is delivered.
pub(super) async fn execute(
    session: &GuestSession,
    directory: &MachineDirectory,
    request: &RunRequest,
    io: &mut RunIo,
) -> Result<Execution, Error> {
    let failed = |source| Error::Guest { operation: "run the command", source };
    let id = directory.id().as_str();
    // All in one flight: the guest's answers come back in one round trip.
    let started = session.start(start_message(id, request));
    let stdout = session.output(id, OutputKind::Stdout, 0);
    let stderr = session.output(id, OutputKind::Stderr, 0);
    let input = request.stdin.then(|| session.input(id));
    let exited = session.wait(id);

    // The guest enforces the timeout. This one is for a guest that is beyond that, and only for the guest: output
    // that waits for a slow reader is delivered however long that takes.
    let give_up = tokio::time::sleep(request.timeout + TIMEOUT_GRACE);
    tokio::pin!(give_up);
    let started = tokio::select! {
        started = started => started,
        () = &mut give_up => return Ok(given_up(request, [0, 0])),
    };
    if let Err(error) = started {
        let program = request.argv.first().map_or(&[][..], Vec::as_slice);
        return match refusal(&error, program) {
            Some((code, said)) => Ok(refused(code, said, &io.events).await),
            None => Err(failed(error)),
        };
    }
    fault::reach(FaultPoint::CommandStarted).map_err(|source| Error::Store {
        operation: "write to",
        path: directory.path().to_owned(),
        source,
    })?;

    let ended = async {
        tokio::select! {
            status = exited => status.map_err(Interruption::Session),
            () = give_up => Err(Interruption::GaveUp),
        }
    };
    let delivered = [AtomicU64::new(0), AtomicU64::new(0)];
    let listen = async {
        tokio::try_join!(
            ended,
            deliver(stdout, &io.events, RunEvent::Stdout, &delivered[0]),
            deliver(stderr, &io.events, RunEvent::Stderr, &delivered[1]),
        )
    };
    let listened = tokio::select! {
        listened = listen => listened,
        never = feed_all(input, &mut io.stdin) => match never {},
    };
    let status = match listened {
        Ok((status, (), ())) => status,
        Err(Interruption::GaveUp) => return Ok(given_up(request, delivered.map(AtomicU64::into_inner))),
        Err(Interruption::Session(source)) => return Err(failed(source)),
    };
    Ok(Execution {
        end: end_of(&status),
        out_of_memory: status.out_of_memory,
        duration: Duration::from_micros(status.duration_us),
        stdout_bytes: status.stdout_bytes,
        stderr_bytes: status.stderr_bytes,
    })
}

pub(crate) fn start_message(id: &str, request: &RunRequest) -> message::Start {
    let stdin = if request.stdin { message::Stdin::Stream } else { message::Stdin::Null };
    message::Start {
        id: id.to_owned(),
        argv: request.argv.clone(),
        cwd: request.cwd.clone().unwrap_or_else(|| HOME.to_vec()),
        env: variables(&request.env),
        user: request.user.clone().unwrap_or_default(),
        timeout_ms: millis(request.timeout),
        stdin: stdin.into(),
        ..message::Start::default()
    }
}

async fn refused(code: i32, said: String, events: &mpsc::Sender<RunEvent>) -> Execution {
    let said = Bytes::from(said);
    let stderr_bytes = said.len() as u64;
    drop(events.send(RunEvent::Stderr(said)).await);
    Execution {
        end: CommandEnd::Exited(code),
        out_of_memory: false,
        duration: Duration::ZERO,
        stdout_bytes: 0,
        stderr_bytes,
    }
}

/// The guest is beyond telling how the command ended; what it printed has been delivered as it came.
fn given_up(request: &RunRequest, [stdout_bytes, stderr_bytes]: [u64; 2]) -> Execution {
    Execution {
        end: CommandEnd::TimedOut,
        out_of_memory: false,
        duration: request.timeout + TIMEOUT_GRACE,
        stdout_bytes,
        stderr_bytes,
    }
}

/// Hands output on as it comes. A receiver that went away is noticed by the driver as a cancellation.
async fn deliver(
    mut output: OutputStream,
    events: &mpsc::Sender<RunEvent>,
    event: fn(Bytes) -> RunEvent,
    delivered_bytes: &AtomicU64,
) -> Result<(), Interruption> {
    while let Some(chunk) = output.next().await {
        let chunk = chunk.map_err(Interruption::Session)?;
        let bytes = chunk.len() as u64;
        if events.send(event(chunk)).await.is_err() {
            break;
        }
        delivered_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
    Ok(())
}

/// Why listening to a command ended before the command did.
enum Interruption {
    Session(SessionError),
    GaveUp,
}

/// Feeds standard input, then stays out of the way: the command alone decides when it ends.
async fn feed_all(input: Option<InputStream>, stdin: &mut mpsc::Receiver<Bytes>) -> Infallible {
    if let Some(mut input) = input
        && feed(&mut input, stdin).await
    {
        drop(input.finish().await);
    }
    std::future::pending().await
}
